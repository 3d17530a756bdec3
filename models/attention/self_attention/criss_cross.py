"""Criss-cross attention: every position sees its row and its column, and then theirs."""

from typing import Any

import keras
from keras import ops

from ...checks import require_int
from ..base import AttentionLayer
from ..parts import at_least_float32, conv2d, from_channels_last, to_channels_last
from ..registry import register_attention

EXCLUDED = -1e30  # a logit that has no weight in a softmax


@keras.saving.register_keras_serializable(package="attention_zoo")
class CrissCross(AttentionLayer):
    """Criss-cross attention (CCNet): sums over row and column, repeated.

    Each position i takes a sum over the positions j of its row and of its column, itself once:
    `x_i + gamma * sum_j softmax_j(query(x_i) . key(x_j)) value(x_j)`, with three 1x1 convolutions.
    The result passes the same weights again: after two passes every position has seen all others,
    at the cost of rows and columns alone. `gamma` starts at zero, as published: at first the layer
    is the identity, and all else learns from the second step on.

    Args:
        recurrence: int, number of passes. Defaults to 2, as in the paper.
        ratio: int, reduction of query and key: `max(1, channels // ratio)` channels. Defaults to 8,
            as in the authors' code.
        data_format: `"channels_last"` or `"channels_first"`; defaults to Keras's setting.

    Input: `(batch, height, width, channels)` of any floating dtype; `(batch, channels, height,
    width)` with `"channels_first"`.

    Returns:
        A tensor of the input's shape; called with `return_maps=True`, also `{"spatial": (batch,
        height, width, 1)}`, the weight that each position has for all others in the last pass,
        relative to an equal weight: on average 1.

    Raises:
        ValueError: a number below 1, an input that is not of rank 4.

    Example:

    >>> y = CrissCross()(keras.Input((64, 64, 64)))

    Reference:

    - [CCNet: Criss-Cross Attention](https://arxiv.org/abs/1811.11721), section 3; the authors'
      [code](https://github.com/speedinghzl/CCNet). The convolutions that its segmentation head has
      before and after the passes are not here. `key` has no bias, which the softmax would cancel.
    """

    def __init__(
        self,
        recurrence: int = 2,
        ratio: int = 8,
        data_format: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(data_format=data_format, **kwargs)
        self.recurrence = require_int("recurrence", recurrence)
        self.ratio = require_int("ratio", ratio)

    def build(self, input_shape):
        super().build(input_shape)
        hidden = max(1, self.channels // self.ratio)
        self.query = conv2d(self, self.channels, hidden, 1, "query", self.dtype_policy)
        self.key = conv2d(self, self.channels, hidden, 1, "key", self.dtype_policy, use_bias=False)
        self.value = conv2d(self, self.channels, self.channels, 1, "value", self.dtype_policy)
        self.gamma = self.add_weight(name="gamma", shape=(), initializer="zeros")

    def attend(self, inputs, training=None):
        x = to_channels_last(inputs, self.data_format)
        for _ in range(self.recurrence):
            y, mass = self._pass(x)
            x = x + ops.cast(self.gamma, y.dtype) * y
        mass = from_channels_last(ops.cast(mass, self.compute_dtype), self.data_format)
        return from_channels_last(x, self.data_format), {"spatial": mass}

    def _pass(self, x):
        """What each position takes from its cross, and the weight that it has for others."""
        query, key, value = (
            at_least_float32(conv(x)) for conv in (self.query, self.key, self.value)
        )
        height = ops.shape(x)[1]
        columns = ops.einsum("bhwc,bgwc->bhwg", query, key)
        # a position is in its column and in its row, and counts once
        itself = ops.eye(height, dtype=columns.dtype)[None, :, None, :]
        columns = columns + itself * EXCLUDED
        logits = ops.concatenate([columns, ops.einsum("bhwc,bhvc->bhwv", query, key)], axis=-1)
        weights = ops.softmax(logits, axis=-1)
        columns, rows = weights[..., :height], weights[..., height:]
        y = ops.einsum("bhwg,bgwc->bhwc", columns, value)
        y = y + ops.einsum("bhwv,bhvc->bhwc", rows, value)
        mass = ops.transpose(ops.sum(columns, axis=1), (0, 2, 1)) + ops.sum(rows, axis=2)
        return ops.cast(y, self.compute_dtype), mass[..., None]

    def products(self, input_shape):
        positions = self.positions(input_shape)
        cross = sum(input_shape[axis] for axis in self.spatial_axes)
        hidden = self.query.filters
        return self.recurrence * [(positions, hidden, cross), (positions, cross, self.channels)]

    def get_config(self):
        return {**super().get_config(), "recurrence": self.recurrence, "ratio": self.ratio}


@register_attention("criss_cross_block", layer=CrissCross)
def criss_cross_block(
    x: keras.KerasTensor, recurrence: int = 2, name: str | None = None, **options: Any
) -> keras.KerasTensor:
    """Applies `CrissCross` (the attention of CCNet) to a feature map.

    Args:
        x: Keras tensor of rank 4, `(batch, height, width, channels)`.
        recurrence: int, number of passes. Defaults to 2, as in the paper.
        name: string, the layer's name.
        **options: the further options of `CrissCross`: `ratio`.

    Returns:
        A Keras tensor of the shape of `x`, which the block is added to.

    Raises:
        ValueError: a number below 1, an unknown option, an input that is not of rank 4.

    Example:

    >>> x = keras.layers.Conv2D(64, 3)(keras.Input((32, 32, 3)))
    >>> x = criss_cross_block(x)

    Reference:

    - [CCNet: Criss-Cross Attention](https://arxiv.org/abs/1811.11721)
    """
    return CrissCross(recurrence, name=name, **options)(x)
