"""NAM: attention from the scales of a batch normalization."""

from typing import Any

import keras
from keras import ops

from ..base import AttentionLayer
from ..parts import batch_norm, from_channels_last, to_channels_last
from ..registry import register_attention


@keras.saving.register_keras_serializable(package="attention_zoo")
class NAM(AttentionLayer):
    """Normalization-based Attention Module: channels count by the scale of their normalization.

    The map passes a batch normalization, and each channel is weighed by its scale's share of all
    scales: `x * sigmoid(abs(gamma) / sum(abs(gamma)) * norm(x))`. The shares are taken as
    constants: no gradient reaches the scales through them.

    Args:
        data_format: `"channels_last"` or `"channels_first"`; defaults to Keras's setting.

    Input: `(batch, height, width, channels)` of any floating dtype; `(batch, channels, height,
    width)` with `"channels_first"`.

    Returns:
        A tensor of the input's shape; called with `return_maps=True`, also
        `{"attention": (batch, height, width, channels)}`.

    Raises:
        ValueError: an unknown option, an input that is not of rank 4.

    Example:

    >>> y = NAM()(keras.Input((32, 32, 64)))

    Reference:

    - [NAM: Normalization-based Attention Module](https://arxiv.org/abs/2111.12419); the authors'
      [code](https://github.com/Christian-lyc/NAM), which has the channels' half alone, as here,
      and in which the shares are constants. The paper trains with a penalty on the scales' absolute
      values, which is the loss's affair: `keras.regularizers.L1` on `layer.norm.gamma`.
    """

    has_kernels = False

    def build(self, input_shape):
        super().build(input_shape)
        self.norm = batch_norm(self, self.channels, "norm", self.dtype_policy)

    def attend(self, inputs, training=None):
        normalized = self.norm(to_channels_last(inputs, self.data_format), training=training)
        scales = ops.abs(ops.stop_gradient(ops.convert_to_tensor(self.norm.gamma)))
        shares = ops.cast(scales / ops.sum(scales), self.compute_dtype)
        gate = from_channels_last(ops.sigmoid(normalized * shares), self.data_format)
        return self.gated(inputs, gate), {"attention": gate}


@register_attention("nam_block", layer=NAM)
def nam_block(x: keras.KerasTensor, name: str | None = None, **options: Any) -> keras.KerasTensor:
    """Applies `NAM` (Normalization-based Attention Module) to a feature map.

    Args:
        x: Keras tensor of rank 4, `(batch, height, width, channels)`.
        name: string, the layer's name.
        **options: the options of `NAM`.

    Returns:
        A Keras tensor of the shape of `x`.

    Raises:
        ValueError: an unknown option, an input that is not of rank 4.

    Example:

    >>> x = keras.layers.Conv2D(64, 3)(keras.Input((32, 32, 3)))
    >>> x = nam_block(x)

    Reference:

    - [NAM: Normalization-based Attention Module](https://arxiv.org/abs/2111.12419)
    """
    return NAM(name=name, **options)(x)
