"""Large kernels: a map of weights from a wide neighborhood, by convolutions taken apart."""

from typing import Any

import keras

from ...checks import require_int
from ..base import AttentionLayer
from ..parts import conv2d, depthwise_conv2d, from_channels_last, to_channels_last
from ..registry import register_attention


class _LargeKernel(AttentionLayer):
    """Multiplies the map by what depthwise convolutions and a 1x1 convolution make of it."""

    def __init__(self, kernel_size, dilation, data_format, **kwargs):
        super().__init__(data_format=data_format, **kwargs)
        self.kernel_size = require_int("kernel_size", kernel_size)
        self.dilation = require_int("dilation", dilation)
        if self.kernel_size // self.dilation % 2 == 0:
            raise ValueError(
                f"kernel_size // dilation, the size of the dilated kernel, must be an odd integer "
                f"of at least 1, received {kernel_size!r} // {dilation!r}"
            )

    def build(self, input_shape):
        super().build(input_shape)
        self.convs = [
            depthwise_conv2d(
                self,
                self.channels,
                kernel,
                f"conv{number}",
                self.dtype_policy,
                dilation_rate=dilation,
            )
            for number, (kernel, dilation) in enumerate(self._kernels(), 1)
        ]
        self.mix = conv2d(self, self.channels, self.channels, 1, "mix", self.dtype_policy)

    def _kernels(self):
        """Kernel and dilation of each depthwise convolution, in their order."""
        raise NotImplementedError

    def attend(self, inputs, training=None):
        attention = to_channels_last(inputs, self.data_format)
        for conv in self.convs:
            attention = conv(attention)
        attention = from_channels_last(self.mix(attention), self.data_format)
        return self.gated(inputs, attention), {"attention": attention}

    def get_config(self):
        options = {"kernel_size": self.kernel_size, "dilation": self.dilation}
        return {**super().get_config(), **options}


@keras.saving.register_keras_serializable(package="attention_zoo")
class LKA(_LargeKernel):
    """Large Kernel Attention (of VAN): a large convolution, in three cheap ones.

    `x * mix(dilated(local(x)))`: a depthwise convolution of `2 * dilation - 1`, a dilated depthwise
    one of `kernel_size // dilation`, and a 1x1 convolution. The result multiplies the map as it
    is, without a sigmoid.

    Args:
        kernel_size: int, of the large kernel. Defaults to 21, as in the paper: a kernel of 5, then
            one of 7 with dilation 3.
        dilation: int, of the second kernel. Defaults to 3, as in the paper. `kernel_size //
            dilation` must be odd.
        data_format: `"channels_last"` or `"channels_first"`; defaults to Keras's setting.

    Input: `(batch, height, width, channels)` of any floating dtype; `(batch, channels, height,
    width)` with `"channels_first"`.

    Returns:
        A tensor of the input's shape; called with `return_maps=True`, also
        `{"attention": (batch, height, width, channels)}`, of any sign.

    Raises:
        ValueError: a number below 1, an even dilated kernel, an input that is not of rank 4.

    Example:

    >>> y = LKA()(keras.Input((32, 32, 64)))

    Reference:

    - [Visual Attention Network](https://arxiv.org/abs/2202.09741), section 3.1; the authors'
      [code](https://github.com/Visual-Attention-Network/VAN-Classification/blob/main/models/van.py).
      The 1x1 convolutions and the shortcut that it has around the attention are not here.
    """

    def __init__(
        self,
        kernel_size: int = 21,
        dilation: int = 3,
        data_format: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(kernel_size, dilation, data_format, **kwargs)

    def _kernels(self):
        return [(2 * self.dilation - 1, 1), (self.kernel_size // self.dilation, self.dilation)]


@keras.saving.register_keras_serializable(package="attention_zoo")
class LSKA(_LargeKernel):
    """Large Separable Kernel Attention: `LKA` with each depthwise kernel in a row and a column.

    The cost grows with the kernel's size and not with its square.

    Args:
        kernel_size: int, of the large kernel. Defaults to 23; the authors have 7 and 11 with
            dilation 2, and 23, 35, 41 and 53 with dilation 3.
        dilation: int, of the second kernels. Defaults to 3. `kernel_size // dilation` must be odd.
        data_format: `"channels_last"` or `"channels_first"`; defaults to Keras's setting.

    Input: `(batch, height, width, channels)` of any floating dtype; `(batch, channels, height,
    width)` with `"channels_first"`.

    Returns:
        A tensor of the input's shape; called with `return_maps=True`, also
        `{"attention": (batch, height, width, channels)}`, of any sign.

    Raises:
        ValueError: a number below 1, an even dilated kernel, an input that is not of rank 4.

    Example:

    >>> y = LSKA(kernel_size=35)(keras.Input((32, 32, 64)))

    Reference:

    - [Large Separable Kernel Attention](https://arxiv.org/abs/2309.01439); the authors'
      [code](https://github.com/StevenLauHKHK/Large-Separable-Kernel-Attention).
    """

    def __init__(
        self,
        kernel_size: int = 23,
        dilation: int = 3,
        data_format: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(kernel_size, dilation, data_format, **kwargs)

    def _kernels(self):
        local, dilated = 2 * self.dilation - 1, self.kernel_size // self.dilation
        return [
            ((1, local), 1),
            ((local, 1), 1),
            ((1, dilated), self.dilation),
            ((dilated, 1), self.dilation),
        ]


@register_attention("lka_block", layer=LKA)
def lka_block(
    x: keras.KerasTensor,
    kernel_size: int = 21,
    dilation: int = 3,
    name: str | None = None,
    **options: Any,
) -> keras.KerasTensor:
    """Applies `LKA` (Large Kernel Attention) to a feature map.

    Args:
        x: Keras tensor of rank 4, `(batch, height, width, channels)`.
        kernel_size: int, of the large kernel. Defaults to 21, as in the paper.
        dilation: int. Defaults to 3, as in the paper.
        name: string, the layer's name.
        **options: the further options of `LKA`.

    Returns:
        A Keras tensor of the shape of `x`.

    Raises:
        ValueError: a number below 1, an even dilated kernel, an unknown option, an input that is
            not of rank 4.

    Example:

    >>> x = keras.layers.Conv2D(64, 3)(keras.Input((32, 32, 3)))
    >>> x = lka_block(x)

    Reference:

    - [Visual Attention Network](https://arxiv.org/abs/2202.09741)
    """
    return LKA(kernel_size, dilation, name=name, **options)(x)


@register_attention("lska_block", layer=LSKA)
def lska_block(
    x: keras.KerasTensor,
    kernel_size: int = 23,
    dilation: int = 3,
    name: str | None = None,
    **options: Any,
) -> keras.KerasTensor:
    """Applies `LSKA` (Large Separable Kernel Attention) to a feature map.

    Args:
        x: Keras tensor of rank 4, `(batch, height, width, channels)`.
        kernel_size: int, of the large kernel. Defaults to 23.
        dilation: int. Defaults to 3.
        name: string, the layer's name.
        **options: the further options of `LSKA`.

    Returns:
        A Keras tensor of the shape of `x`.

    Raises:
        ValueError: a number below 1, an even dilated kernel, an unknown option, an input that is
            not of rank 4.

    Example:

    >>> x = keras.layers.Conv2D(64, 3)(keras.Input((32, 32, 3)))
    >>> x = lska_block(x, kernel_size=35)

    Reference:

    - [Large Separable Kernel Attention](https://arxiv.org/abs/2309.01439)
    """
    return LSKA(kernel_size, dilation, name=name, **options)(x)
