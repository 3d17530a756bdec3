"""The moving average of the weights: its closed form, and weights restored bit for bit."""

import keras
import numpy as np

from utils.system.backend import jit_compile
from utils.training.averaging import WeightAverages
from utils.training.optimizers import make_optimizer


def test_validates_the_averages_and_keeps_the_weights(rng):
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, name="dense")])
    optimizer = make_optimizer("sgd", 0.1, ema=0.5)
    model.compile(optimizer, "mse", jit_compile=jit_compile())
    x, y = (rng.normal(size=(8, n)).astype("float32") for n in (3, 2))
    averages, seen = WeightAverages(), []

    class Watch(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            if hasattr(self.model, "jax_state_sync"):
                self.model.jax_state_sync()
            seen.append(self.model.get_weights()[0])

        def on_epoch_end(self, epoch, logs=None):
            assert (self.model.get_weights()[0] == seen[-1]).all()  # to the bit
            with averages.average_weights():
                self.average = self.model.get_weights()
            assert (self.model.get_weights()[0] == seen[-1]).all()
            self.val_loss = logs["val_loss"]

    watch = Watch()
    model.fit(x, y, batch_size=2, epochs=1, validation_data=(x, y), verbose=0, shuffle=False,
              callbacks=[averages, watch])  # fmt: skip
    expected = seen[0]  # Keras's average begins after the first step
    for weights in seen[1:]:
        expected = 0.5 * expected + 0.5 * weights
    np.testing.assert_allclose(watch.average[0], expected, atol=1e-6)
    kernel, bias = watch.average
    np.testing.assert_allclose(watch.val_loss, np.mean((x @ kernel + bias - y) ** 2), rtol=1e-5)
