"""Light CBAM: CBAM whose pools are averaged before they are looked at."""

from typing import Any

import keras
from keras import ops

from ...checks import require_int
from ..base import AttentionLayer, pool
from ..parts import (
    batch_norm,
    bottleneck,
    divisible,
    from_channels_last,
    gate_conv,
    to_channels_last,
)
from ..registry import register_attention
from ..starts import start_named


@keras.saving.register_keras_serializable(package="attention_zoo")
class LightCBAM(AttentionLayer):
    """timm's light form of CBAM: one pass through the MLP, and one map for the convolution.

    With `mid`, half the average plus half the maximum, `y = x * sigmoid(expand(relu(reduce(
    mid(x, positions)))))`, then `y * sigmoid(norm(conv(mid(y, channels))))`. No part but the batch
    normalization has biases.

    Args:
        ratio: int, reduction of the hidden layer: `channels / ratio` units, rounded, at least 1.
            Defaults to 16, as in timm.
        kernel_size: int, odd, of the convolution. Defaults to 7, as in timm.
        start: how the gates start. `"published"` (default): with random weights. `"half"`:
            at 0.5 everywhere. `"identity"`: at 1 everywhere, so that the layer returns its input
            until it learns; a gate is then `2 * sigmoid`, between 0 and 2.
        data_format: `"channels_last"` or `"channels_first"`; defaults to Keras's setting.

    Input: `(batch, height, width, channels)` of any floating dtype; `(batch, channels, height,
    width)` with `"channels_first"`.

    Returns:
        A tensor of the input's shape; called with `return_maps=True`, also
        `{"channel": (batch, 1, 1, channels), "spatial": (batch, height, width, 1)}`.

    Raises:
        ValueError: `ratio` below 1, an even kernel, an input that is not of rank 4.

    Example:

    >>> y = LightCBAM()(keras.Input((32, 32, 64)))

    Reference:

    - `LightCbamModule` (`"lcbam"`) of [timm](https://github.com/huggingface/pytorch-image-models/
      blob/main/timm/layers/cbam.py), after [CBAM](https://arxiv.org/abs/1807.06521).
    """

    def __init__(
        self,
        ratio: int = 16,
        kernel_size: int = 7,
        start: str = "published",
        data_format: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(data_format=data_format, **kwargs)
        self.ratio = require_int("ratio", ratio)
        self.kernel_size = require_int("kernel_size", kernel_size, odd=True)
        self.start = start
        self.starting = start_named(start)

    def build(self, input_shape):
        super().build(input_shape)
        hidden = divisible(self.channels / self.ratio, 1)
        self.reduce, self.expand = bottleneck(
            self, self.channels, hidden, self.gate_policy, use_bias=False, start=self.starting
        )
        self.conv = gate_conv(self, 1, self.kernel_size, "conv", self.gate_policy)
        self.norm = batch_norm(self, 1, "norm", self.gate_policy, self.starting.gamma)

    def attend(self, inputs, training=None):
        logits = self.expand(self.reduce(self._mid(inputs, self.spatial_axes)))
        channel = self.starting.gate(logits)
        channel = from_channels_last(channel, self.data_format)
        attended = self.gated(inputs, channel)
        logits = self.norm(self.conv(self._mid(attended, self.channel_axis)), training=training)
        spatial = from_channels_last(self.starting.gate(logits), self.data_format)
        return self.gated(attended, spatial), {"channel": channel, "spatial": spatial}

    def _mid(self, x, axes):
        """Halfway between average and maximum over the axes, channels last."""
        values = (pool(x, "avg", axes) + pool(x, "max", axes)) / 2
        return ops.cast(to_channels_last(values, self.data_format), self.gate_dtype)

    def get_config(self):
        return {
            **super().get_config(),
            "ratio": self.ratio,
            "kernel_size": self.kernel_size,
            "start": self.start,
        }


@register_attention("lcbam_block", layer=LightCBAM)
def lcbam_block(
    x: keras.KerasTensor,
    ratio: int = 16,
    kernel_size: int = 7,
    name: str | None = None,
    **options: Any,
) -> keras.KerasTensor:
    """Applies `LightCBAM` (timm's `lcbam`) to a feature map.

    Args:
        x: Keras tensor of rank 4, `(batch, height, width, channels)`.
        ratio: int, reduction of the hidden layer. Defaults to 16, as in timm.
        kernel_size: int, odd, of the convolution. Defaults to 7, as in timm.
        name: string, the layer's name.
        **options: the further options of `LightCBAM`.

    Returns:
        A Keras tensor of the shape of `x`.

    Raises:
        ValueError: `ratio` below 1, an even kernel, an unknown option, an input that is not of
            rank 4.

    Example:

    >>> x = keras.layers.Conv2D(64, 3)(keras.Input((32, 32, 3)))
    >>> x = lcbam_block(x)

    Reference:

    - `LightCbamModule` of [timm](https://github.com/huggingface/pytorch-image-models)
    """
    return LightCBAM(ratio, kernel_size, name=name, **options)(x)
