"""CPCA: channel attention, then a gate for every value from strips of several lengths."""

from typing import Any

import keras

from ...checks import require_int
from ..base import AttentionLayer
from ..channel.squeeze_excitation import ChannelAttention
from ..parts import conv2d, depthwise_conv2d, from_channels_last, to_channels_last
from ..registry import register_attention

STRIPS = (7, 11, 21)  # lengths of the kernels along row and column


@keras.saving.register_keras_serializable(package="attention_zoo")
class CPCA(AttentionLayer):
    """Channel Prior Convolutional Attention: a spatial map of its own for every channel.

    After the channel attention of CBAM, `y = channel(x)`, depthwise convolutions see several
    neighborhoods of each channel: 5x5, and from there strips of 7, 11 and 21 along the row and then
    the column. A 1x1 convolution mixes their sum to the spatial map:
    `y * mix(local(y) + sum(column(row(local(y)))))`, without a sigmoid.

    Args:
        ratio: int, reduction of the hidden layer of the channel attention:
            `max(1, channels // ratio)` units. Defaults to 4, as in the authors' code.
        data_format: `"channels_last"` or `"channels_first"`; defaults to Keras's setting.

    Input: `(batch, height, width, channels)` of any floating dtype; `(batch, channels, height,
    width)` with `"channels_first"`.

    Returns:
        A tensor of the input's shape; called with `return_maps=True`, also `{"channel": (batch, 1,
        1, channels), "spatial": (batch, height, width, channels)}`, the latter of any sign.

    Raises:
        ValueError: `ratio` below 1, an input that is not of rank 4.

    Example:

    >>> y = CPCA()(keras.Input((32, 32, 64)))

    Reference:

    - [Channel Prior Convolutional Attention](https://arxiv.org/abs/2306.05196), section 3, whose
      equations this follows. The authors' [code](https://github.com/Cuthbert-Huang/CPCANet) is a
      whole block: its 1x1 convolution comes also before, with GELU, and after the attention, with
      the same weights, and it adds the sigmoids of the two pools where the paper has the sigmoid
      of their sum.
    """

    def __init__(self, ratio: int = 4, data_format: str | None = None, **kwargs: Any) -> None:
        super().__init__(data_format=data_format, **kwargs)
        self.channel = ChannelAttention(
            require_int("ratio", ratio), name="channel", **self.options_of_parts
        )

    def build(self, input_shape):
        super().build(input_shape)
        self.channel.build(input_shape)

        def depthwise(kernel_size, name):
            return depthwise_conv2d(self, self.channels, kernel_size, name, self.dtype_policy)

        self.local = depthwise(5, "local")
        self.rows = [depthwise((1, length), f"row{length}") for length in STRIPS]
        self.columns = [depthwise((length, 1), f"column{length}") for length in STRIPS]
        self.mix = conv2d(self, self.channels, self.channels, 1, "mix", self.dtype_policy)

    def attend(self, inputs, training=None):
        attended, maps = self.channel(inputs, return_maps=True)
        local = self.local(to_channels_last(attended, self.data_format))
        pairs = zip(self.rows, self.columns, strict=True)
        spatial = self.mix(local + sum(column(row(local)) for row, column in pairs))
        spatial = from_channels_last(spatial, self.data_format)
        return self.gated(attended, spatial), {**maps, "spatial": spatial}

    def get_config(self):
        return {**super().get_config(), "ratio": self.channel.ratio}


@register_attention("cpca_block", layer=CPCA)
def cpca_block(
    x: keras.KerasTensor, ratio: int = 4, name: str | None = None, **options: Any
) -> keras.KerasTensor:
    """Applies `CPCA` (Channel Prior Convolutional Attention) to a feature map.

    Args:
        x: Keras tensor of rank 4, `(batch, height, width, channels)`.
        ratio: int, reduction of the hidden layer of the channel attention. Defaults to 4.
        name: string, the layer's name.
        **options: the further options of `CPCA`.

    Returns:
        A Keras tensor of the shape of `x`.

    Raises:
        ValueError: `ratio` below 1, an unknown option, an input that is not of rank 4.

    Example:

    >>> x = keras.layers.Conv2D(64, 3)(keras.Input((32, 32, 3)))
    >>> x = cpca_block(x)

    Reference:

    - [Channel Prior Convolutional Attention](https://arxiv.org/abs/2306.05196)
    """
    return CPCA(ratio, name=name, **options)(x)
