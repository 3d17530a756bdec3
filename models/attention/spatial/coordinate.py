"""Coordinate attention: a gate for every row and one for every column of each channel."""

from typing import Any

import keras
from keras import ops

from ...checks import require_int
from ..base import AttentionLayer, pool
from ..parts import batch_norm, conv2d, from_channels_last, to_channels_last
from ..registry import register_attention
from ..starts import start_named

LEAST_HIDDEN = 8  # as in the authors' code, however few channels the map has


@keras.saving.register_keras_serializable(package="attention_zoo")
class CoordinateAttention(AttentionLayer):
    """Coordinate attention: channel attention that keeps the position along one axis.

    The map is averaged along its rows and along its columns; both results pass the same 1x1
    convolution, batch normalization and h-swish, as one long strip, and each then a 1x1 convolution
    of its own: `x * sigmoid(height(strip_h)) * sigmoid(width(strip_w))`.

    Args:
        ratio: int, reduction of the hidden layer: `max(8, channels // ratio)` channels, 8 at least
            as in the authors' code. Defaults to 32, as in the paper and the code (there
            `reduction`).
        start: how both gates start. `"published"` (default): with random weights. `"half"`:
            at 0.5 everywhere. `"identity"`: at 1 everywhere, so that the layer returns its input
            until it learns; the gates are then `2 * sigmoid`, between 0 and 2.
        data_format: `"channels_last"` or `"channels_first"`; defaults to Keras's setting.

    The batch normalization has momentum 0.9 and epsilon 1e-5, PyTorch's defaults.

    Input: `(batch, height, width, channels)` of any floating dtype; `(batch, channels, height,
    width)` with `"channels_first"`.

    Returns:
        A tensor of the input's shape; called with `return_maps=True`, also
        `{"height": (batch, height, 1, channels), "width": (batch, 1, width, channels)}`.

    Raises:
        ValueError: `ratio` below 1, an input that is not of rank 4.

    Example:

    >>> y = CoordinateAttention()(keras.Input((32, 32, 64)))

    Reference:

    - [Coordinate Attention for Efficient Mobile Network Design](https://arxiv.org/abs/2103.02907);
      the authors' [code](https://github.com/houqb/CoordAttention/blob/main/coordatt.py).
    """

    def __init__(
        self,
        ratio: int = 32,
        start: str = "published",
        data_format: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(data_format=data_format, **kwargs)
        self.ratio = require_int("ratio", ratio)
        self.start = start
        self.starting = start_named(start)

    def build(self, input_shape):
        super().build(input_shape)
        hidden = max(LEAST_HIDDEN, self.channels // self.ratio)
        self.reduce = self._conv(self.channels, hidden, "reduce", self.starting.hidden)
        self.norm = batch_norm(self, hidden, "norm", self.gate_policy)
        self.height = self._conv(hidden, self.channels, "height", self.starting.conv)
        self.width = self._conv(hidden, self.channels, "width", self.starting.conv)

    def _conv(self, inputs, filters, name, start):
        return conv2d(self, inputs, filters, 1, name, self.gate_policy, kernel_initializer=start)

    def attend(self, inputs, training=None):
        height_axis, width_axis = self.spatial_axes
        rows = to_channels_last(pool(inputs, "avg", width_axis), self.data_format)
        columns = to_channels_last(pool(inputs, "avg", height_axis), self.data_format)
        # one strip (batch, height + width, 1, channels): the statistics are those of both
        strip = ops.concatenate([rows, ops.transpose(columns, (0, 2, 1, 3))], axis=1)
        strip = self.norm(self.reduce(ops.cast(strip, self.gate_dtype)), training=training)
        strip = ops.hard_silu(strip)
        length = ops.shape(inputs)[height_axis]
        height = self.starting.gate(self.height(strip[:, :length]))
        width = self.starting.gate(self.width(strip[:, length:]))
        width = ops.transpose(width, (0, 2, 1, 3))
        maps = {
            "height": from_channels_last(height, self.data_format),
            "width": from_channels_last(width, self.data_format),
        }
        return self.gated(inputs, maps["width"], maps["height"]), maps

    def get_config(self):
        return {**super().get_config(), "ratio": self.ratio, "start": self.start}


@register_attention("coordinate_block", layer=CoordinateAttention)
def coordinate_block(
    x: keras.KerasTensor, ratio: int = 32, name: str | None = None, **options: Any
) -> keras.KerasTensor:
    """Applies `CoordinateAttention` to a feature map.

    Args:
        x: Keras tensor of rank 4, `(batch, height, width, channels)`.
        ratio: int, reduction of the hidden layer, which has 8 channels at least. Defaults to 32,
            as in the paper.
        name: string, the layer's name.
        **options: the further options of `CoordinateAttention`.

    Returns:
        A Keras tensor of the shape of `x`.

    Raises:
        ValueError: `ratio` below 1, an unknown option, an input that is not of rank 4.

    Example:

    >>> x = keras.layers.Conv2D(64, 3)(keras.Input((32, 32, 3)))
    >>> x = coordinate_block(x)

    Reference:

    - [Coordinate Attention for Efficient Mobile Network Design](https://arxiv.org/abs/2103.02907)
    """
    return CoordinateAttention(ratio, name=name, **options)(x)
