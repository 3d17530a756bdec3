"""Images and their shapes in Keras's `image_data_format`."""

from collections.abc import Sequence

import keras
import numpy as np


def in_data_format(images: np.ndarray) -> np.ndarray:
    """Returns images `(n, height, width, channels)` with the channels where Keras expects them."""
    if keras.config.image_data_format() == "channels_first":
        return np.ascontiguousarray(images.transpose(0, 3, 1, 2))
    return images


def shape_in_data_format(shape: Sequence[int]) -> tuple[int, ...]:
    """Returns an image's shape `(height, width, channels)` as a network's input has it."""
    height, width, channels = shape
    if keras.config.image_data_format() == "channels_first":
        return channels, height, width
    return height, width, channels
