"""Images and their shapes in Keras's `image_data_format`."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np


def in_data_format(images: np.ndarray) -> np.ndarray:
    """Returns images `(n, height, width, channels)` with the channels where Keras expects them."""
    if keras.config.image_data_format() == "channels_first":
        return np.ascontiguousarray(images.transpose(0, 3, 1, 2))
    return images


def shape_in_data_format(shape: Sequence[int | None]) -> tuple[Any, ...]:
    """Returns the shape of a network's input from an image's, `(height, width, channels)`.

    Args:
        shape: sequence of three ints; `None` in the place of one means any size.
    """
    height, width, channels = shape
    if keras.config.image_data_format() == "channels_first":
        return channels, height, width
    return height, width, channels


def image_shape_of(network: keras.Model) -> tuple[Any, ...]:
    """Returns the shape of the images that a network takes.

    Args:
        network: a `keras.Model` with one input.

    Returns:
        `(height, width, channels)`, with `None` for any size; of a network that does not take
        images, another number of sizes.
    """
    _, *shape = network.input_shape
    if keras.config.image_data_format() == "channels_first":
        shape = [*shape[1:], *shape[:1]]
    return tuple(shape)
