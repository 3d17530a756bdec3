"""CBAM: channel attention, then spatial attention."""

from collections.abc import Sequence
from typing import Any

import keras

from ...checks import require_one_of
from ..base import AttentionLayer
from ..channel.squeeze_excitation import ChannelAttention
from ..registry import register_attention
from ..spatial.spatial import SpatialAttention

# The options that make `CBAM` the module of the authors' PyTorch code.
CBAM_OFFICIAL = {
    "ratio": 16,
    "descriptor": ("max", "avg"),
    "batch_norm": True,
    "start": "authors",
}


@keras.saving.register_keras_serializable(package="attention_zoo")
class CBAM(AttentionLayer):
    """Convolutional Block Attention Module: what matters, then where.

    `SpatialAttention(ChannelAttention(x))`, each a gate in (0, 1) that multiplies the map.

    Args:
        ratio: int, reduction of the channel MLP's hidden layer: `max(1, channels // ratio)` units.
            Defaults to 8; the paper's is 16.
        kernel_size: int, odd, of the spatial convolution. Defaults to 7.
        pools: tuple of `"avg"`, `"max"`, `"lp"`, `"lse"`, how the channel half pools the map.
            Defaults to `("avg", "max")`.
        descriptor: what the spatial convolution sees: a tuple of pools over the channels, in the
            order of its input channels, or `"conv"`, a learned 1x1 convolution. Defaults to
            `("avg", "max")`.
        batch_norm: bool, batch normalization in the spatial gate. Defaults to `False`, but is worth
            having in a network without shortcuts: a large step can close the gate everywhere.
        use_bias: bool, biases in the channel MLP. Defaults to `True`.
        start: how both gates start. `"published"` (default): with random weights, as in the Keras
            reproduction. `"half"`: at 0.5 everywhere. `"identity"`: at 1 everywhere, so that the
            layer returns its input until it learns; the gates are then `2 * sigmoid`, between 0 and
            2. `"authors"`: with the authors' random weights, and at 0.5 for all positions where
            `batch_norm` is given.
        order: `"channel_first"` (default), `"spatial_first"`, or `"parallel"`, where both gates
            see the input and both multiply it (the paper's Table 3).
        activation: of the hidden layer of the channel gate. Defaults to `"relu"`, as published.
        data_format: `"channels_last"` or `"channels_first"`; defaults to Keras's setting.

    Input: `(batch, height, width, channels)`, `(batch, steps, channels)` or `(batch, depth, height,
    width, channels)` of any floating dtype; channels first with `"channels_first"`.

    Returns:
        A tensor of the input's shape; called with `return_maps=True`, also
        `{"channel": (batch, 1, 1, channels), "spatial": (batch, height, width, 1)}`.

    Raises:
        ValueError: `ratio` below 1, an even kernel, an unknown pool, descriptor or order, an input
            that is not of rank 3, 4 or 5.

    Example:

    >>> x = keras.Input((32, 32, 64))
    >>> y = CBAM(ratio=16)(x)
    >>> y, maps = CBAM(ratio=16)(x, return_maps=True)
    >>> y = CBAM(**CBAM_OFFICIAL)(x)  # the authors' PyTorch module

    Reference:

    - [CBAM: Convolutional Block Attention Module](https://arxiv.org/abs/1807.06521); the authors'
      [code](https://github.com/Jongchan/attention-module/blob/master/MODELS/cbam.py), whose
      options `CBAM_OFFICIAL` holds. The defaults here are those of the Keras
      [reproduction](https://github.com/kobiso/CBAM-keras).
    """

    ranks = (3, 4, 5)

    def __init__(
        self,
        ratio: int = 8,
        kernel_size: int = 7,
        pools: str | Sequence[str] = ("avg", "max"),
        descriptor: str | Sequence[str] = ("avg", "max"),
        batch_norm: bool = False,
        use_bias: bool = True,
        order: str = "channel_first",
        start: str = "published",
        activation: Any = "relu",
        data_format: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(data_format=data_format, **kwargs)
        self.order = require_one_of("order", order, ("channel_first", "spatial_first", "parallel"))
        self.channel = ChannelAttention(
            ratio, pools, use_bias, start, activation, name="channel", **self.options_of_parts
        )
        self.spatial = SpatialAttention(
            kernel_size, descriptor, batch_norm, start, name="spatial", **self.options_of_parts
        )

    def build(self, input_shape):
        super().build(input_shape)
        self.channel.build(input_shape)
        self.spatial.build(input_shape)

    def attend(self, inputs, training=None):
        first, second = self.channel, self.spatial
        if self.order == "spatial_first":
            first, second = second, first
        outputs, maps = first(inputs, training=training, return_maps=True)
        seen = inputs if self.order == "parallel" else outputs
        gated, more = second(seen, training=training, return_maps=True)
        if self.order == "parallel":
            gated = self.gated(outputs, more["spatial"])
        return gated, {**maps, **more}

    def get_config(self):
        return {
            **super().get_config(),
            "ratio": self.channel.ratio,
            "kernel_size": self.spatial.kernel_size,
            "pools": self.channel.pools,
            "descriptor": self.spatial.descriptor,
            "batch_norm": self.spatial.batch_norm,
            "use_bias": self.channel.use_bias,
            "order": self.order,
            "start": self.channel.start,
            "activation": keras.activations.serialize(self.channel.activation),
        }


@register_attention("cbam_block", layer=CBAM)
def cbam_block(
    x: keras.KerasTensor,
    ratio: int = 8,
    kernel_size: int = 7,
    name: str | None = None,
    **options: Any,
) -> keras.KerasTensor:
    """Applies `CBAM` to a feature map.

    Args:
        x: Keras tensor, a feature map `(batch, height, width, channels)`, a sequence or a volume.
        ratio: int, reduction of the channel MLP's hidden layer. Defaults to 8; the paper's is 16.
        kernel_size: int, odd, of the spatial convolution. Defaults to 7.
        name: string, the layer's name.
        **options: the further options of `CBAM`, such as `order="parallel"`.

    Returns:
        A Keras tensor of the shape of `x`.

    Raises:
        ValueError: `ratio` below 1, an even kernel, an unknown option, an input that is not of rank
            3, 4 or 5.

    Example:

    >>> x = keras.layers.Conv2D(64, 3)(keras.Input((32, 32, 3)))
    >>> x = cbam_block(x, ratio=16)

    Reference:

    - [CBAM: Convolutional Block Attention Module](https://arxiv.org/abs/1807.06521)
    """
    return CBAM(ratio, kernel_size, name=name, **options)(x)
