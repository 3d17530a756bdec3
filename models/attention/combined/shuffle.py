"""Shuffle attention: half of a group's channels gated as channels, half by position."""

from typing import Any

import keras
from keras import ops

from ...checks import require_int
from ..base import AttentionLayer, pool
from ..parts import (
    at_least_float32,
    from_channels_last,
    group_norm,
    groups_as_images,
    images_as_groups,
    largest_divisor,
    to_channels_last,
)
from ..registry import register_attention


@keras.saving.register_keras_serializable(package="attention_zoo")
class ShuffleAttention(AttentionLayer):
    """Shuffle Attention (SA): both kinds of attention, each on half of the channels.

    The channels are taken in groups, which share all weights. The first half of a group is gated
    channel by channel, `x * sigmoid(w * mean(x) + b)`, the second half value by value,
    `x * sigmoid(v * norm(x) + c)`, where `norm` normalizes each channel over the positions. The
    channels are then shuffled: the first and the second half of the whole map alternate.

    Args:
        groups: int, groups of channels. Defaults to 64, as in the authors' code. If it does not
            divide half of the channels, the largest divisor below it is taken. An odd number of
            channels is one group, whose first half is the larger.
        data_format: `"channels_last"` or `"channels_first"`; defaults to Keras's setting.

    Input: `(batch, height, width, channels)` of any floating dtype; `(batch, channels, height,
    width)` with `"channels_first"`.

    Returns:
        A tensor of the input's shape; called with `return_maps=True`, also `{"attention": (batch,
        height, width, channels)}`, the gates in the order of the input's channels.

    Raises:
        ValueError: `groups` below 1, an input that is not of rank 4.

    Example:

    >>> y = ShuffleAttention(groups=8)(keras.Input((32, 32, 64)))

    Reference:

    - [SA-Net: Shuffle Attention](https://arxiv.org/abs/2102.00240); the authors'
      [code](https://github.com/wofmanaf/SA-Net), from which come the scales that start at zero and
      the shifts that start at one: at first every gate is 0.73, and the normalization learns from
      the second step on.
    """

    has_kernels = False

    def __init__(self, groups: int = 64, data_format: str | None = None, **kwargs: Any) -> None:
        super().__init__(data_format=data_format, **kwargs)
        self.groups = require_int("groups", groups)

    def build(self, input_shape):
        super().build(input_shape)
        odd = self.channels % 2
        self.used_groups = 1 if odd else largest_divisor(self.channels // 2, self.groups)
        group = self.channels // self.used_groups
        first, second = group - group // 2, group // 2
        self.channel = self._scale_and_shift("channel", first)
        self.spatial: Any = None
        self.norm: Any = None
        if second:
            self.spatial = self._scale_and_shift("spatial", second)
            self.norm = group_norm(self, second, second, "norm", self.dtype_policy)
        # the channels of the first half of the map and those of the second in turn
        half = self.channels - self.channels // 2
        pairs = [(i, half + i) for i in range(half)]
        self.order = [i for pair in pairs for i in pair if i < self.channels]

    def _scale_and_shift(self, name, size):
        # not cast to half precision, as they are applied to averages in float32
        shared = {"shape": (size,), "autocast": False}
        return (
            self.add_weight(name=f"{name}_scale", initializer="zeros", **shared),
            self.add_weight(name=f"{name}_shift", initializer="ones", **shared),
        )

    def attend(self, inputs, training=None):
        x = groups_as_images(to_channels_last(inputs, self.data_format), self.used_groups)
        half = self.channel[0].shape[0]
        channel = _gate(pool(x[..., :half], "avg", (1, 2)), self.channel)
        gate = ops.broadcast_to(channel, ops.shape(x[..., :half]))
        if self.spatial is not None:
            spatial = _gate(at_least_float32(self.norm(x[..., half:])), self.spatial)
            gate = ops.concatenate([gate, spatial], axis=-1)
        gate = images_as_groups(ops.cast(gate, self.compute_dtype), self.used_groups)
        gate = from_channels_last(gate, self.data_format)
        outputs = ops.take(self.gated(inputs, gate), self.order, axis=self.channel_axis)
        return outputs, {"attention": gate}

    def get_config(self):
        return {**super().get_config(), "groups": self.groups}


def _gate(values, scale_and_shift):
    scale, shift = (ops.cast(weight, values.dtype) for weight in scale_and_shift)
    return ops.sigmoid(values * scale + shift)


@register_attention("shuffle_block", layer=ShuffleAttention)
def shuffle_block(
    x: keras.KerasTensor, groups: int = 64, name: str | None = None, **options: Any
) -> keras.KerasTensor:
    """Applies `ShuffleAttention` (SA) to a feature map.

    Args:
        x: Keras tensor of rank 4, `(batch, height, width, channels)`.
        groups: int, groups of channels. Defaults to 64, as in the authors' code.
        name: string, the layer's name.
        **options: the further options of `ShuffleAttention`.

    Returns:
        A Keras tensor of the shape of `x`.

    Raises:
        ValueError: `groups` below 1, an unknown option, an input that is not of rank 4.

    Example:

    >>> x = keras.layers.Conv2D(64, 3)(keras.Input((32, 32, 3)))
    >>> x = shuffle_block(x, groups=8)

    Reference:

    - [SA-Net: Shuffle Attention](https://arxiv.org/abs/2102.00240)
    """
    return ShuffleAttention(groups, name=name, **options)(x)
