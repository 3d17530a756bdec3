"""How the gates of attention are distributed, and the gradients that reach the convolutions."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from models.graphs import deep_graphs
from models.pretrained import trained_model
from models.specification import parse_specification

from ..config.recipes import DEFAULT_RECIPE, recipe_settings
from ..config.settings import TrainSettings
from ..data.data_format import in_data_format
from ..data.dataset import Dataset
from ..data.datasets import load_dataset
from ..system.backend import synchronize
from ..system.backend_batches import keras_input
from ..training.setup import make_setup
from ..training.train import with_defaults
from .attention_maps import attention_layers

IMAGES = 256
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


def gates_while_training(
    form: str, steps: Sequence[int], data_dir: str, validation_split: float = 0.02
) -> dict[str, Any]:
    """Trains ResNet20 on CIFAR-10 for a while, and measures its gates after some of the steps.

    Args:
        form: string, the attention module with its options.
        steps: list of ints, after how many steps to measure; 0 before the first.
        data_dir: path of the folder with CIFAR-10.
        validation_split: float, share of the training images that is left out. Defaults to 0.02.

    Returns:
        A dictionary from steps, as strings, to what `gate_quantiles` returns; with `"gradient"`,
        the mean norm of the gradients of the 3x3 kernels, summed up with Muon's momentum.
    """
    dataset = load_dataset("cifar10", data_dir)
    setup = _setup(
        dataset,
        model="resnet_v1",
        depth=20,
        attention=form,
        validation_split=validation_split,
        checkpoint_every="1",  # so that callbacks are called after every step
    )
    watch = _Watch(setup, _images(dataset), steps)
    with setup.source.reading(setup.batches, setup.validation):
        epochs = -(-max(steps) // setup.steps)
        setup.batches.start_epoch(0)
        setup.model.fit(
            keras_input(setup.batches), epochs=epochs, callbacks=[watch], shuffle=False, verbose=0
        )
    return watch.found


def spatial_gates_at_start(
    network: str, form: str, seeds: Sequence[int], data_dir: str
) -> dict[str, list[float]]:
    """Measures how open the spatial gates of a network are before the first step.

    Args:
        network: string, the architecture with its options.
        form: string, the attention module with its options.
        seeds: list of ints.
        data_dir: path of the folder with CIFAR-10.

    Returns:
        A dictionary from seeds, as strings, to the mean spatial gate of each block, over images and
        positions.
    """
    dataset = load_dataset("cifar10", data_dir)
    name, options = parse_specification(network)
    found = {}
    for seed in seeds:
        setup = _setup(dataset, model=name, attention=form, seed=seed, **options)
        gates = _gates(setup.network, _images(dataset), training=True)
        found[str(seed)] = [float(gate.mean()) for gate in gates["spatial"]]
    return found


def _setup(dataset, **options):
    """What a training on CIFAR-10 with the default recipe begins with."""
    settings = TrainSettings(**recipe_settings(DEFAULT_RECIPE), dataset="cifar10", **options)
    return make_setup(with_defaults(settings, dataset), dataset)


class _Watch(keras.callbacks.Callback):
    """Measures after some of the steps, and stops the training after the last of them."""

    def __init__(self, setup, images, steps):
        super().__init__()
        self.setup, self.images, self.steps = setup, images, steps
        self.done, self.found = 0, {}

    def on_train_begin(self, logs=None):
        self._measure()

    def on_epoch_begin(self, epoch, logs=None):
        self.setup.batches.start_epoch(epoch)

    def on_train_batch_end(self, batch, logs=None):
        self.done += 1
        self._measure()
        self.model.stop_training = self.done >= max(self.steps)

    def _measure(self):
        if self.done in self.steps:
            if self.done:
                synchronize(self.model)
            found = gate_quantiles(self.setup.network, self.images, training=True)
            if self.done:
                found["gradient"] = _gradient_norm(self.model.optimizer)
            self.found[str(self.done)] = found


def _gradient_norm(optimizer):
    """The mean norm of the momentum of the 3x3 kernels."""
    norms = [
        np.linalg.norm(ops.convert_to_numpy(variable))
        for variable in optimizer.variables
        if "momentum" in variable.path and len(variable.shape) == 4 and variable.shape[0] == 3
    ]
    return float(np.mean(norms))


def gates_of_trained(name: str, data_dir: str) -> dict[str, Any]:
    """Returns what `gate_quantiles` returns for a network that was trained here.

    Args:
        name: string, one of `list_weights()`.
        data_dir: path of the folder with CIFAR-10.
    """
    return gate_quantiles(trained_model(name), _images(load_dataset("cifar10", data_dir)))


def _images(dataset: Dataset) -> np.ndarray:
    return in_data_format(np.asarray(dataset.x_test[:IMAGES]))


def gate_quantiles(
    network: keras.Model, images: np.ndarray, training: bool = False
) -> dict[str, Any]:
    """Returns how the gates of a network are distributed over images, blocks and places.

    Args:
        network: Functional Keras model from raw pixels.
        images: array `(n, ...)` in Keras's `image_data_format`.
        training: bool, whether batch normalizations take the statistics of these images, as in a
            training step. In its first steps their averages are not those of any images. Defaults
            to `False`.

    Returns:
        A dictionary from the kind of map, `"channel"` or `"spatial"`, to lists of its quantiles at
        5, 25, 50, 75 and 95 %; and from `"border"` to the mean of the spatial gates at the border
        and inside, in the last block. Empty for a network without attention.
    """
    gates = _gates(network, images, training)
    result: dict[str, Any] = {
        kind: np.quantile(np.concatenate([v.ravel() for v in values]), QUANTILES).tolist()
        for kind, values in gates.items()
    }
    if "spatial" in gates:
        result["border"] = _border_and_inside(np.squeeze(gates["spatial"][-1]))
    return result


def _gates(network, images, training):
    """A dictionary from the kind of map to the gates of each block, as arrays."""
    layers = list(attention_layers(network))
    if not layers:
        return {}
    with deep_graphs():
        inputs = keras.Model(network.inputs, [layer.input for layer, _ in layers])
    averages = [(v, ops.copy(v)) for v in network.non_trainable_variables]
    gates: dict[str, list[np.ndarray]] = {}
    found = keras.tree.flatten(inputs([images], training=training))
    for (_, attention), x in zip(layers, found, strict=True):
        _, maps = attention(x, training=training, return_maps=True)
        for kind, gate in maps.items():
            values = ops.convert_to_numpy(ops.cast(gate, "float32"))
            gates.setdefault(kind, []).append(values)
    for variable, value in averages:  # which a call in training moves
        variable.assign(value)
    return gates


def _border_and_inside(gates):
    """The means of maps `(n, height, width)` at their outermost positions, and at all others."""
    inside = np.zeros(gates.shape[1:], bool)
    inside[1:-1, 1:-1] = True
    return [float(gates[:, ~inside].mean()), float(gates[:, inside].mean())]
