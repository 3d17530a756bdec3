"""Polarized self-attention: one axis is collapsed, the other kept at a high resolution."""

from typing import Any

import keras
from keras import ops

from ...checks import require_one_of
from ..base import AttentionLayer, pool
from ..parts import (
    at_least_float32,
    conv2d,
    flatten_positions,
    from_channels_last,
    layer_norm,
    softmax,
    to_channels_last,
)
from ..registry import register_attention
from ..starts import start_named


@keras.saving.register_keras_serializable(package="attention_zoo")
class PolarizedAttention(AttentionLayer):
    """Polarized Self-Attention (PSA): a gate for each channel and one for each position.

    - The channels' gate: a softmax over the positions, from a 1x1 convolution to one channel,
      weighs half as many channels to one vector; `sigmoid(norm(expand(vector)))`, with a layer
      normalization.
    - The positions' gate: half as many channels, averaged and passed through a softmax over the
      channels, weigh the channels of another 1x1 convolution: `sigmoid(sum(weights * value(x)))`.

    In parallel, `x * channel_gate(x) + x * spatial_gate(x)`; in sequence,
    `y = x * channel_gate(x)`, then `y * spatial_gate(y)`.

    Args:
        order: `"parallel"` (default) or `"sequential"`, the paper's two layouts.
        start: how both gates start. `"published"` (default): with random weights. `"half"`:
            at 0.5 everywhere. `"identity"`: at 1 everywhere, so that the layer returns its input
            until it learns; the gates are then `2 * sigmoid`, between 0 and 2. In parallel they
            start at 0.5, and their sum at 1.
        data_format: `"channels_last"` or `"channels_first"`; defaults to Keras's setting.

    Input: `(batch, height, width, channels)` of any floating dtype; `(batch, channels, height,
    width)` with `"channels_first"`.

    Returns:
        A tensor of the input's shape; called with `return_maps=True`, also
        `{"channel": (batch, 1, 1, channels), "spatial": (batch, height, width, 1)}`.

    Raises:
        ValueError: an unknown order, an input that is not of rank 4.

    Example:

    >>> y = PolarizedAttention()(keras.Input((32, 32, 64)))
    >>> y = PolarizedAttention("sequential")(keras.Input((32, 32, 64)))

    Reference:

    - [Polarized Self-Attention](https://arxiv.org/abs/2107.00782), equations 1 to 5 and Figure 2.
      The authors' [code](https://github.com/DeLightCMU/PSA) differs from the paper in the
      positions' gate, whose softmax is over the positions, in parallel after the sum, in sequence
      before it: all gates are then near 0.5 on a large map. Here it is as in the paper; so is
      `expand`, which in the code is without normalization in one layout and of two layers in the
      other. There are no biases, as in the code but for `expand` in sequence.
    """

    def __init__(
        self,
        order: str = "parallel",
        data_format: str | None = None,
        start: str = "published",
        **kwargs: Any,
    ) -> None:
        super().__init__(data_format=data_format, **kwargs)
        self.order = require_one_of("order", order, ("parallel", "sequential"))
        self.start = start
        self.starting = start_named("half" if (order, start) == ("parallel", "identity") else start)

    def build(self, input_shape):
        super().build(input_shape)
        half = max(1, self.channels // 2)

        def conv(inputs, filters, name, dtype=self.dtype_policy, **options):
            return conv2d(self, inputs, filters, 1, name, dtype, use_bias=False, **options)

        self.channel_query = conv(self.channels, 1, "channel_query")
        self.channel_value = conv(self.channels, half, "channel_value")
        self.expand = conv(half, self.channels, "expand", self.gate_policy)
        self.norm = layer_norm(self, self.channels, "norm", self.gate_policy, self.starting.gamma)
        self.spatial_query = conv(self.channels, half, "spatial_query")
        initial = {"kernel_initializer": self.starting.conv}
        self.spatial_value = conv(self.channels, half, "spatial_value", **initial)

    def attend(self, inputs, training=None):
        channel = self._channel_gate(to_channels_last(inputs, self.data_format))
        channel = from_channels_last(channel, self.data_format)
        attended = self.gated(inputs, channel)
        seen = attended if self.order == "sequential" else inputs
        spatial = self._spatial_gate(to_channels_last(seen, self.data_format))
        spatial = from_channels_last(spatial, self.data_format)
        outputs = self.gated(seen, spatial)
        if self.order == "parallel":
            outputs = attended + outputs
        return outputs, {"channel": channel, "spatial": spatial}

    def _channel_gate(self, x):
        weights = softmax(at_least_float32(flatten_positions(self.channel_query(x))), 1)
        values = at_least_float32(flatten_positions(self.channel_value(x)))
        vector = ops.sum(weights * values, axis=1)[:, None, None, :]
        return self.starting.gate(self.norm(self.expand(ops.cast(vector, self.gate_dtype))))

    def _spatial_gate(self, x):
        query = pool(self.spatial_query(x), "avg", (1, 2))
        value = at_least_float32(self.spatial_value(x))
        logits = ops.sum(softmax(query, -1) * value, axis=-1, keepdims=True)
        return ops.cast(self.starting.gate(logits), self.gate_dtype)

    def products(self, input_shape):
        positions = self.positions(input_shape)
        return [
            (1, positions, self.channel_value.filters),
            (positions, self.spatial_value.filters, 1),
        ]

    def get_config(self):
        return {**super().get_config(), "order": self.order, "start": self.start}


@register_attention("polarized_block", layer=PolarizedAttention)
def polarized_block(
    x: keras.KerasTensor, order: str = "parallel", name: str | None = None, **options: Any
) -> keras.KerasTensor:
    """Applies `PolarizedAttention` (PSA) to a feature map.

    Args:
        x: Keras tensor of rank 4, `(batch, height, width, channels)`.
        order: `"parallel"` (default) or `"sequential"`.
        name: string, the layer's name.
        **options: the further options of `PolarizedAttention`.

    Returns:
        A Keras tensor of the shape of `x`.

    Raises:
        ValueError: an unknown order, an unknown option, an input that is not of rank 4.

    Example:

    >>> x = keras.layers.Conv2D(64, 3)(keras.Input((32, 32, 3)))
    >>> x = polarized_block(x, order="sequential")

    Reference:

    - [Polarized Self-Attention](https://arxiv.org/abs/2107.00782)
    """
    return PolarizedAttention(order, name=name, **options)(x)
