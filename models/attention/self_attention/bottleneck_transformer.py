"""Self-attention of BoTNet: every position sees every other, and how far away it is."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from ...checks import require_int
from ..base import AttentionLayer
from ..parts import (
    at_least_float32,
    conv2d,
    from_channels_last,
    largest_divisor,
    to_channels_last,
)
from ..registry import register_attention
from .pairs import mix


@keras.saving.register_keras_serializable(package="attention_zoo")
class BoTNet(AttentionLayer):
    """Multi-head self-attention of BoTNet, with relative positions.

    For each head, a position i sums the values of all positions j by
    `softmax_j(q_i . (k_j + r_j-i) / sqrt(d))`. `q`, `k` and `v` are 1x1 convolutions, and the
    embedding `r` is learned: one for each distance between rows plus one for each distance between
    columns. The heads together replace the map, as the 3x3 convolution in a bottleneck that they
    take the place of.

    **Memory**: each head holds a float32 matrix of all pairs, for four heads and a map of 14x14
    positions 0.6 MB per image, for one of 64x64 268 MB, and training keeps more than one.

    Args:
        heads: int, number of heads. Defaults to 4, as in the paper. If it does not divide the
            channels, the largest divisor of the channels below it is taken.
        size: pair of ints or int, the largest height and width that the distances are learned for.
            Defaults to `None`, those of the input, which must then be known when the layer is
            built.
        data_format: `"channels_last"` or `"channels_first"`; defaults to Keras's setting.

    Input: `(batch, height, width, channels)` of any floating dtype; `(batch, channels, height,
    width)` with `"channels_first"`.

    Returns:
        A tensor of the input's shape; called with `return_maps=True`, also `{"spatial": (batch,
        height, width, 1)}`, the weight that each position has for all others, averaged over the
        heads and relative to an equal weight of all positions: on average 1.

    Raises:
        ValueError: a number below 1, an input of unknown height or width without `size`, one that
            is larger than `size`, one that is not of rank 4.

    Example:

    >>> y = BoTNet()(keras.Input((14, 14, 64)))
    >>> y = BoTNet(heads=8, size=(32, 32))(keras.Input((None, None, 64)))

    Reference:

    - [Bottleneck Transformers for Visual Recognition](https://arxiv.org/abs/2101.11605), Figure 4;
      the authors' [code](https://gist.github.com/aravindsrinivas/
      56359b79f0ce4449bcb04ab4b56a57a2), in which the convolutions have no biases and the embeddings
      start with the deviation `d ** -0.5`.
    """

    def __init__(
        self,
        heads: int = 4,
        size: int | Sequence[int] | None = None,
        data_format: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(data_format=data_format, **kwargs)
        self.heads = require_int("heads", heads)
        self.size = None if size is None else _height_and_width(size)

    def build(self, input_shape):
        super().build(input_shape)
        self.used_size = self.size or tuple(input_shape[axis] for axis in self.spatial_axes)
        if None in self.used_size:
            raise ValueError(
                f"BoTNet learns an embedding for each distance: it needs a map of known height and "
                f"width or the option size=(height, width), the largest there will be; received "
                f"shape {tuple(input_shape)}"
            )
        self.used_heads = largest_divisor(self.channels, self.heads)
        shared = {"use_bias": False}
        self.query, self.key, self.value = (
            conv2d(self, self.channels, self.channels, 1, name, self.dtype_policy, **shared)
            for name in ("query", "key", "value")
        )
        width = self.channels // self.used_heads
        self.distances = [
            self.add_weight(
                name=f"{name}_distances",
                shape=(2 * side - 1, width),
                initializer=keras.initializers.RandomNormal(stddev=width**-0.5),
                autocast=False,
            )
            for name, side in zip(("row", "column"), self.used_size, strict=True)
        ]

    def attend(self, inputs, training=None):
        x = to_channels_last(inputs, self.data_format)
        self._refuse_larger(x.shape[1:3])
        height, width = ops.shape(x)[1:3]
        # (batch, heads, positions, channels of a head)
        query = at_least_float32(self._heads(self.query(x)))
        query = query * query.shape[-1] ** -0.5
        distances = self._logits_of_distances(query, height, width)
        y, mass = mix(query, self._heads(self.key(x)), self._heads(self.value(x)), distances)
        y = ops.reshape(ops.transpose(y, (0, 2, 1, 3)), (-1, height, width, self.channels))
        mass = ops.reshape(ops.mean(mass, axis=1), (-1, height, width, 1))
        maps = {"spatial": ops.cast(mass, self.compute_dtype)}
        maps = {name: from_channels_last(m, self.data_format) for name, m in maps.items()}
        return from_channels_last(y, self.data_format), maps

    def _refuse_larger(self, sides):
        if any(
            side is not None and side > most
            for side, most in zip(sides, self.used_size, strict=True)
        ):
            raise ValueError(
                f"this BoTNet knows the distances in maps of up to {self.used_size[0]}x"
                f"{self.used_size[1]} positions, received one of {sides[0]}x{sides[1]}; give the "
                f"largest as size=(height, width)"
            )

    def _heads(self, x):
        x = ops.reshape(x, (ops.shape(x)[0], -1, self.used_heads, x.shape[-1] // self.used_heads))
        return ops.transpose(x, (0, 2, 1, 3))

    def _logits_of_distances(self, query, height, width):
        """Each query's products with the embeddings, `(batch, heads, positions, positions)`."""
        shape = (-1, self.used_heads, height, width, query.shape[-1])
        query = ops.reshape(query, shape)
        rows, columns = (
            self._embeddings(table, side, most, query.dtype)
            for table, side, most in zip(
                self.distances, (height, width), self.used_size, strict=True
            )
        )
        # one number for each row, and one for each column, that a position sees
        rows = ops.einsum("bnhwd,hgd->bnhwg", query, rows)[..., None]
        columns = ops.einsum("bnhwd,wvd->bnhwv", query, columns)[..., None, :]
        positions = height * width
        return ops.reshape(rows + columns, (-1, self.used_heads, positions, positions))

    def _embeddings(self, table, side, most, dtype):
        """The embedding of the distance from i to j, `(i, j, channels of a head)`."""
        places = ops.arange(side, dtype="int32")
        distances = places[None, :] - places[:, None] + (most - 1)
        return ops.take(ops.cast(table, dtype), distances, axis=0)

    def products(self, input_shape):
        positions = self.positions(input_shape)
        rows, width = self.used_heads * positions, self.channels // self.used_heads
        distances = [(rows, width, input_shape[axis]) for axis in self.spatial_axes]
        return [*distances, (rows, width, positions), (rows, positions, width)]

    def get_config(self):
        return {**super().get_config(), "heads": self.heads, "size": self.size}


def _height_and_width(size):
    try:
        sides = tuple(size)
    except TypeError:  # a number
        sides = (size, size)
    if len(sides) != 2:
        raise ValueError(f"size must be a height and a width, received {size!r}")
    return tuple(require_int("size", side) for side in sides)


@register_attention("botnet_block", layer=BoTNet)
def botnet_block(
    x: keras.KerasTensor, heads: int = 4, name: str | None = None, **options: Any
) -> keras.KerasTensor:
    """Applies `BoTNet` (its multi-head self-attention) to a feature map.

    Args:
        x: Keras tensor of rank 4, `(batch, height, width, channels)`.
        heads: int. Defaults to 4, as in the paper.
        name: string, the layer's name.
        **options: the further options of `BoTNet`: `size`, where height or width are unknown.

    Returns:
        A Keras tensor of the shape of `x`.

    Raises:
        ValueError: a number below 1, an unknown option, an unknown height or width without `size`,
            an input that is not of rank 4.

    Example:

    >>> x = keras.layers.Conv2D(64, 3)(keras.Input((32, 32, 3)))
    >>> x = botnet_block(x)

    Reference:

    - [Bottleneck Transformers for Visual Recognition](https://arxiv.org/abs/2101.11605)
    """
    return BoTNet(heads, name=name, **options)(x)
