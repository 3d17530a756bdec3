"""EMA: multi-scale attention in groups of channels, across the map."""

from typing import Any

import keras
from keras import ops

from ...checks import require_int
from ..base import AttentionLayer, pool
from ..parts import (
    at_least_float32,
    conv2d,
    from_channels_last,
    group_norm,
    groups_as_images,
    images_as_groups,
    largest_divisor,
    softmax,
    to_channels_last,
)
from ..registry import register_attention
from ..starts import start_named


@keras.saving.register_keras_serializable(package="attention_zoo")
class EMA(AttentionLayer):
    """Efficient Multi-scale Attention: a gate for each position and group of channels.

    All groups pass the same two branches. One gates the rows and the columns, as coordinate
    attention does, and normalizes each channel: `a = norm(x * gate_h * gate_w)`. The other is a
    3x3 convolution `b`. Each branch, pooled, weighs the channels of the other:
    `x * sigmoid(softmax(mean(a)) . b + softmax(mean(b)) . a)`.

    Args:
        groups: int, groups of channels. Defaults to 32, as in the authors' code (there `factor`).
            If it does not divide the channels, the largest divisor of the channels below it is
            taken. For few channels take fewer, such as 8.
        start: how the gate starts. `"published"` (default): with random weights. `"half"`:
            at 0.5 everywhere. `"identity"`: at 1 everywhere, so that the layer returns its input
            until it learns; the gate is then `2 * sigmoid`, between 0 and 2.
        data_format: `"channels_last"` or `"channels_first"`; defaults to Keras's setting.

    Input: `(batch, height, width, channels)` of any floating dtype; `(batch, channels, height,
    width)` with `"channels_first"`.

    Returns:
        A tensor of the input's shape; called with `return_maps=True`, also
        `{"attention": (batch, height, width, channels)}`, the same for all channels of a group.

    Raises:
        ValueError: `groups` below 1, an input that is not of rank 4.

    Example:

    >>> y = EMA(groups=8)(keras.Input((32, 32, 64)))

    Reference:

    - [Efficient Multi-Scale Attention Module with Cross-Spatial
      Learning](https://arxiv.org/abs/2305.13563); the authors'
      [code](https://github.com/YOLOonMe/EMA-attention-module).
    """

    def __init__(
        self,
        groups: int = 32,
        data_format: str | None = None,
        start: str = "published",
        **kwargs: Any,
    ) -> None:
        super().__init__(data_format=data_format, **kwargs)
        self.groups = require_int("groups", groups)
        self.start = start
        self.starting = start_named(start)

    def build(self, input_shape):
        super().build(input_shape)
        self.used_groups = largest_divisor(self.channels, self.groups)
        width = self.channels // self.used_groups
        self.strips = conv2d(self, width, width, 1, "strips", self.dtype_policy)
        # logits of zero need both branches at zero; the other's even weights let either learn
        local = {"kernel_initializer": self.starting.conv}
        self.local = conv2d(self, width, width, 3, "local", self.dtype_policy, **local)
        self.norm = group_norm(self, width, width, "norm", self.dtype_policy, self.starting.gamma)

    def attend(self, inputs, training=None):
        x = groups_as_images(to_channels_last(inputs, self.data_format), self.used_groups)
        gated, local = self.norm(self._gate_strips(x)), self.local(x)
        logits = _weighed(gated, local) + _weighed(local, gated)
        gate = ops.cast(self.starting.gate(logits), self.compute_dtype)
        gate = images_as_groups(ops.broadcast_to(gate, ops.shape(x)), self.used_groups)
        gate = from_channels_last(gate, self.data_format)
        return self.gated(inputs, gate), {"attention": gate}

    def _gate_strips(self, x):
        """The map times a gate for each row and one for each column of every channel."""
        height = self.strips(ops.cast(pool(x, "avg", 2), self.compute_dtype))
        width = self.strips(ops.cast(pool(x, "avg", 1), self.compute_dtype))
        return x * ops.sigmoid(height) * ops.sigmoid(width)

    def products(self, input_shape):
        rows = self.positions(input_shape) * self.used_groups
        # each branch weighs the other
        return 2 * [(rows, self.channels // self.used_groups, 1)]

    def get_config(self):
        return {**super().get_config(), "groups": self.groups, "start": self.start}


def _weighed(weighing, x):
    """The channels of `x`, summed by a softmax over the averages of another map's channels."""
    weights = softmax(pool(weighing, "avg", (1, 2)), -1)
    return ops.sum(weights * at_least_float32(x), axis=-1, keepdims=True)


@register_attention("ema_block", layer=EMA)
def ema_block(
    x: keras.KerasTensor, groups: int = 32, name: str | None = None, **options: Any
) -> keras.KerasTensor:
    """Applies `EMA` (Efficient Multi-scale Attention) to a feature map.

    Args:
        x: Keras tensor of rank 4, `(batch, height, width, channels)`.
        groups: int, groups of channels. Defaults to 32, as in the authors' code.
        name: string, the layer's name.
        **options: the further options of `EMA`.

    Returns:
        A Keras tensor of the shape of `x`.

    Raises:
        ValueError: `groups` below 1, an unknown option, an input that is not of rank 4.

    Example:

    >>> x = keras.layers.Conv2D(64, 3)(keras.Input((32, 32, 3)))
    >>> x = ema_block(x, groups=8)

    Reference:

    - [Efficient Multi-Scale Attention](https://arxiv.org/abs/2305.13563)
    """
    return EMA(groups, name=name, **options)(x)
