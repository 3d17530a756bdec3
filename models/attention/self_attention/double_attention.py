"""Double attention: features gathered from the whole map, handed out to every position."""

from typing import Any

import keras
from keras import ops

from ...checks import require_int
from ..base import AttentionLayer
from ..parts import (
    at_least_float32,
    conv2d,
    flatten_positions,
    from_channels_last,
    to_channels_last,
)
from ..registry import register_attention


@keras.saving.register_keras_serializable(package="attention_zoo")
class DoubleAttention(AttentionLayer):
    """The double attention block (A2-Nets): gather, then distribute.

    Each of `c_n` attention maps, a softmax over the positions, gathers a descriptor of the map, a
    vector of `c_m` numbers. Every position then takes a mixture of the descriptors, weighted by a
    softmax of its own over them:
    `x + reconstruct((A softmax_positions(B)') softmax_descriptors(V))`, where A, B, V and
    `reconstruct` are 1x1 convolutions. The cost grows with the number of positions, not with its
    square.

    Args:
        c_m: int, size of a descriptor. Defaults to `None`, a quarter of the channels, at least 1,
            as in the paper.
        c_n: int, number of descriptors. Defaults to `None`, a quarter of the channels, at least 2,
            as a softmax over one descriptor is 1 at every position.
        residual: bool, whether the block is added to its input, as in the paper. Defaults to
            `True`; the PyTorch implementations in use return the block alone.
        data_format: `"channels_last"` or `"channels_first"`; defaults to Keras's setting.

    Input: `(batch, height, width, channels)` of any floating dtype; `(batch, channels, height,
    width)` with `"channels_first"`.

    Returns:
        A tensor of the input's shape; called with `return_maps=True`, also `{"spatial": (batch,
        height, width, 1)}`, the weight of each position, averaged over the attention maps and
        relative to an equal weight of all positions: on average 1.

    Raises:
        ValueError: `c_m` below 1, `c_n` below 2, an input that is not of rank 4.

    Example:

    >>> y = DoubleAttention()(keras.Input((14, 14, 64)))
    >>> y = DoubleAttention(c_m=32, c_n=8)(keras.Input((14, 14, 64)))

    Reference:

    - [A2-Nets: Double Attention Networks](https://arxiv.org/abs/1810.11579), section 3. No code of
      the authors is known. The convolutions have biases, as in the PyTorch implementations in use,
      except for B, whose bias the softmax over the positions would cancel. In those implementations
      V's softmax is over the positions too; in the paper's equation 6 it is over the descriptors.
    """

    def __init__(
        self,
        c_m: int | None = None,
        c_n: int | None = None,
        residual: bool = True,
        data_format: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(data_format=data_format, **kwargs)
        self.c_m = c_m if c_m is None else require_int("c_m", c_m)
        self.c_n = c_n if c_n is None else require_int("c_n", c_n, least=2)
        self.residual = bool(residual)

    def build(self, input_shape):
        super().build(input_shape)
        size = self.c_m or max(1, self.channels // 4)
        number = self.c_n or max(2, self.channels // 4)
        self.features = self._conv(self.channels, size, "features")
        self.gather = self._conv(self.channels, number, "gather", use_bias=False)
        self.distribute = self._conv(self.channels, number, "distribute")
        self.reconstruct = self._conv(size, self.channels, "reconstruct")

    def _conv(self, inputs, filters, name, use_bias=True):
        return conv2d(self, inputs, filters, 1, name, self.dtype_policy, use_bias=use_bias)

    def attend(self, inputs, training=None):
        x = to_channels_last(inputs, self.data_format)
        height, width = ops.shape(x)[1:3]
        gather, distribute, features = (
            at_least_float32(flatten_positions(conv(x)))
            for conv in (self.gather, self.distribute, self.features)
        )
        gather = ops.softmax(gather, axis=1)
        distribute = ops.softmax(distribute, axis=2)
        descriptors = ops.matmul(ops.swapaxes(gather, 1, 2), features)
        y = ops.cast(ops.matmul(distribute, descriptors), self.compute_dtype)
        y = self.reconstruct(ops.reshape(y, (-1, height, width, self.features.filters)))
        y = from_channels_last(y, self.data_format)
        mass = ops.mean(gather, axis=2) * ops.cast(height * width, gather.dtype)
        mass = ops.cast(ops.reshape(mass, (-1, height, width, 1)), self.compute_dtype)
        maps = {"spatial": from_channels_last(mass, self.data_format)}
        return (inputs + y if self.residual else y), maps

    def products(self, input_shape):
        positions = self.positions(input_shape)
        number, size = self.gather.filters, self.features.filters
        return [(number, positions, size), (positions, number, size)]

    def get_config(self):
        return {
            **super().get_config(),
            "c_m": self.c_m,
            "c_n": self.c_n,
            "residual": self.residual,
        }


@register_attention("double_attention_block", layer=DoubleAttention)
def double_attention_block(
    x: keras.KerasTensor,
    c_m: int | None = None,
    c_n: int | None = None,
    name: str | None = None,
    **options: Any,
) -> keras.KerasTensor:
    """Applies `DoubleAttention` (A2-Nets) to a feature map.

    Args:
        x: Keras tensor of rank 4, `(batch, height, width, channels)`.
        c_m: int, size of a descriptor. Defaults to a quarter of the channels.
        c_n: int, number of descriptors. Defaults to a quarter of the channels, at least 2.
        name: string, the layer's name.
        **options: the further options of `DoubleAttention`.

    Returns:
        A Keras tensor of the shape of `x`, which the block is added to.

    Raises:
        ValueError: `c_m` below 1, `c_n` below 2, an unknown option, an input that is not of rank 4.

    Example:

    >>> x = keras.layers.Conv2D(64, 3)(keras.Input((32, 32, 3)))
    >>> x = double_attention_block(x)

    Reference:

    - [A2-Nets: Double Attention Networks](https://arxiv.org/abs/1810.11579)
    """
    return DoubleAttention(c_m, c_n, name=name, **options)(x)
