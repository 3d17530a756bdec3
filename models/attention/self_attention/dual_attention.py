"""DANet's attention: over pairs of positions, over pairs of channels, or both."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from ...checks import require_int
from ..base import AttentionLayer, require_pools
from ..parts import (
    at_least_float32,
    conv2d,
    flatten_positions,
    from_channels_last,
    per_channel,
    to_channels_last,
)
from ..registry import register_attention
from .pairs import mix, weighted_sum


@keras.saving.register_keras_serializable(package="attention_zoo")
class DANet(AttentionLayer):
    """Dual attention (DANet): what positions, and what channels, have in common.

    - `"position"`: each position takes a sum over all positions,
      `p_i = sum_j softmax_j(query(x_i) . key(x_j)) value(x_j)`, with three 1x1 convolutions.
    - `"channel"`: each channel takes a sum over all channels, by how unlike they are,
      `c_i = sum_j softmax_j(-x_i . x_j) x_j`, the products over all positions.

    The output is `x + alpha * p + beta * c`, or one of both. The scales start at zero, as
    published: at first the layer is the identity, and all else learns from the second step on.

    **Memory**: `"position"` holds a float32 matrix of all pairs of positions, for a map of 64x64
    67 MB per image, and training keeps more than one.

    Args:
        parts: `"position"`, `"channel"`, or a tuple of both (default).
        ratio: int, reduction of query and key: `max(1, channels // ratio)` channels. Defaults to 8,
            as in the authors' code.
        data_format: `"channels_last"` or `"channels_first"`; defaults to Keras's setting.

    Input: `(batch, height, width, channels)` of any floating dtype; `(batch, channels, height,
    width)` with `"channels_first"`.

    Returns:
        A tensor of the input's shape; called with `return_maps=True`, also `{"spatial": (batch,
        height, width, 1), "channel": (batch, 1, 1, channels)}`, the weight that each position and
        each channel has for all others, relative to an equal weight: on average 1.

    Raises:
        ValueError: an unknown part, `ratio` below 1, an input that is not of rank 4.

    Example:

    >>> y = DANet()(keras.Input((14, 14, 64)))
    >>> y = DANet("channel")(keras.Input((128, 128, 64)))

    Reference:

    - [Dual Attention Network for Scene Segmentation](https://arxiv.org/abs/1809.02983); the
      authors' [code](https://github.com/junfu1115/DANet/blob/master/encoding/nn/da_att.py). The
      convolutions that its segmentation head has around the two parts are not here; there each
      part adds the map, here their sum has it once. `key` has no bias, which the softmax would
      cancel.
    """

    def __init__(
        self,
        parts: str | Sequence[str] = ("position", "channel"),
        ratio: int = 8,
        data_format: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(data_format=data_format, **kwargs)
        self.parts = require_pools("parts", parts, ("position", "channel"))
        self.ratio = require_int("ratio", ratio)

    def build(self, input_shape):
        super().build(input_shape)
        hidden = max(1, self.channels // self.ratio)
        if "position" in self.parts:
            self.query = conv2d(self, self.channels, hidden, 1, "query", self.dtype_policy)
            self.key = conv2d(
                self, self.channels, hidden, 1, "key", self.dtype_policy, use_bias=False
            )
            self.value = conv2d(self, self.channels, self.channels, 1, "value", self.dtype_policy)
        self.scales = {
            part: self.add_weight(name=f"{part}_scale", shape=(), initializer="zeros")
            for part in self.parts
        }

    def attend(self, inputs, training=None):
        x = to_channels_last(inputs, self.data_format)
        shape = (-1, *ops.shape(x)[1:3])
        outputs, maps = inputs, {}
        if "position" in self.parts:
            y, mass = mix(
                flatten_positions(self.query(x)),
                flatten_positions(self.key(x)),
                flatten_positions(self.value(x)),
            )
            outputs = outputs + self._scaled("position", ops.reshape(y, (*shape, self.channels)))
            mass = ops.cast(ops.reshape(mass, (*shape, 1)), self.compute_dtype)
            maps["spatial"] = from_channels_last(mass, self.data_format)
        if "channel" in self.parts:
            channels = ops.swapaxes(flatten_positions(x), 1, 2)
            exact = at_least_float32(channels)
            y, mass = weighted_sum(-ops.matmul(exact, ops.swapaxes(exact, 1, 2)), channels)
            y = ops.reshape(ops.swapaxes(y, 1, 2), (*shape, self.channels))
            outputs = outputs + self._scaled("channel", y)
            mass = ops.cast(mass, self.compute_dtype)
            maps["channel"] = per_channel(mass, self.channels, self.data_format)
        return outputs, maps

    def _scaled(self, part, y):
        return from_channels_last(y, self.data_format) * ops.cast(self.scales[part], y.dtype)

    def products(self, input_shape):
        positions, found = self.positions(input_shape), []
        if "position" in self.parts:
            found += [
                (positions, self.query.filters, positions),
                (positions, positions, self.channels),
            ]
        if "channel" in self.parts:
            found += [
                (self.channels, positions, self.channels),
                (self.channels, self.channels, positions),
            ]
        return found

    def get_config(self):
        return {**super().get_config(), "parts": self.parts, "ratio": self.ratio}


@register_attention("danet_block", layer=DANet)
def danet_block(
    x: keras.KerasTensor,
    parts: str | Sequence[str] = ("position", "channel"),
    name: str | None = None,
    **options: Any,
) -> keras.KerasTensor:
    """Applies `DANet` (dual attention) to a feature map.

    Args:
        x: Keras tensor of rank 4, `(batch, height, width, channels)`.
        parts: `"position"`, `"channel"`, or a tuple of both (default).
        name: string, the layer's name.
        **options: the further options of `DANet`: `ratio`.

    Returns:
        A Keras tensor of the shape of `x`, which the block is added to.

    Raises:
        ValueError: an unknown part, an unknown option, an input that is not of rank 4.

    Example:

    >>> x = keras.layers.Conv2D(64, 3)(keras.Input((32, 32, 3)))
    >>> x = danet_block(x, parts="channel")

    Reference:

    - [Dual Attention Network for Scene Segmentation](https://arxiv.org/abs/1809.02983)
    """
    return DANet(parts, name=name, **options)(x)
