"""A module that is added to a map by what it has learned."""

import keras
import numpy as np
import pytest

from models.attention_module import CBAM, IdentityStart
from models.saving import load_model

pytestmark = pytest.mark.once


def test_frozen_it_freezes_its_module(tmp_path):
    image = keras.Input((6, 5, 16))
    layer = IdentityStart(CBAM(), trainable=False, name="attention")
    model = keras.Model(image, layer(image))
    assert not layer.module.trainable
    model.save(tmp_path / "model.keras")
    for copy in (model, load_model(tmp_path / "model.keras"), keras.models.clone_model(model)):
        assert not copy.trainable_weights
    layer.trainable = True
    assert len(model.trainable_weights) == len(CBAM_WEIGHTS)


CBAM_WEIGHTS = ("reduce/kernel", "reduce/bias", "expand/kernel", "expand/bias", "conv/kernel")


@pytest.mark.parametrize("module", [None, lambda x: x])
def test_refuses_what_is_no_layer(module):
    with pytest.raises(ValueError, match="IdentityStart wraps a Keras layer, received"):
        IdentityStart(module)


def test_returns_its_input_until_it_learns(rng):
    x = rng.normal(size=(4, 6, 5, 8)).astype("float32")
    model = keras.Sequential([keras.Input(x.shape[1:]), IdentityStart(CBAM())])
    np.testing.assert_array_equal(model.predict(x, verbose=0), x)
    model.compile(keras.optimizers.Adam(0.02), "mse")
    losses = [model.train_on_batch(x, 0.2 * x) for _ in range(10)]
    assert losses[-1] < losses[0]


def test_adapters_are_what_it_learns(rng):
    """LoRA on the module's dense layers and its convolution: it learns, the kernels do not."""
    x = rng.normal(size=(4, 6, 5, 8)).astype("float32")
    layer = IdentityStart(CBAM())
    model = keras.Sequential([keras.Input(x.shape[1:]), layer])
    module = layer.module
    kernels = [module.channel.reduce, module.channel.expand, module.spatial.conv]
    before = [keras.ops.convert_to_numpy(part.kernel) for part in kernels]
    for part in kernels:
        part.enable_lora(2)
    np.testing.assert_array_equal(model.predict(x, verbose=0), x)
    model.compile(keras.optimizers.Adam(0.02), "mse")
    losses = [model.train_on_batch(x, 0.2 * x) for _ in range(10)]
    assert losses[-1] < losses[0]
    for part, kernel in zip(kernels, before, strict=True):
        np.testing.assert_array_equal(keras.ops.convert_to_numpy(part._kernel), kernel)


def test_refuses_quantized_weights(rng):
    x = rng.normal(size=(4, 6, 5, 8)).astype("float32")
    model = keras.Sequential([keras.Input(x.shape[1:]), IdentityStart(CBAM())])
    model.quantize("int8")
    with pytest.raises(ValueError, match="these were replaced, as quantize"):
        model(x)
