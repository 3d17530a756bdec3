"""Context transforms: a gate for every channel, from how its average differs from the others'."""

import math
from typing import Any

import keras
from keras import ops

from ...checks import require_int, require_number
from ..base import AttentionLayer, pool
from ..parts import largest_divisor, per_channel, standardized
from ..registry import register_attention
from ..starts import start_named

EPSILON = 1e-5  # of the variances, as in PyTorch's normalizations
C_LEAST, C_MOST = 1, 4  # the range in which GCT learns its deviation


def normalized_context(x, axes, channels, groups=1):
    """The channels' averages, normalized among the channels of each group.

    Args:
        x: tensor, a feature map.
        axes: the two axes of height and width.
        channels: int.
        groups: int, divides the channels.

    Returns:
        A tensor `(batch, channels)` in at least float32.
    """
    context = ops.reshape(pool(x, "avg", axes), (-1, groups, channels // groups))
    return ops.reshape(standardized(context, -1, EPSILON), (-1, channels))


class _ContextTransform(AttentionLayer):
    """Multiplies the channels by what the `gate` of a derived class gives, `(batch, channels)`."""

    def attend(self, inputs, training=None):
        gate = per_channel(self.gate(inputs), self.channels, self.data_format)
        gate = ops.cast(gate, self.gate_dtype)
        return self.gated(inputs, gate), {"channel": gate}


@keras.saving.register_keras_serializable(package="attention_zoo")
class LCT(_ContextTransform):
    """Linear Context Transform: normalization among channels, a linear function for each channel.

    The channels' averages are normalized within groups of channels, and each channel's gate is a
    linear function of its own: `x * sigmoid(w * normalize(mean(x)) + b)`.

    Args:
        groups: int, the number of groups. Defaults to 8, as in the PyTorch implementations in use.
            If it does not divide the channels, the largest divisor below it is taken. Groups have
            at least two channels if that is possible: alone in its group, a channel always equals
            the average.
        start: how the gate starts. `"published"` (default): at 0.73, see below. `"half"`: at 0.5.
            `"identity"`: at 1 everywhere, so that the layer returns its input until it learns; the
            gate is then `2 * sigmoid`, between 0 and 2.
        data_format: `"channels_last"` or `"channels_first"`; defaults to Keras's setting.

    Input: `(batch, height, width, channels)` of any floating dtype; `(batch, channels, height,
    width)` with `"channels_first"`.

    Returns:
        A tensor of the input's shape; called with `return_maps=True`, also
        `{"channel": (batch, 1, 1, channels)}`.

    Raises:
        ValueError: `groups` below 1, an input that is not of rank 4.

    Example:

    >>> y = LCT(groups=16)(keras.Input((32, 32, 64)))

    Reference:

    - [Linear Context Transform Block](https://arxiv.org/abs/1909.03834), section 3. No code of the
      authors is known. `w` starts at 0 and `b` at 1, so that all gates are 0.73 at first, as in
      some PyTorch implementations; others start them at 1 and 0.
    """

    has_kernels = False

    def __init__(
        self,
        groups: int = 8,
        start: str = "published",
        data_format: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(data_format=data_format, **kwargs)
        self.groups = require_int("groups", groups)
        self.start = start
        self.starting = start_named(start)

    def build(self, input_shape):
        super().build(input_shape)
        # not cast to half precision, as they are applied to normalized averages in float32
        shared = {"shape": (self.channels,), "autocast": False}
        self.w = self.add_weight(name="w", initializer="zeros", **shared)
        b = "ones" if self.start == "published" else "zeros"
        self.b = self.add_weight(name="b", initializer=b, **shared)
        self.used_groups = largest_divisor(
            self.channels, min(self.groups, max(1, self.channels // 2))
        )

    def gate(self, inputs):
        context = normalized_context(inputs, self.spatial_axes, self.channels, self.used_groups)
        w, b = (ops.cast(weight, context.dtype) for weight in (self.w, self.b))
        return self.starting.gate(context * w + b)

    def get_config(self):
        return {**super().get_config(), "groups": self.groups, "start": self.start}


@keras.saving.register_keras_serializable(package="attention_zoo")
class GCT(_ContextTransform):
    """Gaussian Context Transformer: the further from the average, the smaller the gate.

    The channels' averages are normalized among all channels and passed through a Gaussian of
    deviation `c`: `z = normalize(mean(x))`, `x * exp(-z ** 2 / (2 * c ** 2))`. Not to be confused
    with the Gated Channel Transformation, which is called GCT too: that is `GatedChannelTransform`.

    Args:
        c: float, deviation of the Gaussian. Defaults to 2.
        learnable: bool, whether one number is learned for `c`, which then stays between 1 and 4,
            `1 + 3 * sigmoid(theta)`, and starts at `c`. Defaults to `False`, the paper's GCT-B0,
            without parameters; `True` is GCT-B1.
        data_format: `"channels_last"` or `"channels_first"`; defaults to Keras's setting.

    Input: `(batch, height, width, channels)` of any floating dtype; `(batch, channels, height,
    width)` with `"channels_first"`.

    Returns:
        A tensor of the input's shape; called with `return_maps=True`, also
        `{"channel": (batch, 1, 1, channels)}`.

    Raises:
        ValueError: `c` that is no number above 0, or not between 1 and 4 if it is learned; an input
            that is not of rank 4.

    Example:

    >>> y = GCT()(keras.Input((32, 32, 64)))
    >>> y = GCT(c=2.5, learnable=True)(keras.Input((32, 32, 64)))

    Reference:

    - [Gaussian Context Transformer](https://openaccess.thecvf.com/content/CVPR2021/papers/
      Ruan_Gaussian_Context_Transformer_CVPR_2021_paper.pdf), CVPR 2021. No code of the authors is
      known. `c` is the deviation, as in the paper. Some PyTorch implementations have
      `exp(-z ** 2 / 2 * c)`, which is this layer with the deviation `c ** -0.5`; a learned `theta`
      starts there at 0, which is `c=2.5` here.
    """

    has_kernels = False

    def __init__(
        self, c: float = 2.0, learnable: bool = False, data_format: str | None = None, **kwargs: Any
    ) -> None:
        super().__init__(data_format=data_format, **kwargs)
        self.learnable = bool(learnable)
        self.c = require_number("c", c)
        if self.learnable and not C_LEAST < self.c < C_MOST:
            raise ValueError(
                f"c must be between {C_LEAST} and {C_MOST} where it is learned, received {c!r}"
            )

    def build(self, input_shape):
        super().build(input_shape)
        self.theta = None
        if self.learnable:
            start = math.log((self.c - C_LEAST) / (C_MOST - self.c))
            self.theta = self.add_weight(
                shape=(),
                name="theta",
                initializer=keras.initializers.Constant(start),
                autocast=False,
            )

    def gate(self, inputs):
        context = normalized_context(inputs, self.spatial_axes, self.channels)
        deviation = self.c
        if self.theta is not None:
            theta = ops.cast(self.theta, context.dtype)
            deviation = C_LEAST + (C_MOST - C_LEAST) * ops.sigmoid(theta)
        return ops.exp(-0.5 * ops.square(context / deviation))

    def get_config(self):
        return {**super().get_config(), "c": self.c, "learnable": self.learnable}


@register_attention("lct_block", layer=LCT)
def lct_block(
    x: keras.KerasTensor, groups: int = 8, name: str | None = None, **options: Any
) -> keras.KerasTensor:
    """Applies `LCT` (Linear Context Transform) to a feature map.

    Args:
        x: Keras tensor of rank 4, `(batch, height, width, channels)`.
        groups: int, groups of channels to normalize in. Defaults to 8.
        name: string, the layer's name.
        **options: the further options of `LCT`.

    Returns:
        A Keras tensor of the shape of `x`.

    Raises:
        ValueError: `groups` below 1, an unknown option, an input that is not of rank 4.

    Example:

    >>> x = keras.layers.Conv2D(64, 3)(keras.Input((32, 32, 3)))
    >>> x = lct_block(x, groups=16)

    Reference:

    - [Linear Context Transform Block](https://arxiv.org/abs/1909.03834)
    """
    return LCT(groups, name=name, **options)(x)


@register_attention("gct_block", layer=GCT)
def gct_block(
    x: keras.KerasTensor, c: float = 2.0, name: str | None = None, **options: Any
) -> keras.KerasTensor:
    """Applies `GCT` (Gaussian Context Transformer) to a feature map.

    Args:
        x: Keras tensor of rank 4, `(batch, height, width, channels)`.
        c: float, deviation of the Gaussian. Defaults to 2.
        name: string, the layer's name.
        **options: the further options of `GCT`, such as `learnable=True`.

    Returns:
        A Keras tensor of the shape of `x`.

    Raises:
        ValueError: `c` not above 0, an unknown option, an input that is not of rank 4.

    Example:

    >>> x = keras.layers.Conv2D(64, 3)(keras.Input((32, 32, 3)))
    >>> x = gct_block(x)

    Reference:

    - [Gaussian Context Transformer](https://openaccess.thecvf.com/content/CVPR2021/papers/
      Ruan_Gaussian_Context_Transformer_CVPR_2021_paper.pdf)
    """
    return GCT(c, name=name, **options)(x)
