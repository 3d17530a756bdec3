"""A training that is stopped after some steps, and measured on the way."""

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np

from ..config.recipes import DEFAULT_RECIPE, recipe_settings
from ..config.settings import TrainSettings
from ..data.data_format import in_data_format
from ..data.dataset import Dataset
from ..data.datasets import load_dataset
from ..system.backend import synchronize
from ..system.backend_batches import keras_input
from ..training.setup import Setup, make_setup
from ..training.train import with_defaults

IMAGES = 256

Measure = Callable[[Setup, np.ndarray, int], Any]


def measure_early_steps(
    measure: Measure, steps: Sequence[int], data_dir: str, **settings: Any
) -> dict[str, Any]:
    """Trains a network on CIFAR-10 with the default recipe, and measures it after some steps.

    The training stops after the last of these steps, but its learning rate is that of the whole.

    Args:
        measure: function of what `make_setup` returns, of test images as an array `(n, ...)` in
            Keras's `image_data_format`, and of the number of steps done.
        steps: list of ints; 0 is before the first.
        data_dir: path of the folder with CIFAR-10.
        **settings: settings of `TrainSettings`, such as `model`, `attention` and `seed`.

    Returns:
        A dictionary from steps, as strings, to what `measure` returned.
    """
    dataset = load_dataset("cifar10", data_dir)
    whole = TrainSettings(
        **{
            **recipe_settings(DEFAULT_RECIPE),
            "dataset": "cifar10",
            "checkpoint_every": "1",  # so that callbacks are called after every step
            **settings,
        }
    )
    setup = make_setup(with_defaults(whole, dataset), dataset)
    images = images_to_measure(dataset)
    watch = _Watch(steps, setup.batches, lambda step: measure(setup, images, step))
    with setup.source.reading(setup.batches, setup.validation):
        epochs = -(-max(steps) // setup.steps)
        setup.batches.start_epoch(0)
        setup.model.fit(
            keras_input(setup.batches), epochs=epochs, callbacks=[watch], shuffle=False, verbose=0
        )
    return watch.found


def images_to_measure(dataset: Dataset) -> np.ndarray:
    """Returns the first test images in Keras's `image_data_format`."""
    return in_data_format(np.asarray(dataset.x_test[:IMAGES]))


class _Watch(keras.callbacks.Callback):
    """Measures after some of the steps, and stops the training after the last of them."""

    def __init__(self, steps, batches, measure):
        super().__init__()
        self.steps, self.batches, self.measure = steps, batches, measure
        self.done, self.found = 0, {}

    def on_train_begin(self, logs=None):
        self._measure()

    def on_epoch_begin(self, epoch, logs=None):
        self.batches.start_epoch(epoch)

    def on_train_batch_end(self, batch, logs=None):
        self.done += 1
        self._measure()
        self.model.stop_training = self.done >= max(self.steps)

    def _measure(self):
        if self.done in self.steps:
            if self.done:
                synchronize(self.model)
            self.found[str(self.done)] = self.measure(self.done)
