"""The preprocessing of `keras.applications` as layers: a saved network then takes raw pixels."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import layers, ops

from .checks import require_one_of

WHITE = 255.0


@keras.saving.register_keras_serializable(package="attention_zoo")
class ReverseChannels(layers.Layer):
    """Reverses the order of the channels: RGB becomes BGR, in which some networks were trained.

    Args:
        data_format: `"channels_last"` or `"channels_first"`; defaults to Keras's setting.
        **kwargs: Keras's own layer arguments (`name`, `dtype`).

    Input: images `(batch, height, width, channels)`; channels first with `"channels_first"`.

    Returns:
        A tensor of the same shape.

    Raises:
        ValueError: an unknown data format.
    """

    def __init__(self, data_format: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.data_format = data_format or keras.config.image_data_format()
        require_one_of("data_format", self.data_format, ("channels_last", "channels_first"))

    def call(self, images: Any) -> Any:
        return ops.flip(images, axis=1 if self.data_format == "channels_first" else -1)

    def compute_output_shape(self, input_shape: Any) -> Any:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "data_format": self.data_format}


def preprocessing_layers(preprocess_input: Callable[..., np.ndarray]) -> list[layers.Layer]:
    """Returns layers that compute what a function of `keras.applications` does.

    All these functions scale and shift every channel, and some reverse their order. What a function
    does is read off its values for black, and for each channel alone.

    Args:
        preprocess_input: function from images `(n, height, width, 3)` in raw pixels and a
            `data_format` to an array of the same shape.

    Returns:
        A list of layers, none where the network takes raw pixels.

    Raises:
        ValueError: the function does something else.
    """
    pixels = np.concatenate([np.zeros((1, 3)), WHITE * np.eye(3)]).astype("float32")
    images = pixels[:, None, None, :]
    found = np.asarray(preprocess_input(images.copy(), data_format="channels_last"))[:, 0, 0]
    offset, scales = found[0], (found[1:] - found[0]) / WHITE
    is_reversed = not np.allclose(scales, np.diag(np.diag(scales)))
    if is_reversed:
        scales = scales[::-1]
    scale = np.diag(scales)
    if not np.allclose(scales, np.diag(scale)):
        raise ValueError(f"{preprocess_input!r} mixes the channels, which no layer here does")
    made: list[layers.Layer] = []
    # float32 under mixed precision too: raw pixels have too many digits for half precision
    if is_reversed:
        made.append(ReverseChannels(dtype="float32", name="reverse_channels"))
    if not (np.all(scale == 1) and np.all(offset == 0)):
        made.append(
            layers.Rescaling(
                _along_channels(scale), _along_channels(offset), dtype="float32", name="preprocess"
            )
        )
    return made


def _along_channels(values: np.ndarray) -> Any:
    """Numbers for a `Rescaling` of images: one if all channels have the same."""
    numbers = [float(value) for value in values]
    if len(set(numbers)) == 1:
        return numbers[0]
    if keras.config.image_data_format() == "channels_first":
        return [[[number]] for number in numbers]
    return numbers
