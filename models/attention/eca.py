"""ECA: channel attention from a convolution along the channels."""

import math
from typing import Any

import keras
from keras import layers, ops

from ..checks import require_finite, require_int, require_number
from .base import AttentionLayer, pool
from .parts import per_channel
from .registry import register_attention
from .starts import start_named


@keras.saving.register_keras_serializable(package="attention_zoo")
class ECA(AttentionLayer):
    """Efficient Channel Attention: each channel's gate from the averages of its neighbors.

    `x * sigmoid(conv1d(mean(x)))`, one small kernel that slides along the channels, without biases
    and without a bottleneck.

    Args:
        kernel_size: int, odd, or `None` (default), adapted to the number of channels as in
            equation 12 of the paper: `t = int(abs(log2(channels) + b) / gamma)`, and `t + 1` where
            that is even. The authors' code leaves the size to the caller, 3 where none is given.
        gamma: number above 0, of the adaptive size. Defaults to 2, as in the paper.
        b: number, of the adaptive size. Defaults to 1, as in the paper.
        start: how the gate starts. `None` (default): with random weights, as published. `"half"`:
            at 0.5 everywhere. `"identity"`: at 1 everywhere, so that the layer returns its input
            until it learns; the gate is then `2 * sigmoid`, between 0 and 2.
        data_format: `"channels_last"` or `"channels_first"`; defaults to Keras's setting.

    Input: `(batch, height, width, channels)` of any floating dtype; `(batch, channels, height,
    width)` with `"channels_first"`.

    Returns:
        A tensor of the input's shape; called with `return_maps=True`, also
        `{"channel": (batch, 1, 1, channels)}`.

    Raises:
        ValueError: an even kernel, a `gamma` that is not above 0, a `b` that is no finite number,
            an input that is not of rank 4.

    Example:

    >>> y = ECA()(keras.Input((32, 32, 64)))  # a kernel of size 3
    >>> y = ECA(kernel_size=5)(keras.Input((32, 32, 64)))

    Reference:

    - [ECA-Net: Efficient Channel Attention](https://arxiv.org/abs/1910.03151); the authors'
      [code](https://github.com/BangguWu/ECANet/blob/master/models/eca_module.py).
    """

    def __init__(
        self,
        kernel_size: int | None = None,
        gamma: float = 2,
        b: float = 1,
        start: str | None = None,
        data_format: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(data_format=data_format, **kwargs)
        self.kernel_size = kernel_size
        if kernel_size is not None:
            self.kernel_size = require_int("kernel_size", kernel_size, odd=True)
        self.gamma = require_number("gamma", gamma)
        self.b = require_finite("b", b)
        self.start = start
        self.starting = start_named(start)

    def build(self, input_shape):
        super().build(input_shape)
        self.conv = layers.Conv1D(
            1,
            self.kernel_size or adaptive_kernel_size(self.channels, self.gamma, self.b),
            padding="same",
            use_bias=False,
            kernel_initializer=self.starting.conv,
            data_format="channels_last",  # the vector made here is as long as there are channels
            name="conv",
            dtype=self.gate_policy,
        )
        self.conv.build((None, self.channels, 1))

    def attend(self, inputs, training=None):
        pooled = ops.reshape(pool(inputs, "avg", self.spatial_axes), (-1, self.channels, 1))
        gate = self.starting.gate(self.conv(ops.cast(pooled, self.gate_dtype)))
        gate = per_channel(gate, self.channels, self.data_format)
        return self.gated(inputs, gate), {"channel": gate}

    def get_config(self):
        return {
            **super().get_config(),
            "kernel_size": self.kernel_size,
            "gamma": self.gamma,
            "b": self.b,
            "start": self.start,
        }


def adaptive_kernel_size(channels, gamma, b):
    """The odd size of a kernel that slides along the channels, by equation 12 of the paper."""
    size = int(abs(math.log2(channels) + b) / gamma)
    return size if size % 2 else size + 1


@register_attention("eca_block", layer=ECA)
def eca_block(
    x: keras.KerasTensor, kernel_size: int | None = None, name: str | None = None, **options: Any
) -> keras.KerasTensor:
    """Applies `ECA` (Efficient Channel Attention) to a feature map.

    Args:
        x: Keras tensor of rank 4, `(batch, height, width, channels)`.
        kernel_size: int, odd, or `None` (default), adapted to the number of channels.
        name: string, the layer's name.
        **options: the further options of `ECA`: `gamma` (2) and `b` (1) of the adaptive size.

    Returns:
        A Keras tensor of the shape of `x`.

    Raises:
        ValueError: an even kernel, an unknown option, an input that is not of rank 4.

    Example:

    >>> x = keras.layers.Conv2D(64, 3)(keras.Input((32, 32, 3)))
    >>> x = eca_block(x)

    Reference:

    - [ECA-Net: Efficient Channel Attention](https://arxiv.org/abs/1910.03151)
    """
    return ECA(kernel_size, name=name, **options)(x)
