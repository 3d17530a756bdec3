"""What the blocks with attention do to images: their gates, and what is left of the images."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np
from keras import ops

from models.graphs import deep_graphs

from .attention_maps import attention_calls
from .early_steps import measure_early_steps


def gates_of_blocks(
    network: keras.Model, images: np.ndarray, training: bool = False
) -> dict[str, list[np.ndarray]]:
    """Returns the gates of each attention layer for some images.

    Args:
        network: Functional Keras model from raw pixels.
        images: array `(n, ...)` in Keras's `image_data_format`.
        training: bool, whether batch normalizations take the statistics of these images, as in a
            training step. Defaults to `False`.

    Returns:
        A dictionary from the kind of map, such as `"channel"` or `"spatial"`, to a list of float32
        arrays. Empty for a network without attention.
    """
    attended = list(attention_calls(network))
    gates: dict[str, list[np.ndarray]] = {}
    with _moving_averages_kept(network):
        symbolic = [node.input_tensors[0] for node, _ in attended]
        inputs = _tensors(network, symbolic, images, training)
        for (_, attention), x in zip(attended, inputs, strict=True):
            _, maps = attention(x, training=training, return_maps=True)
            for kind, gate in maps.items():
                gates.setdefault(kind, []).append(_float32(gate))
    return gates


def differences_of_blocks(network: keras.Model, images: np.ndarray) -> list[float]:
    """Returns how much the output of each attention layer differs from image to image.

    Batch normalizations take the statistics of these images, as in a training step.

    Args:
        network: Functional Keras model from raw pixels.
        images: array `(n, ...)` in Keras's `image_data_format`.

    Returns:
        A list of floats: the standard deviation over the images, as a mean over positions and
        channels. It is 0 where nothing of the image is left.
    """
    symbolic = [node.outputs[0] for node, _ in attention_calls(network)]
    with _moving_averages_kept(network):
        outputs = _tensors(network, symbolic, images, training=True)
    return [float(_float32(x).std(axis=0).mean()) for x in outputs]


def blocks_while_training(steps: Sequence[int], data_dir: str, **settings: Any) -> dict[str, Any]:
    """Trains a network on CIFAR-10 for a while, and measures its blocks after some of the steps.

    Args:
        steps: list of ints, after how many steps to measure; 0 before the first.
        data_dir: path of the folder with CIFAR-10.
        **settings: settings of `TrainSettings`. The attention has spatial gates.

    Returns:
        A dictionary from steps, as strings, to a dictionary: `"spatial"`, the mean spatial gate of
        each block over images and positions; `"difference"`, what `differences_of_blocks` returns.
    """
    return measure_early_steps(_gates_and_differences, steps, data_dir, **settings)


def _gates_and_differences(setup, images, step):
    gates = gates_of_blocks(setup.network, images, training=True)["spatial"]
    return {
        "spatial": [float(gate.mean()) for gate in gates],
        "difference": differences_of_blocks(setup.network, images),
    }


def _tensors(network, symbolic, images, training):
    """The values of tensors of a network, in a list."""
    if not symbolic:
        return []
    with deep_graphs():
        model = keras.Model(network.inputs, symbolic)
    return keras.tree.flatten(model([images], training=training))


def _float32(tensor):
    return ops.convert_to_numpy(ops.cast(tensor, "float32"))


@contextmanager
def _moving_averages_kept(network: keras.Model) -> Iterator[None]:
    """Undoes what calls in training do to the averages of batch normalizations."""
    values = [(variable, ops.copy(variable)) for variable in network.non_trainable_variables]
    try:
        yield
    finally:
        for variable, value in values:
            variable.assign(value)
