"""Effective squeeze and excitation: one dense layer, and no channel is lost in a bottleneck."""

from typing import Any

import keras
from keras import ops

from ..base import AttentionLayer, pool
from ..parts import dense, per_channel
from ..registry import register_attention
from ..starts import start_named


@keras.saving.register_keras_serializable(package="attention_zoo")
class ESE(AttentionLayer):
    """Effective Squeeze-and-Excitation (eSE): channel attention from one dense layer.

    `x * hard_sigmoid(dense(mean(x)))` with as many units as there are channels, where
    `hard_sigmoid(v)` is `min(max(v + 3, 0), 6) / 6`.

    Args:
        start: how the gate starts. `"published"` (default): with random weights. `"half"`:
            at 0.5 everywhere. `"identity"`: at 1 everywhere, so that the layer returns its input
            until it learns; the gate is then `2 * hard_sigmoid`, between 0 and 2.
        data_format: `"channels_last"` or `"channels_first"`; defaults to Keras's setting.

    Input: `(batch, height, width, channels)` of any floating dtype; `(batch, channels, height,
    width)` with `"channels_first"`.

    Returns:
        A tensor of the input's shape; called with `return_maps=True`, also
        `{"channel": (batch, 1, 1, channels)}`.

    Raises:
        ValueError: an unknown option, an input that is not of rank 4.

    Example:

    >>> y = ESE()(keras.Input((32, 32, 64)))

    Reference:

    - [CenterMask: Real-Time Anchor-Free Instance Segmentation](https://arxiv.org/abs/1911.06667),
      section 3.3 (VoVNetV2); the authors'
      [code](https://github.com/youngwanLEE/vovnet-detectron2/blob/master/vovnet/vovnet.py), from
      which the hard sigmoid comes; the paper writes a sigmoid.
    """

    def __init__(
        self, data_format: str | None = None, start: str = "published", **kwargs: Any
    ) -> None:
        super().__init__(data_format=data_format, **kwargs)
        self.start = start
        self.starting = start_named(start)

    def build(self, input_shape):
        super().build(input_shape)
        self.excite = dense(
            self,
            self.channels,
            self.channels,
            "excite",
            self.gate_policy,
            kernel_initializer=self.starting.dense,
        )

    def attend(self, inputs, training=None):
        pooled = ops.reshape(pool(inputs, "avg", self.spatial_axes), (-1, self.channels))
        logits = self.excite(ops.cast(pooled, self.gate_dtype))
        gate = self.starting.gate(logits, ops.hard_sigmoid)
        gate = per_channel(gate, self.channels, self.data_format)
        return self.gated(inputs, gate), {"channel": gate}

    def get_config(self):
        return {**super().get_config(), "start": self.start}


@register_attention("ese_block", layer=ESE)
def ese_block(x: keras.KerasTensor, name: str | None = None, **options: Any) -> keras.KerasTensor:
    """Applies `ESE` (effective Squeeze-and-Excitation) to a feature map.

    Args:
        x: Keras tensor of rank 4, `(batch, height, width, channels)`.
        name: string, the layer's name.
        **options: the options of `ESE`.

    Returns:
        A Keras tensor of the shape of `x`.

    Raises:
        ValueError: an unknown option, an input that is not of rank 4.

    Example:

    >>> x = keras.layers.Conv2D(64, 3)(keras.Input((32, 32, 3)))
    >>> x = ese_block(x)

    Reference:

    - [CenterMask](https://arxiv.org/abs/1911.06667)
    """
    return ESE(name=name, **options)(x)
