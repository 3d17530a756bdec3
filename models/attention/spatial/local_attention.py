"""ELA: a gate for every row and one for every column, each from its neighbors."""

from typing import Any

import keras
from keras import ops

from ...checks import require_int
from ..base import AttentionLayer, pool
from ..parts import conv2d, from_channels_last, group_norm, largest_divisor, to_channels_last
from ..registry import register_attention
from ..starts import start_named


@keras.saving.register_keras_serializable(package="attention_zoo")
class ELA(AttentionLayer):
    """Efficient Local Attention: coordinate attention without a bottleneck.

    The map is averaged along its rows and along its columns. Each of both strips passes the same
    convolution along the strip, group normalization and sigmoid: `x * gate(rows) * gate(columns)`.

    The paper's variants:

    | variant | options |
    |---|---|
    | ELA-T | `kernel_size=5, norm_groups=32` |
    | ELA-B | the defaults |
    | ELA-S | `kernel_size=5, group_width=8` |
    | ELA-L | `group_width=8` |

    Args:
        kernel_size: int, odd, length of the kernel along a strip. Defaults to 7.
        group_width: int, channels that the convolution mixes. Defaults to 1, each channel by
            itself. If it does not divide the channels, the largest divisor below it is taken.
        norm_groups: int, groups of the normalization. Defaults to 16. If it does not divide the
            channels, the largest divisor below it is taken.
        start: how the gates start. `"published"` (default): with random weights. `"half"`:
            at 0.5 everywhere. `"identity"`: at 1 everywhere, so that the layer returns its input
            until it learns; a gate is then `2 * sigmoid`, between 0 and 2.
        data_format: `"channels_last"` or `"channels_first"`; defaults to Keras's setting.

    Input: `(batch, height, width, channels)` of any floating dtype; `(batch, channels, height,
    width)` with `"channels_first"`.

    Returns:
        A tensor of the input's shape; called with `return_maps=True`, also
        `{"height": (batch, height, 1, channels), "width": (batch, 1, width, channels)}`.

    Raises:
        ValueError: a number below 1, an even kernel, an input that is not of rank 4.

    Example:

    >>> y = ELA()(keras.Input((32, 32, 64)))
    >>> y = ELA(kernel_size=5, group_width=8)(keras.Input((32, 32, 64)))

    Reference:

    - [ELA: Efficient Local Attention](https://arxiv.org/abs/2403.01123), section 3 and its code in
      the appendix: both strips share convolution and normalization, and the convolution has no
      bias.
    """

    def __init__(
        self,
        kernel_size: int = 7,
        group_width: int = 1,
        norm_groups: int = 16,
        start: str = "published",
        data_format: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(data_format=data_format, **kwargs)
        self.kernel_size = require_int("kernel_size", kernel_size, odd=True)
        self.group_width = require_int("group_width", group_width)
        self.norm_groups = require_int("norm_groups", norm_groups)
        self.start = start
        self.starting = start_named(start)

    def build(self, input_shape):
        super().build(input_shape)
        channels = self.channels
        groups = channels // largest_divisor(channels, self.group_width)
        self.conv = conv2d(
            self,
            channels,
            channels,
            (self.kernel_size, 1),
            "conv",
            self.gate_policy,
            groups=groups,
            use_bias=False,
        )
        norm_groups = largest_divisor(channels, self.norm_groups)
        self.norm = group_norm(
            self, channels, norm_groups, "norm", self.gate_policy, self.starting.gamma
        )

    def attend(self, inputs, training=None):
        x = to_channels_last(inputs, self.data_format)
        height = self._gate(pool(x, "avg", 2))
        width = self._gate(ops.transpose(pool(x, "avg", 1), (0, 2, 1, 3)))
        maps = {
            "height": from_channels_last(height, self.data_format),
            "width": from_channels_last(ops.transpose(width, (0, 2, 1, 3)), self.data_format),
        }
        return self.gated(inputs, maps["height"], maps["width"]), maps

    def _gate(self, strip):
        """The gates `(batch, length, 1, channels)` of a strip of that shape."""
        return self.starting.gate(self.norm(self.conv(ops.cast(strip, self.gate_dtype))))

    def get_config(self):
        return {
            **super().get_config(),
            "kernel_size": self.kernel_size,
            "group_width": self.group_width,
            "norm_groups": self.norm_groups,
            "start": self.start,
        }


@register_attention("ela_block", layer=ELA)
def ela_block(
    x: keras.KerasTensor, kernel_size: int = 7, name: str | None = None, **options: Any
) -> keras.KerasTensor:
    """Applies `ELA` (Efficient Local Attention) to a feature map.

    Args:
        x: Keras tensor of rank 4, `(batch, height, width, channels)`.
        kernel_size: int, odd, length of the kernel along a strip. Defaults to 7.
        name: string, the layer's name.
        **options: the further options of `ELA`: `group_width`, `norm_groups`, `start`.

    Returns:
        A Keras tensor of the shape of `x`.

    Raises:
        ValueError: an even kernel, an unknown option, an input that is not of rank 4.

    Example:

    >>> x = keras.layers.Conv2D(64, 3)(keras.Input((32, 32, 3)))
    >>> x = ela_block(x)

    Reference:

    - [ELA: Efficient Local Attention](https://arxiv.org/abs/2403.01123)
    """
    return ELA(kernel_size, name=name, **options)(x)
