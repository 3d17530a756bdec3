"""How the gates of attention are distributed, and the gradients that reach the convolutions."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from models.pretrained import trained_model

from ..data.datasets import load_dataset
from .blocks import gates_of_blocks
from .early_steps import images_to_measure, measure_early_steps

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
    return measure_early_steps(
        _quantiles_and_gradient,
        steps,
        data_dir,
        model="resnet_v1",
        depth=20,
        attention=form,
        validation_split=validation_split,
    )


def _quantiles_and_gradient(setup, images, step):
    found = gate_quantiles(setup.network, images, training=True)
    if step:
        found["gradient"] = _gradient_norm(setup.model.optimizer)
    return found


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
    images = images_to_measure(load_dataset("cifar10", data_dir))
    return gate_quantiles(trained_model(name), images)


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
    gates = gates_of_blocks(network, images, training)
    result: dict[str, Any] = {
        kind: np.quantile(np.concatenate([v.ravel() for v in values]), QUANTILES).tolist()
        for kind, values in gates.items()
    }
    if "spatial" in gates:
        result["border"] = _border_and_inside(np.squeeze(gates["spatial"][-1]))
    return result


def _border_and_inside(gates):
    """The means of maps `(n, height, width)` at their outermost positions, and at all others."""
    inside = np.zeros(gates.shape[1:], bool)
    inside[1:-1, 1:-1] = True
    return [float(gates[:, ~inside].mean()), float(gates[:, inside].mean())]
