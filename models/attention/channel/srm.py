"""Style recalibration: a gate for every channel, from its own mean and deviation."""

from typing import Any

import keras
from keras import ops

from ..base import AttentionLayer, pool
from ..parts import batch_norm, depthwise_conv2d, deviation, from_channels_last, to_channels_last
from ..registry import register_attention
from ..starts import start_named


@keras.saving.register_keras_serializable(package="attention_zoo")
class SRM(AttentionLayer):
    """Style-based Recalibration Module: each channel is gated by its style.

    Style pooling takes the mean and the standard deviation of each channel, a channel-wise fully
    connected layer (two weights per channel) mixes them, and batch normalization and sigmoid make
    a gate: `x * sigmoid(norm(w1 * mean(x) + w2 * std(x)))`.

    Args:
        start: how the gate starts. `"published"` (default) and `"half"`: at 0.5 everywhere, as in
            the authors' code. `"identity"`: at 1 everywhere, so that the layer returns its input
            until it learns; the gate is then `2 * sigmoid`, between 0 and 2.
        data_format: `"channels_last"` or `"channels_first"`; defaults to Keras's setting.

    Input: `(batch, height, width, channels)` of any floating dtype; `(batch, channels, height,
    width)` with `"channels_first"`.

    Returns:
        A tensor of the input's shape; called with `return_maps=True`, also
        `{"channel": (batch, 1, 1, channels)}`.

    Raises:
        ValueError: an unknown option, an input that is not of rank 4.

    Example:

    >>> y = SRM()(keras.Input((32, 32, 64)))

    Reference:

    - [SRM: A Style-based Recalibration Module](https://arxiv.org/abs/1903.10829), section 3; the
      authors' [code](https://github.com/hyunjaelee410/style-based-recalibration-module), from which
      come the unbiased deviation and the channel-wise layer that starts at zero: at first every
      gate is 0.5, and only from the second step on do the normalization's scales learn. The
      authors' code adds 1e-5 to the variance before the root. Nothing is added here: the deviation
      is at least Keras's epsilon, 1e-7, also that of a map of one position, which is no number in
      the authors' code.
    """

    def __init__(
        self, start: str = "published", data_format: str | None = None, **kwargs: Any
    ) -> None:
        super().__init__(data_format=data_format, **kwargs)
        self.start = start
        self.starting = start_named(start)

    def build(self, input_shape):
        super().build(input_shape)
        # a channel-wise dense layer, as a convolution of two "positions", mean and deviation
        self.integrate = depthwise_conv2d(
            self,
            self.channels,
            (2, 1),
            "integrate",
            self.gate_policy,
            padding="valid",
            use_bias=False,
            depthwise_initializer="zeros",
        )
        self.norm = batch_norm(self, self.channels, "norm", self.gate_policy)

    def attend(self, inputs, training=None):
        style = ops.cast(self._style(inputs), self.gate_dtype)
        gate = self.starting.gate(self.norm(self.integrate(style), training=training))
        gate = from_channels_last(gate, self.data_format)
        return self.gated(inputs, gate), {"channel": gate}

    def _style(self, inputs):
        """Mean and deviation of each channel, `(batch, 2, 1, channels)`."""
        mean = pool(inputs, "avg", self.spatial_axes)
        spread = deviation(ops.cast(inputs, mean.dtype), self.spatial_axes)
        style = [to_channels_last(part, self.data_format) for part in (mean, spread)]
        return ops.concatenate(style, axis=1)

    def get_config(self):
        return {**super().get_config(), "start": self.start}


@register_attention("srm_block", layer=SRM)
def srm_block(x: keras.KerasTensor, name: str | None = None, **options: Any) -> keras.KerasTensor:
    """Applies `SRM` (Style-based Recalibration Module) to a feature map.

    Args:
        x: Keras tensor of rank 4, `(batch, height, width, channels)`.
        name: string, the layer's name.
        **options: the options of `SRM`.

    Returns:
        A Keras tensor of the shape of `x`.

    Raises:
        ValueError: an unknown option, an input that is not of rank 4.

    Example:

    >>> x = keras.layers.Conv2D(64, 3)(keras.Input((32, 32, 3)))
    >>> x = srm_block(x)

    Reference:

    - [SRM: A Style-based Recalibration Module](https://arxiv.org/abs/1903.10829)
    """
    return SRM(name=name, **options)(x)
