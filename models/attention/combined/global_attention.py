"""GAM: a gate for every value from its position's channels, then one from its neighborhood."""

from typing import Any

import keras
from keras import ops

from ...checks import require_int
from ..base import AttentionLayer
from ..parts import batch_norm, conv2d, dense, from_channels_last, to_channels_last
from ..registry import register_attention
from ..starts import start_named


@keras.saving.register_keras_serializable(package="attention_zoo")
class GAM(AttentionLayer):
    """Global Attention Mechanism: channel, then spatial attention, without pooling.

    A two-layer MLP over the channels of each position gives the first gate, two large convolutions
    with batch normalization the second: `y = x * sigmoid(expand(relu(reduce(x))))`,
    `y * sigmoid(norm2(conv2(relu(norm1(conv1(y))))))`.

    Args:
        ratio: int, reduction of the MLP and of the convolutions: `max(1, channels // ratio)`
            channels between. Defaults to 4, as in the PyTorch code in use (there `rate`).
        kernel_size: int, odd, of the convolutions. Defaults to 7, as in the paper.
        start: how both gates start. `"published"` (default): with random weights. `"half"`:
            at 0.5 everywhere. `"identity"`: at 1 everywhere, so that the layer returns its input
            until it learns; the gates are then `2 * sigmoid`, between 0 and 2.
        data_format: `"channels_last"` or `"channels_first"`; defaults to Keras's setting.

    Input: `(batch, height, width, channels)` of any floating dtype; `(batch, channels, height,
    width)` with `"channels_first"`.

    Returns:
        A tensor of the input's shape; called with `return_maps=True`, also `{"channel": (batch,
        height, width, channels), "spatial": (batch, height, width, channels)}`.

    Raises:
        ValueError: `ratio` below 1, an even kernel, an input that is not of rank 4.

    Example:

    >>> y = GAM()(keras.Input((32, 32, 64)))

    Reference:

    - [Global Attention Mechanism](https://arxiv.org/abs/2112.05561), section 3. No code of the
      authors is known. The first gate has a sigmoid, as in the paper's Figure 2, which the PyTorch
      code in use leaves out. The paper's variant with grouped convolutions is not here.
    """

    def __init__(
        self,
        ratio: int = 4,
        kernel_size: int = 7,
        data_format: str | None = None,
        start: str = "published",
        **kwargs: Any,
    ) -> None:
        super().__init__(data_format=data_format, **kwargs)
        self.ratio = require_int("ratio", ratio)
        self.kernel_size = require_int("kernel_size", kernel_size, odd=True)
        self.start = start
        self.starting = start_named(start)

    def build(self, input_shape):
        super().build(input_shape)
        channels, hidden = self.channels, max(1, self.channels // self.ratio)
        self.reduce = dense(self, channels, hidden, "reduce", self.dtype_policy)
        self.expand = dense(
            self,
            hidden,
            channels,
            "expand",
            self.dtype_policy,
            kernel_initializer=self.starting.dense,
        )
        self.convs = [
            conv2d(self, channels, hidden, self.kernel_size, "conv1", self.dtype_policy),
            conv2d(self, hidden, channels, self.kernel_size, "conv2", self.dtype_policy),
        ]
        self.norms = [
            batch_norm(self, conv.filters, f"norm{number}", self.dtype_policy, gamma)
            for number, (conv, gamma) in enumerate(
                zip(self.convs, ("ones", self.starting.gamma), strict=True), 1
            )
        ]

    def attend(self, inputs, training=None):
        x = to_channels_last(inputs, self.data_format)
        channel = self.starting.gate(self.expand(ops.relu(self.reduce(x))))
        spatial = x * channel
        for conv, norm, activation in zip(
            self.convs, self.norms, (ops.relu, self.starting.gate), strict=True
        ):
            spatial = activation(norm(conv(spatial), training=training))
        maps = {
            "channel": from_channels_last(channel, self.data_format),
            "spatial": from_channels_last(spatial, self.data_format),
        }
        return self.gated(inputs, maps["channel"], maps["spatial"]), maps

    def get_config(self):
        return {
            **super().get_config(),
            "ratio": self.ratio,
            "kernel_size": self.kernel_size,
            "start": self.start,
        }


@register_attention("gam_block", layer=GAM)
def gam_block(
    x: keras.KerasTensor,
    ratio: int = 4,
    kernel_size: int = 7,
    name: str | None = None,
    **options: Any,
) -> keras.KerasTensor:
    """Applies `GAM` (Global Attention Mechanism) to a feature map.

    Args:
        x: Keras tensor of rank 4, `(batch, height, width, channels)`.
        ratio: int, reduction of the channels between. Defaults to 4.
        kernel_size: int, odd, of the convolutions. Defaults to 7, as in the paper.
        name: string, the layer's name.
        **options: the further options of `GAM`.

    Returns:
        A Keras tensor of the shape of `x`.

    Raises:
        ValueError: `ratio` below 1, an even kernel, an unknown option, an input that is not of
            rank 4.

    Example:

    >>> x = keras.layers.Conv2D(64, 3)(keras.Input((32, 32, 3)))
    >>> x = gam_block(x)

    Reference:

    - [Global Attention Mechanism](https://arxiv.org/abs/2112.05561)
    """
    return GAM(ratio, kernel_size, name=name, **options)(x)
