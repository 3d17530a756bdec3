"""Random crop, flip and cutout, computed on the device that holds the images."""

from typing import Any

import keras
import numpy as np
from keras import ops


class DeviceImages(keras.layers.Layer):
    """A layer that holds images as a weight, and maps sample numbers to augmented images.

    All images are copied to the device once, as uint8; a step copies a few numbers per sample.

    Args:
        images: uint8 array `(n, height, width, channels)`.
        fill: uint8 array `(channels,)`, the color outside an image and in the cutout.
        cutout: int, side in pixels of the square that is cut out. Defaults to 0, none.
        **kwargs: options of `keras.layers.Layer`.

    Call arguments:
        draws: dictionary of int32 tensors `(batch,)`: `index`, the sample; `dy` and `dx`, pixels by
            which the window moves; `flip`, 0 or 1; `cutout_y` and `cutout_x`, the upper left corner
            of the square.

    Returns:
        A float32 tensor of raw pixels, `(batch, height, width, channels)` or, in the data format
        `"channels_first"`, `(batch, channels, height, width)`.

    Raises:
        ValueError: the images have more pixels than int32 can number.
    """

    def __init__(
        self, images: np.ndarray, fill: np.ndarray, cutout: int = 0, **kwargs: Any
    ) -> None:
        super().__init__(trainable=False, dtype="float32", **kwargs)
        self.cutout = cutout
        self.size = images.shape[1:3]
        if images.size // images.shape[-1] >= 2**31:
            raise ValueError(f"{images.shape} images have more pixels than int32 can number")
        # the last pixel is the fill color: to index it is less work than to replace pixels later
        pixels = np.vstack([images.reshape(-1, images.shape[-1]), np.asarray(fill, "uint8")])
        self.pixels = self.add_weight(
            name="pixels",
            shape=pixels.shape,
            dtype="uint8",
            initializer=lambda shape, dtype: ops.convert_to_tensor(pixels, dtype=dtype),
            trainable=False,
        )
        self.built = True

    def call(self, draws: dict[str, Any]) -> Any:
        height, width = self.size
        ys = ops.arange(height, dtype="int32")[None, :, None]
        xs = ops.arange(width, dtype="int32")[None, None, :]
        per_sample = {name: ops.reshape(value, (-1, 1, 1)) for name, value in draws.items()}
        rows = ys + per_sample["dy"]
        columns = ops.where(per_sample["flip"] == 1, width - 1 - xs, xs) + per_sample["dx"]
        inside = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
        if self.cutout:
            y, x = ys - per_sample["cutout_y"], xs - per_sample["cutout_x"]
            inside &= ~((y >= 0) & (y < self.cutout) & (x >= 0) & (x < self.cutout))
        pixel = (per_sample["index"] * height + rows) * width + columns
        pixel = ops.where(inside, pixel, self.pixels.shape[0] - 1)
        images = ops.cast(ops.take(self.pixels, pixel, axis=0), "float32")
        if keras.config.image_data_format() == "channels_first":
            images = ops.transpose(images, (0, 3, 1, 2))
        return images
