"""ECA: channel attention from a convolution along the channels."""

import math
from typing import Any

import keras
from keras import ops

from ...checks import require_finite, require_int, require_number
from ..base import AttentionLayer, pool
from ..parts import conv, divisible, per_channel
from ..registry import register_attention
from ..starts import start_named


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
        start: how the gate starts. `"published"` (default): with random weights. `"half"`:
            at 0.5 everywhere. `"identity"`: at 1 everywhere, so that the layer returns its input
            until it learns; the gate is then `2 * sigmoid`, between 0 and 2.
        data_format: `"channels_last"` or `"channels_first"`; defaults to Keras's setting.

    Input: `(batch, height, width, channels)`, `(batch, steps, channels)` or `(batch, depth, height,
    width, channels)` of any floating dtype; channels first with `"channels_first"`.

    Returns:
        A tensor of the input's shape; called with `return_maps=True`, also
        `{"channel": (batch, 1, 1, channels)}`.

    Raises:
        ValueError: an even kernel, a `gamma` that is not above 0, a `b` that is no finite number,
            an input that is not of rank 3, 4 or 5.

    Example:

    >>> y = ECA()(keras.Input((32, 32, 64)))  # a kernel of size 3
    >>> y = ECA(kernel_size=5)(keras.Input((32, 32, 64)))

    Reference:

    - [ECA-Net: Efficient Channel Attention](https://arxiv.org/abs/1910.03151); the authors'
      [code](https://github.com/BangguWu/ECANet/blob/master/models/eca_module.py).
    """

    ranks = (3, 4, 5)

    def __init__(
        self,
        kernel_size: int | None = None,
        gamma: float = 2,
        b: float = 1,
        start: str = "published",
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
        size = self.kernel_size or adaptive_kernel_size(self.channels, self.gamma, self.b)
        self.conv = along_channels(
            self,
            1,
            1,
            size,
            "conv",
            self.gate_policy,
            use_bias=False,
            kernel_initializer=self.starting.conv,
        )

    def attend(self, inputs, training=None):
        pooled = ops.reshape(pool(inputs, "avg", self.spatial_axes), (-1, self.channels, 1))
        gate = self.starting.gate(self.conv(ops.cast(pooled, self.gate_dtype)))
        gate = per_channel(gate, self.channels, self.data_format, self.rank)
        return self.gated(inputs, gate), {"channel": gate}

    def get_config(self):
        return {
            **super().get_config(),
            "kernel_size": self.kernel_size,
            "gamma": self.gamma,
            "b": self.b,
            "start": self.start,
        }


@keras.saving.register_keras_serializable(package="attention_zoo")
class ECAM(AttentionLayer):
    """timm's ECA with a small network in place of the kernel.

    Every channel's average is expanded by the same few numbers, `relu(expand(mean(x)))`, and a
    kernel slides along the channels of what results: `x * sigmoid(reduce(relu(expand(mean(x)))))`.

    Args:
        kernel_size: int, odd, or `None` (default), adapted to the number of channels as in `ECA`,
            but at least 3.
        ratio: int: every average is expanded to `channels / ratio` numbers, rounded to a multiple
            of 8, at least 8. Defaults to 8, as in timm.
        start: how the gate starts. `"published"` (default): with random weights. `"half"`:
            at 0.5 everywhere. `"identity"`: at 1 everywhere, so that the layer returns its input
            until it learns; the gate is then `2 * sigmoid`, between 0 and 2.
        data_format: `"channels_last"` or `"channels_first"`; defaults to Keras's setting.

    Input: `(batch, height, width, channels)`, `(batch, steps, channels)` or `(batch, depth, height,
    width, channels)` of any floating dtype; channels first with `"channels_first"`.

    Returns:
        A tensor of the input's shape; called with `return_maps=True`, also
        `{"channel": (batch, 1, 1, channels)}`.

    Raises:
        ValueError: an even kernel, `ratio` below 1, an input that is not of rank 3, 4 or 5.

    Example:

    >>> y = ECAM()(keras.Input((32, 32, 64)))

    Reference:

    - `EcaModule` with `use_mlp` (`"ecam"`) of [timm](https://github.com/huggingface/
      pytorch-image-models/blob/main/timm/layers/eca.py), which calls it an experiment that is not
      in the paper.
    """

    ranks = (3, 4, 5)

    def __init__(
        self,
        kernel_size: int | None = None,
        ratio: int = 8,
        start: str = "published",
        data_format: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(data_format=data_format, **kwargs)
        self.kernel_size = kernel_size
        if kernel_size is not None:
            self.kernel_size = require_int("kernel_size", kernel_size, odd=True)
        self.ratio = require_int("ratio", ratio)
        self.start = start
        self.starting = start_named(start)

    def build(self, input_shape):
        super().build(input_shape)
        hidden = divisible(self.channels / self.ratio, 8, least_share=0.9)
        size = self.kernel_size or max(3, adaptive_kernel_size(self.channels, gamma=2, b=1))
        self.expand = along_channels(
            self, 1, hidden, 1, "expand", self.gate_policy, activation="relu"
        )
        self.reduce = along_channels(
            self, hidden, 1, size, "reduce", self.gate_policy, kernel_initializer=self.starting.conv
        )

    def attend(self, inputs, training=None):
        pooled = ops.reshape(pool(inputs, "avg", self.spatial_axes), (-1, self.channels, 1))
        gate = self.starting.gate(self.reduce(self.expand(ops.cast(pooled, self.gate_dtype))))
        gate = per_channel(gate, self.channels, self.data_format, self.rank)
        return self.gated(inputs, gate), {"channel": gate}

    def get_config(self):
        return {
            **super().get_config(),
            "kernel_size": self.kernel_size,
            "ratio": self.ratio,
            "start": self.start,
        }


def along_channels(owner, inputs, filters, size, name, dtype, **options):
    """Returns a built convolution along vectors that are as long as there are channels."""
    return conv(owner, inputs, filters, size, name, dtype, rank=3, **options)


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
        x: Keras tensor, a feature map `(batch, height, width, channels)`, a sequence or a volume.
        kernel_size: int, odd, or `None` (default), adapted to the number of channels.
        name: string, the layer's name.
        **options: the further options of `ECA`: `gamma` (2) and `b` (1) of the adaptive size.

    Returns:
        A Keras tensor of the shape of `x`.

    Raises:
        ValueError: an even kernel, an unknown option, an input that is not of rank 3, 4 or 5.

    Example:

    >>> x = keras.layers.Conv2D(64, 3)(keras.Input((32, 32, 3)))
    >>> x = eca_block(x)

    Reference:

    - [ECA-Net: Efficient Channel Attention](https://arxiv.org/abs/1910.03151)
    """
    return ECA(kernel_size, name=name, **options)(x)


@register_attention("ecam_block", layer=ECAM)
def ecam_block(
    x: keras.KerasTensor, kernel_size: int | None = None, name: str | None = None, **options: Any
) -> keras.KerasTensor:
    """Applies `ECAM` (timm's `ecam`) to a feature map.

    Args:
        x: Keras tensor, a feature map `(batch, height, width, channels)`, a sequence or a volume.
        kernel_size: int, odd, or `None` (default), adapted to the number of channels.
        name: string, the layer's name.
        **options: the further options of `ECAM`: `ratio`, `start`.

    Returns:
        A Keras tensor of the shape of `x`.

    Raises:
        ValueError: an even kernel, an unknown option, an input that is not of rank 3, 4 or 5.

    Example:

    >>> x = keras.layers.Conv2D(64, 3)(keras.Input((32, 32, 3)))
    >>> x = ecam_block(x)

    Reference:

    - `EcaModule` of [timm](https://github.com/huggingface/pytorch-image-models)
    """
    return ECAM(kernel_size, name=name, **options)(x)
