"""Simple coordinate attention: one gate from rows and columns, without normalization."""

from typing import Any

import keras
from keras import ops

from ...checks import require_int
from ..base import AttentionLayer, pool
from ..parts import dense, divisible, from_channels_last, to_channels_last
from ..registry import register_attention
from ..starts import start_named


@keras.saving.register_keras_serializable(package="attention_zoo")
class SimpleCoordinateAttention(AttentionLayer):
    """timm's simple form of coordinate attention.

    The averages along the rows and along the columns pass the same dense layer with SiLU, and each
    then a dense layer of its own. One sigmoid is taken of both:
    `x * sigmoid(height(silu(reduce(rows))) + width(silu(reduce(columns))))`.

    Args:
        ratio: int, reduction of the hidden layer: `channels * 2 / (3 * ratio)` units, rounded to a
            multiple of 8, at least 8. Defaults to 4, as in timm.
        start: how the gate starts. `"published"` (default): with random weights. `"half"`:
            at 0.5 everywhere. `"identity"`: at 1 everywhere, so that the layer returns its input
            until it learns; the gate is then `2 * sigmoid`, between 0 and 2.
        data_format: `"channels_last"` or `"channels_first"`; defaults to Keras's setting.

    Input: `(batch, height, width, channels)` of any floating dtype; `(batch, channels, height,
    width)` with `"channels_first"`.

    Returns:
        A tensor of the input's shape; called with `return_maps=True`, also
        `{"attention": (batch, height, width, channels)}`.

    Raises:
        ValueError: `ratio` below 1, an input that is not of rank 4.

    Example:

    >>> y = SimpleCoordinateAttention()(keras.Input((32, 32, 64)))

    Reference:

    - `SimpleCoordAttn` (`"scoord"`) of [timm](https://github.com/huggingface/pytorch-image-models/
      blob/main/timm/layers/coord_attn.py), after
      [Coordinate Attention](https://arxiv.org/abs/2103.02907).
    """

    def __init__(
        self,
        ratio: int = 4,
        start: str = "published",
        data_format: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(data_format=data_format, **kwargs)
        self.ratio = require_int("ratio", ratio)
        self.start = start
        self.starting = start_named(start)

    def build(self, input_shape):
        super().build(input_shape)
        hidden = divisible(self.channels * 2 / (3 * self.ratio), 8)
        self.reduce = dense(
            self, self.channels, hidden, "reduce", self.gate_policy, activation="silu"
        )
        self.height, self.width = (
            dense(
                self,
                hidden,
                self.channels,
                name,
                self.gate_policy,
                kernel_initializer=self.starting.dense,
            )
            for name in ("height", "width")
        )

    def attend(self, inputs, training=None):
        x = to_channels_last(inputs, self.data_format)
        rows, columns = (ops.cast(pool(x, "avg", axis), self.gate_dtype) for axis in (2, 1))
        logits = self.height(self.reduce(rows)) + self.width(self.reduce(columns))
        gate = from_channels_last(self.starting.gate(logits), self.data_format)
        return self.gated(inputs, gate), {"attention": gate}

    def get_config(self):
        return {**super().get_config(), "ratio": self.ratio, "start": self.start}


@register_attention("scoord_block", layer=SimpleCoordinateAttention)
def scoord_block(
    x: keras.KerasTensor, ratio: int = 4, name: str | None = None, **options: Any
) -> keras.KerasTensor:
    """Applies `SimpleCoordinateAttention` (timm's `scoord`) to a feature map.

    Args:
        x: Keras tensor of rank 4, `(batch, height, width, channels)`.
        ratio: int, reduction of the hidden layer. Defaults to 4, as in timm.
        name: string, the layer's name.
        **options: the further options of `SimpleCoordinateAttention`.

    Returns:
        A Keras tensor of the shape of `x`.

    Raises:
        ValueError: `ratio` below 1, an unknown option, an input that is not of rank 4.

    Example:

    >>> x = keras.layers.Conv2D(64, 3)(keras.Input((32, 32, 3)))
    >>> x = scoord_block(x)

    Reference:

    - `SimpleCoordAttn` of [timm](https://github.com/huggingface/pytorch-image-models)
    """
    return SimpleCoordinateAttention(ratio, name=name, **options)(x)
