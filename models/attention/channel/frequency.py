"""FcaNet: channel attention from frequencies, of which the average is the lowest."""

import math
from typing import Any

import keras
from keras import ops

from ...checks import require_int
from ..base import AttentionLayer
from ..parts import (
    at_least_float32,
    averaging,
    bottleneck,
    from_channels_last,
    largest_divisor,
    to_channels_last,
)
from ..registry import register_attention
from ..starts import start_named

# frequencies along height and width on a grid of 7x7, the authors' by the accuracy that each alone
# had on ImageNet, from the best on
BEST = (
    *((0, 0), (0, 1), (6, 0), (0, 5), (0, 2), (1, 0), (1, 2), (4, 0)),
    *((5, 0), (1, 6), (3, 0), (0, 4), (0, 6), (0, 3), (3, 5), (2, 2)),
    *((4, 6), (6, 3), (3, 3), (5, 3), (5, 5), (2, 1), (6, 1), (5, 2)),
    *((5, 4), (3, 2), (3, 1), (4, 1), (2, 3), (2, 0), (6, 5), (1, 3)),
)
GRID = 7


@keras.saving.register_keras_serializable(package="attention_zoo")
class FCA(AttentionLayer):
    """Frequency Channel Attention (FcaNet): SE with a cosine transform in place of the average.

    The channels are taken in as many groups as there are frequencies. Each channel is summed with
    the weights of its group's frequency of the two-dimensional discrete cosine transform, and the
    sums pass the two dense layers of SE, without biases: `x * sigmoid(expand(relu(reduce(sums))))`.

    The frequencies are those of a grid of 7x7 positions, on a larger map with as many times the
    oscillations as 7 goes into its height and width. A map of less than 7 positions along an axis
    is taken to 7 by an adaptive average.

    Args:
        frequencies: int from 1 to 32, the best ones in the paper's ranking. Defaults to 16, as in
            the authors' models; 1 takes the lowest alone, a multiple of the average. If it does not
            divide the channels, the largest divisor below it is taken.
        ratio: int, reduction of the hidden layer: `max(1, channels // ratio)` units. Defaults to
            16, as in the authors' code.
        start: how the gate starts. `"published"` (default): with random weights. `"half"`:
            at 0.5 everywhere. `"identity"`: at 1 everywhere, so that the layer returns its input
            until it learns; the gate is then `2 * sigmoid`, between 0 and 2.
        data_format: `"channels_last"` or `"channels_first"`; defaults to Keras's setting.

    Input: `(batch, height, width, channels)` of any floating dtype; `(batch, channels, height,
    width)` with `"channels_first"`.

    Returns:
        A tensor of the input's shape; called with `return_maps=True`, also
        `{"channel": (batch, 1, 1, channels)}`.

    Raises:
        ValueError: a number below 1, more than 32 frequencies, an input that is not of rank 4.

    Example:

    >>> y = FCA()(keras.Input((56, 56, 64)))

    Reference:

    - [FcaNet: Frequency Channel Attention Networks](https://arxiv.org/abs/2012.11879); the authors'
      [code](https://github.com/cfzd/FcaNet/blob/master/model/layer.py), in which the height and
      width of the transform are fixed for each stage (56, 28, 14 and 7), and maps of another size
      are resized. Here they are those of the map, which is the same at these sizes.
    """

    def __init__(
        self,
        frequencies: int = 16,
        ratio: int = 16,
        data_format: str | None = None,
        start: str = "published",
        **kwargs: Any,
    ) -> None:
        super().__init__(data_format=data_format, **kwargs)
        self.frequencies = require_int("frequencies", frequencies)
        if self.frequencies > len(BEST):
            raise ValueError(f"frequencies must be at most {len(BEST)}, received {frequencies!r}")
        self.ratio = require_int("ratio", ratio)
        self.start = start
        self.starting = start_named(start)

    def build(self, input_shape):
        super().build(input_shape)
        number = largest_divisor(self.channels, self.frequencies)
        self.used_frequencies = BEST[:number]
        hidden = max(1, self.channels // self.ratio)
        self.reduce, self.expand = bottleneck(
            self, self.channels, hidden, self.gate_policy, use_bias=False, start=self.starting
        )

    def attend(self, inputs, training=None):
        x = at_least_float32(to_channels_last(inputs, self.data_format))
        height, width = ops.shape(x)[1:3]
        groups = len(self.used_frequencies)
        x = ops.reshape(x, (-1, height, width, groups, self.channels // groups))
        rows, columns = (
            _cosines([pair[axis] for pair in self.used_frequencies], side, x.dtype)
            for axis, side in enumerate((height, width))
        )
        sums = ops.einsum("bhwfc,fh,fw->bfc", x, rows, columns)
        sums = ops.cast(ops.reshape(sums, (-1, 1, 1, self.channels)), self.gate_dtype)
        gate = self.starting.gate(self.expand(self.reduce(sums)))
        gate = from_channels_last(gate, self.data_format)
        return self.gated(inputs, gate), {"channel": gate}

    def products(self, input_shape):
        return [(1, self.positions(input_shape), self.channels)]

    def get_config(self):
        return {
            **super().get_config(),
            "frequencies": self.frequencies,
            "ratio": self.ratio,
            "start": self.start,
        }


def _cosines(frequencies, side, dtype):
    """Rows of the discrete cosine transform for an axis of a length, `(frequencies, side)`."""
    # a number where it is known: JAX makes no range of a length that it computes
    length = max(side, GRID) if isinstance(side, int) else ops.maximum(side, GRID)
    place = ops.cast(ops.arange(length, dtype="int32"), dtype) + 0.5
    oscillations = ops.convert_to_tensor(frequencies, "int32") * (length // GRID)
    phase = ops.cast(oscillations, dtype)[:, None] * place / ops.cast(length, dtype)
    factor = ops.convert_to_tensor([math.sqrt(2 if f else 1) for f in frequencies], dtype)
    cosines = ops.cos(math.pi * phase) * factor[:, None] / ops.sqrt(ops.cast(length, dtype))
    # `ops.matmul` makes float64 float32 on PyTorch
    return ops.einsum("fl,ls->fs", cosines, averaging(side, length, dtype))


@register_attention("fca_block", layer=FCA)
def fca_block(
    x: keras.KerasTensor,
    frequencies: int = 16,
    ratio: int = 16,
    name: str | None = None,
    **options: Any,
) -> keras.KerasTensor:
    """Applies `FCA` (Frequency Channel Attention) to a feature map.

    Args:
        x: Keras tensor of rank 4, `(batch, height, width, channels)`.
        frequencies: int from 1 to 32. Defaults to 16, as in the authors' models.
        ratio: int, reduction of the hidden layer. Defaults to 16, as in the authors' code.
        name: string, the layer's name.
        **options: the further options of `FCA`.

    Returns:
        A Keras tensor of the shape of `x`.

    Raises:
        ValueError: a number below 1, more than 32 frequencies, an unknown option, an input that is
            not of rank 4.

    Example:

    >>> x = keras.layers.Conv2D(64, 3)(keras.Input((32, 32, 3)))
    >>> x = fca_block(x)

    Reference:

    - [FcaNet: Frequency Channel Attention Networks](https://arxiv.org/abs/2012.11879)
    """
    return FCA(frequencies, ratio, name=name, **options)(x)
