"""CAA: a gate for every value, from averages of its surroundings seen along row and column."""

from typing import Any

import keras
from keras import ops

from ...checks import require_int
from ..base import AttentionLayer
from ..parts import (
    at_least_float32,
    batch_norm,
    conv2d,
    depthwise_conv2d,
    from_channels_last,
    to_channels_last,
)
from ..registry import register_attention
from ..starts import start_named


@keras.saving.register_keras_serializable(package="attention_zoo")
class CAA(AttentionLayer):
    """Context Anchor Attention (of PKINet): distant positions by strips of depthwise convolutions.

    `x * sigmoid(block2(column(row(block1(average(x))))))`: an average over windows of 7x7, in which
    positions beyond the border count as zeros; a depthwise kernel along the row and one along the
    column; around them 1x1 convolutions with batch normalization and SiLU.

    Args:
        kernel_size: int, odd, length of both strips. Defaults to 11, as in the authors' code, whose
            deeper blocks have longer ones.
        start: how the gate starts. `"published"` (default): with random weights. `"half"`:
            at 0.5 everywhere. `"identity"`: at 1 everywhere, so that the layer returns its input
            until it learns; the gate is then `2 * sigmoid`, between 0 and 2.
        data_format: `"channels_last"` or `"channels_first"`; defaults to Keras's setting.

    The batch normalizations have momentum 0.97 and epsilon 1e-3, as in the authors' code (there
    0.03, in PyTorch's convention).

    Input: `(batch, height, width, channels)` of any floating dtype; `(batch, channels, height,
    width)` with `"channels_first"`.

    Returns:
        A tensor of the input's shape; called with `return_maps=True`, also
        `{"attention": (batch, height, width, channels)}`.

    Raises:
        ValueError: an even kernel, an input that is not of rank 4.

    Example:

    >>> y = CAA()(keras.Input((32, 32, 64)))

    Reference:

    - [Poly Kernel Inception Network](https://arxiv.org/abs/2403.06258), section 3.3; the authors'
      [code](https://github.com/NUST-Machine-Intelligence-Laboratory/PKINet).
    """

    def __init__(
        self,
        kernel_size: int = 11,
        data_format: str | None = None,
        start: str = "published",
        **kwargs: Any,
    ) -> None:
        super().__init__(data_format=data_format, **kwargs)
        self.kernel_size = require_int("kernel_size", kernel_size, odd=True)
        self.start = start
        self.starting = start_named(start)

    def build(self, input_shape):
        super().build(input_shape)
        self.convs, self.norms = map(
            list, zip(self._block(1, "ones"), self._block(2, self.starting.gamma), strict=True)
        )
        self.row, self.column = (
            depthwise_conv2d(self, self.channels, kernel, name, self.dtype_policy)
            for name, kernel in (("row", (1, self.kernel_size)), ("column", (self.kernel_size, 1)))
        )

    def _block(self, number, gamma):
        conv = conv2d(
            self,
            self.channels,
            self.channels,
            1,
            f"conv{number}",
            self.dtype_policy,
            use_bias=False,
        )
        norm = batch_norm(
            self,
            self.channels,
            f"norm{number}",
            self.dtype_policy,
            gamma,
            momentum=0.97,
            epsilon=1e-3,
        )
        return conv, norm

    def attend(self, inputs, training=None):
        x = at_least_float32(to_channels_last(inputs, self.data_format))
        x = ops.pad(x, ((0, 0), (3, 3), (3, 3), (0, 0)))
        x = ops.average_pool(x, 7, 1, data_format="channels_last")
        x = self._apply_block(0, ops.cast(x, self.compute_dtype), training)
        x = self._apply_block(1, self.column(self.row(x)), training)
        gate = from_channels_last(self.starting.gate(x), self.data_format)
        return self.gated(inputs, gate), {"attention": gate}

    def _apply_block(self, number, x, training):
        return ops.silu(self.norms[number](self.convs[number](x), training=training))

    def get_config(self):
        return {**super().get_config(), "kernel_size": self.kernel_size, "start": self.start}


@register_attention("caa_block", layer=CAA)
def caa_block(
    x: keras.KerasTensor, kernel_size: int = 11, name: str | None = None, **options: Any
) -> keras.KerasTensor:
    """Applies `CAA` (Context Anchor Attention) to a feature map.

    Args:
        x: Keras tensor of rank 4, `(batch, height, width, channels)`.
        kernel_size: int, odd, length of both strips. Defaults to 11, as in the authors' code.
        name: string, the layer's name.
        **options: the further options of `CAA`.

    Returns:
        A Keras tensor of the shape of `x`.

    Raises:
        ValueError: an even kernel, an unknown option, an input that is not of rank 4.

    Example:

    >>> x = keras.layers.Conv2D(64, 3)(keras.Input((32, 32, 3)))
    >>> x = caa_block(x)

    Reference:

    - [Poly Kernel Inception Network](https://arxiv.org/abs/2403.06258)
    """
    return CAA(kernel_size, name=name, **options)(x)
