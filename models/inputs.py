"""The input of a network: images of a shape, or what a user has computed from them."""

from collections.abc import Sequence
from typing import Any, TypeAlias

import keras

from .blocks import channel_axis, image_shape

# (height, width, channels), or channels first under that image format; `None` where unknown
Shape: TypeAlias = Sequence[int | None]


def image_input(
    input_shape: Shape | None, input_tensor: keras.KerasTensor | None, default_size: int
) -> keras.KerasTensor:
    """Returns the Keras tensor that a network starts from.

    Args:
        input_shape: sequence of three, `(height, width, channels)`, or `(channels, height, width)`
            under `image_data_format="channels_first"`; or `None`.
        input_tensor: Keras tensor to use instead, or `None`.
        default_size: int, height and width of the color image if neither is given.

    Raises:
        ValueError: the shape is not one of images, or the tensor is no Keras tensor.
    """
    if input_tensor is None:
        shape = image_shape(default_size) if input_shape is None else input_shape
        return keras.Input(_checked("input_shape", shape), name="image")
    if not isinstance(input_tensor, keras.KerasTensor):
        raise ValueError(f"input_tensor must be a Keras tensor, received {input_tensor!r}")
    _checked("the shape of input_tensor, without the batch,", input_tensor.shape[1:])
    return input_tensor


def _checked(name: str, shape: Any) -> tuple[int | None, ...]:
    """The shape as a tuple, if it is one of images."""
    sizes = tuple(shape) if isinstance(shape, (tuple, list)) else ()
    channels = channel_axis() % 4 - 1
    if len(sizes) != 3 or not all(map(_is_size, sizes)) or sizes[channels] is None:
        order = "channels, height, width" if channels == 0 else "height, width, channels"
        raise ValueError(
            f"{name} must be three positive sizes ({order}), of which height and width may be "
            f"None; received {shape!r}"
        )
    return tuple(None if size is None else int(size) for size in sizes)


def _is_size(size: Any) -> bool:
    """Whether a size is unknown or a positive integer, NumPy's too."""
    is_integer = hasattr(size, "__index__") and not isinstance(size, bool)
    return size is None or (is_integer and size > 0)
