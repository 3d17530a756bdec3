"""Spatial attention: a gate for every position, from a convolution over channel statistics."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from ...checks import require_int
from ..base import AttentionLayer, pool, require_pools
from ..parts import batch_norm, from_channels_last, gate_conv, to_channels_last
from ..registry import register_attention
from ..starts import CBAM_STARTS, start_named


@keras.saving.register_keras_serializable(package="attention_zoo")
class SpatialAttention(AttentionLayer):
    """The spatial half of CBAM: which positions matter, for all channels.

    The channels of each position are described by their average and maximum, and a large
    convolution over these two maps gives the gate:
    `x * sigmoid(conv(concat([mean(x, channels), max(x, channels)])))`.

    Args:
        kernel_size: int, odd, of the convolution along every axis. Defaults to 7; the paper's
            Table 2 compares 3 and 7.
        descriptor: what the convolution sees: a tuple of `"avg"`, `"max"`, `"lp"`, `"lse"`, in the
            order of its input channels, or `"conv"`, a learned 1x1 convolution to one channel (the
            paper's Table 2). Defaults to `("avg", "max")`; the authors' code has
            `("max", "avg")`.
        batch_norm: bool, batch normalization (momentum 0.99, epsilon 1e-5) between the convolution
            and the sigmoid, as in the authors' code. Defaults to `False`.
        start: how the gate starts. `"published"` (default): with random weights. `"half"`:
            at 0.5 everywhere. `"identity"`: at 1 everywhere, so that the layer returns its input
            until it learns; the gate is then `2 * sigmoid`, between 0 and 2.
            `"authors"`: with the random weights of CBAM's authors, and at 0.5 for all positions
            where `batch_norm` is given.
        data_format: `"channels_last"` or `"channels_first"`; defaults to Keras's setting.

    Input: `(batch, height, width, channels)`, `(batch, steps, channels)` or `(batch, depth, height,
    width, channels)` of any floating dtype; channels first with `"channels_first"`.

    Returns:
        A tensor of the input's shape; called with `return_maps=True`, also
        `{"spatial": (batch, height, width, 1)}`.

    Raises:
        ValueError: an even kernel, an unknown descriptor, an input that is not of rank 3, 4 or 5.

    Example:

    >>> y = SpatialAttention(kernel_size=7)(keras.Input((32, 32, 64)))

    Reference:

    - [CBAM](https://arxiv.org/abs/1807.06521), section 3; `SpatialGate` of the authors'
      [code](https://github.com/Jongchan/attention-module/blob/master/MODELS/cbam.py).
    """

    ranks = (3, 4, 5)

    def __init__(
        self,
        kernel_size: int = 7,
        descriptor: str | Sequence[str] = ("avg", "max"),
        batch_norm: bool = False,
        start: str = "published",
        data_format: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(data_format=data_format, **kwargs)
        self.kernel_size = require_int("kernel_size", kernel_size, odd=True)
        self.descriptor = descriptor
        if descriptor != "conv":
            self.descriptor = require_pools("descriptor, if not 'conv',", descriptor)
        self.batch_norm = bool(batch_norm)
        self.start = start
        self.starting = start_named(start, CBAM_STARTS)

    def build(self, input_shape):
        super().build(input_shape)
        self.squeeze = None
        maps = 1 if self.descriptor == "conv" else len(self.descriptor)
        if self.descriptor == "conv":
            # of the whole map: in its own precision
            self.squeeze = gate_conv(
                self, self.channels, 1, "squeeze", self.dtype_policy, self.rank
            )
        self.conv = gate_conv(
            self,
            maps,
            self.kernel_size,
            "conv",
            self.gate_policy,
            self.rank,
            kernel_initializer=self.starting.conv_before(self.batch_norm),
        )
        self.norm = None
        if self.batch_norm:
            # momentum 0.01 in PyTorch's convention
            self.norm = batch_norm(
                self,
                1,
                "norm",
                self.gate_policy,
                self.starting.gamma,
                self.rank,
                momentum=0.99,
            )

    def attend(self, inputs, training=None):
        logits = self.conv(self._describe(inputs))
        if self.norm is not None:
            logits = self.norm(logits, training=training)
        gate = from_channels_last(self.starting.gate(logits), self.data_format)
        return self.gated(inputs, gate), {"spatial": gate}

    def _describe(self, inputs):
        """The maps that the convolution sees, with as many channels as there are descriptors."""
        if self.squeeze is not None:
            return self.squeeze(to_channels_last(inputs, self.data_format))
        maps = [pool(inputs, kind, self.channel_axis) for kind in self.descriptor]
        maps = ops.stack([ops.squeeze(m, self.channel_axis) for m in maps], axis=-1)
        return ops.cast(maps, self.gate_dtype)

    def get_config(self):
        return {
            **super().get_config(),
            "kernel_size": self.kernel_size,
            "descriptor": self.descriptor,
            "batch_norm": self.batch_norm,
            "start": self.start,
        }


@register_attention("spatial_attention", layer=SpatialAttention)
def spatial_attention(
    x: keras.KerasTensor, kernel_size: int = 7, name: str | None = None, **options: Any
) -> keras.KerasTensor:
    """Applies `SpatialAttention` to a feature map: `(batch, height, width, channels)` in and out.

    Args:
        x: Keras tensor, a feature map `(batch, height, width, channels)`, a sequence or a volume.
        kernel_size: int, odd, of the convolution. Defaults to 7.
        name: string, the layer's name.
        **options: the further options of `SpatialAttention`.

    Returns:
        A Keras tensor of the shape of `x`.

    Raises:
        ValueError: an even kernel, an unknown option, an input that is not of rank 3, 4 or 5.

    Example:

    >>> x = keras.layers.Conv2D(64, 3)(keras.Input((32, 32, 3)))
    >>> x = spatial_attention(x, kernel_size=3)

    Reference:

    - [CBAM](https://arxiv.org/abs/1807.06521)
    """
    return SpatialAttention(kernel_size, name=name, **options)(x)
