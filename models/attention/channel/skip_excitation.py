"""ParNet's block: channel attention in the shortcut of two convolutions."""

from typing import Any

import keras
from keras import ops

from ..base import AttentionLayer, pool
from ..parts import batch_norm, conv2d, from_channels_last, to_channels_last
from ..registry import register_attention


@keras.saving.register_keras_serializable(package="attention_zoo")
class ParNetAttention(AttentionLayer):
    """The RepVGG-SSE block of ParNet: convolutions beside Skip-Squeeze-Excitation.

    `silu(norm(conv3x3(x)) + norm(conv1x1(x)) + n * sigmoid(excite(mean(n))))`, where `n` is the
    normalized map and `excite` one 1x1 convolution.

    Unlike a gate, it replaces the map, and costs as much as its convolutions.

    Args:
        data_format: `"channels_last"` or `"channels_first"`; defaults to Keras's setting.

    Input: `(batch, height, width, channels)` of any floating dtype; `(batch, channels, height,
    width)` with `"channels_first"`.

    Returns:
        A tensor of the input's shape; called with `return_maps=True`, also
        `{"channel": (batch, 1, 1, channels)}`, the gate in the shortcut.

    Raises:
        ValueError: an unknown option, an input that is not of rank 4.

    Example:

    >>> y = ParNetAttention()(keras.Input((32, 32, 64)))

    Reference:

    - [Non-deep Networks](https://arxiv.org/abs/2110.07641), section 3.1; the authors'
      [code](https://github.com/imankgoyal/NonDeepNetworks). The shortcut is normalized before it is
      gated, as there; PyTorch implementations in use leave the normalization out. `excite` has a
      bias, as theirs have; the authors' has none.
    """

    def build(self, input_shape):
        super().build(input_shape)
        self.convs = [
            conv2d(
                self, self.channels, self.channels, size, name, self.dtype_policy, use_bias=False
            )
            for size, name in ((3, "conv3"), (1, "conv1"))
        ]
        self.norms = [
            batch_norm(self, self.channels, name, self.dtype_policy)
            for name in ("conv3_norm", "conv1_norm")
        ]
        self.norm = batch_norm(self, self.channels, "norm", self.dtype_policy)
        self.excite = conv2d(self, self.channels, self.channels, 1, "excite", self.gate_policy)

    def attend(self, inputs, training=None):
        x = to_channels_last(inputs, self.data_format)
        branches = [
            norm(conv(x), training=training)
            for conv, norm in zip(self.convs, self.norms, strict=True)
        ]
        shortcut = self.norm(x, training=training)
        pooled = ops.cast(pool(shortcut, "avg", (1, 2)), self.gate_dtype)
        gate = ops.sigmoid(self.excite(pooled))
        outputs = ops.silu(sum(branches) + self.gated(shortcut, gate))
        maps = {"channel": from_channels_last(gate, self.data_format)}
        return from_channels_last(outputs, self.data_format), maps


@register_attention("parnet_block", layer=ParNetAttention)
def parnet_block(
    x: keras.KerasTensor, name: str | None = None, **options: Any
) -> keras.KerasTensor:
    """Applies `ParNetAttention` to a feature map.

    Args:
        x: Keras tensor of rank 4, `(batch, height, width, channels)`.
        name: string, the layer's name.
        **options: the options of `ParNetAttention`.

    Returns:
        A Keras tensor of the shape of `x`.

    Raises:
        ValueError: an unknown option, an input that is not of rank 4.

    Example:

    >>> x = keras.layers.Conv2D(64, 3)(keras.Input((32, 32, 3)))
    >>> x = parnet_block(x)

    Reference:

    - [Non-deep Networks](https://arxiv.org/abs/2110.07641)
    """
    return ParNetAttention(name=name, **options)(x)
