"""Spatial attention: a gate for every position, from a convolution over channel statistics."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import layers, ops

from ...checks import require_int
from ..base import AttentionLayer, pool, require_pools
from ..parts import SingleFilterConv2D
from ..registry import register_attention
from ..starts import CBAM_STARTS, start_named


@keras.saving.register_keras_serializable(package="attention_zoo")
class SpatialAttention(AttentionLayer):
    """The spatial half of CBAM: which positions matter, for all channels.

    The channels of each position are described by their average and maximum, and a large
    convolution over these two maps gives the gate:
    `x * sigmoid(conv(concat([mean(x, channels), max(x, channels)])))`.

    Args:
        kernel_size: int, odd, of the convolution. Defaults to 7; the paper's Table 2 compares 3
            and 7.
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

    Input: `(batch, height, width, channels)` of any floating dtype; `(batch, channels, height,
    width)` with `"channels_first"`.

    Returns:
        A tensor of the input's shape; called with `return_maps=True`, also
        `{"spatial": (batch, height, width, 1)}`.

    Raises:
        ValueError: an even kernel, an unknown descriptor, an input that is not of rank 4.

    Example:

    >>> y = SpatialAttention(kernel_size=7)(keras.Input((32, 32, 64)))

    Reference:

    - [CBAM](https://arxiv.org/abs/1807.06521), section 3; `SpatialGate` of the authors'
      [code](https://github.com/Jongchan/attention-module/blob/master/MODELS/cbam.py).
    """

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
            self.squeeze = self._conv(1, "he_normal", name="squeeze", dtype=self.dtype_policy)
            self.squeeze.build((None, None, None, self.channels))
        kernel = self.starting.conv_before(self.batch_norm)
        self.conv = self._conv(self.kernel_size, kernel, name="conv", dtype=self.gate_policy)
        self.conv.build((None, None, None, maps))
        self.norm = None
        if self.batch_norm:
            # momentum 0.01 in PyTorch's convention
            self.norm = layers.BatchNormalization(
                momentum=0.99,
                epsilon=1e-5,
                gamma_initializer=self.starting.gamma,
                name="norm",
                dtype=self.gate_policy,
            )
            self.norm.build((None, None, None, 1))

    def _conv(self, kernel_size, initializer, name, dtype):
        return SingleFilterConv2D(
            1,
            kernel_size,
            padding="same",
            use_bias=False,
            kernel_initializer=initializer,
            data_format="channels_last",  # of the maps made here, for any input
            name=name,
            dtype=dtype,
        )

    def attend(self, inputs, training=None):
        logits = self.conv(self._describe(inputs))
        if self.norm is not None:
            logits = self.norm(logits, training=training)
        gate = self.starting.gate(logits)
        if self.data_format == "channels_first":
            gate = ops.transpose(gate, (0, 3, 1, 2))
        return self.gated(inputs, gate), {"spatial": gate}

    def _describe(self, inputs):
        """The maps that the convolution sees, `(batch, height, width, maps)`."""
        if self.squeeze is not None:
            if self.data_format == "channels_first":
                inputs = ops.transpose(inputs, (0, 2, 3, 1))
            return self.squeeze(inputs)
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
        x: Keras tensor of rank 4.
        kernel_size: int, odd, of the convolution. Defaults to 7.
        name: string, the layer's name.
        **options: the further options of `SpatialAttention`.

    Returns:
        A Keras tensor of the shape of `x`.
    """
    return SpatialAttention(kernel_size, name=name, **options)(x)
