"""Spatial group-wise enhancement: where a group of channels agrees with its average."""

from typing import Any

import keras
from keras import ops

from ...checks import require_int
from ..base import AttentionLayer, pool
from ..parts import (
    at_least_float32,
    deviation,
    from_channels_last,
    largest_divisor,
    to_channels_last,
)
from ..registry import register_attention
from ..starts import start_named


@keras.saving.register_keras_serializable(package="attention_zoo")
class SGE(AttentionLayer):
    """Spatial Group-wise Enhance: a gate for each position and group of channels.

    In each group of channels, `t_i = mean(x) . x_i` says how much position i resembles the average
    of all positions. Normalized over the positions it makes the gate, with two numbers learned for
    each group: `x_i * sigmoid(w * (t_i - mean(t)) / (std(t) + 1e-5) + b)`.

    On a map of one position the deviation is undefined, and the authors' code gives NaN. Here the
    gate is then `sigmoid(b)`, as on every constant map.

    Args:
        groups: int, groups of channels. Defaults to 64, as in the authors' code. If it does not
            divide the channels, the largest divisor of the channels below it is taken. For few
            channels take fewer, such as 8.
        start: how the gate starts. `"published"` (default): at 0.73, as in the authors' code.
            `"half"`: at 0.5. `"identity"`: at 1 everywhere, so that the layer returns its input
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

    >>> y = SGE(groups=8)(keras.Input((32, 32, 64)))

    Reference:

    - [Spatial Group-wise Enhance](https://arxiv.org/abs/1905.09646); the authors'
      [code](https://github.com/implus/PytorchInsight/blob/master/classification/models/imagenet/
      resnet_sge.py), from which come `w` that starts at 0, `b` at 1 and the unbiased deviation.
    """

    has_kernels = False

    def __init__(
        self,
        groups: int = 64,
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
        # not cast to half precision, as they are applied to normalized sums in float32
        shared = {"shape": (self.used_groups,), "autocast": False}
        self.w = self.add_weight(name="w", initializer="zeros", **shared)
        b = "ones" if self.start == "published" else "zeros"
        self.b = self.add_weight(name="b", initializer=b, **shared)

    def attend(self, inputs, training=None):
        x = at_least_float32(to_channels_last(inputs, self.data_format))
        height, width = ops.shape(x)[1:3]
        group = self.channels // self.used_groups
        products = x * pool(x, "avg", (1, 2))
        products = ops.reshape(products, (-1, height, width, self.used_groups, group))
        likeness = ops.sum(products, axis=-1)
        centered = likeness - pool(likeness, "avg", (1, 2))
        w, b = (ops.cast(weight, x.dtype) for weight in (self.w, self.b))
        gate = self.starting.gate(centered / (deviation(likeness, (1, 2)) + 1e-5) * w + b)
        gate = ops.repeat(ops.cast(gate, self.compute_dtype), group, axis=-1)
        gate = from_channels_last(gate, self.data_format)
        return self.gated(inputs, gate), {"attention": gate}

    def products(self, input_shape):
        rows = self.positions(input_shape) * self.used_groups
        return [(rows, self.channels // self.used_groups, 1)]

    def get_config(self):
        return {**super().get_config(), "groups": self.groups, "start": self.start}


@register_attention("sge_block", layer=SGE)
def sge_block(
    x: keras.KerasTensor, groups: int = 64, name: str | None = None, **options: Any
) -> keras.KerasTensor:
    """Applies `SGE` (Spatial Group-wise Enhance) to a feature map.

    Args:
        x: Keras tensor of rank 4, `(batch, height, width, channels)`.
        groups: int, groups of channels. Defaults to 64, as in the authors' code.
        name: string, the layer's name.
        **options: the further options of `SGE`.

    Returns:
        A Keras tensor of the shape of `x`.

    Raises:
        ValueError: `groups` below 1, an unknown option, an input that is not of rank 4.

    Example:

    >>> x = keras.layers.Conv2D(64, 3)(keras.Input((32, 32, 3)))
    >>> x = sge_block(x, groups=8)

    Reference:

    - [Spatial Group-wise Enhance](https://arxiv.org/abs/1905.09646)
    """
    return SGE(groups, name=name, **options)(x)
