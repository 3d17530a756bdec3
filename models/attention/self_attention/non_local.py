"""Non-local attention: every position sees every other."""

import math
from typing import Any

import keras
from keras import layers, ops

from ...checks import require_int, require_one_of
from ..base import AttentionLayer
from ..parts import (
    at_least_float32,
    batch_norm,
    conv,
    flatten_positions,
    from_channels_last,
    to_channels_last,
)
from ..registry import register_attention
from .pairs import mix

MODES = ("embedded_gaussian", "gaussian", "dot_product")


# rank -> the pooling, and its size along each axis
POOLS = {
    3: (layers.MaxPooling1D, (2,)),
    4: (layers.MaxPooling2D, (2, 2)),
    5: (layers.MaxPooling3D, (1, 2, 2)),
}


@keras.saving.register_keras_serializable(package="attention_zoo")
class NonLocal(AttentionLayer):
    """The non-local block: adds to every position a sum of all positions, weighted by similarity.

    `x + norm(project(y))`, where `y_i` is the sum of `g(x_j)` over all positions j, weighted by
    the similarity of i and j:

    - `"embedded_gaussian"`: `softmax_j(theta(x_i) . phi(x_j) / sqrt(d))`, self-attention.
    - `"gaussian"`: `softmax_j(x_i . x_j / sqrt(channels))`, without `theta` and `phi`.
    - `"dot_product"`: `theta(x_i) . phi(x_j) / n`, n the number of positions j.

    `theta`, `phi`, `g` and `project` are 1x1 convolutions, the first three to
    `d = max(1, channels // ratio)` channels.

    **Memory**: the two softmax modes hold a float32 matrix of all pairs, for a map of 64x64
    positions 67 MB per image, for one of 128x128 1.1 GB, and training keeps more than one;
    `subsample` makes it a quarter, and that of a sequence a half. `"dot_product"` never forms it:
    `(theta phi') g` is `theta (phi' g)`, whose cost grows with the positions and not with their
    square.

    Args:
        mode: `"embedded_gaussian"`, `"gaussian"` or `"dot_product"`, as above. Defaults to
            `"embedded_gaussian"`, as in the authors' code.
        ratio: int, reduction of the inner channels. Defaults to 2, as in the paper.
        subsample: bool, whether `phi` and `g` see the map after a max-pooling of 2x2, of two steps
            in a sequence; the depth of a volume is not pooled. Defaults to `True`, as in the
            authors' code. A map of odd size keeps its last row and column, which the authors' code
            drops.
        scale: bool, the division by the root in the softmax modes. Defaults to `True`, as in the
            authors' code; the paper's formulas lack it.
        batch_norm: bool, normalization after `project`. Defaults to `True`, as in the paper.
        zero_init: bool, whether the block starts as the identity: the normalization's scale, or
            without it the kernel of `project`, is 0 at first. Defaults to `True`, as in the
            authors' code. In the first step of training only that weight and the biases after it
            learn.
        use_bias: bool, biases in the convolutions. Defaults to `True`, as in the authors' code.
            Biases that cannot change the outputs are left out: that of `phi` in the softmax modes,
            as it adds the same to all j; that of `project` before a normalization, which subtracts
            it again; and then that of `g` in the softmax modes.
        data_format: `"channels_last"` or `"channels_first"`; defaults to Keras's setting.

    Input: `(batch, height, width, channels)`, `(batch, steps, channels)` or `(batch, depth, height,
    width, channels)` of any floating dtype; channels first with `"channels_first"`.

    Returns:
        A tensor of the input's shape; called with `return_maps=True`, also `{"spatial": (batch,
        height, width, 1)}`, the weight that each position j has for all i, relative to an equal
        weight of all positions: on average 1 in the softmax modes. With `subsample` it is that of
        the field that a position is pooled in.

    Raises:
        ValueError: an unknown mode, `ratio` below 1, an input that is not of rank 3, 4 or 5.

    Example:

    >>> y = NonLocal()(keras.Input((14, 14, 64)))
    >>> y = NonLocal("dot_product", subsample=False)(keras.Input((128, 128, 64)))

    Reference:

    - [Non-local Neural Networks](https://arxiv.org/abs/1711.07971), section 3; the authors'
      [code](https://github.com/facebookresearch/video-nonlocal-net/blob/main/lib/models/
      nonlocal_helper.py) and its `config.py` (`NONLOCAL`), from which come the convolutions'
      normal distribution of deviation 0.01, momentum and epsilon, and the pooling before the
      convolutions.
    """

    ranks = (3, 4, 5)

    def __init__(
        self,
        mode: str = "embedded_gaussian",
        ratio: int = 2,
        subsample: bool = True,
        scale: bool = True,
        batch_norm: bool = True,
        zero_init: bool = True,
        use_bias: bool = True,
        data_format: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(data_format=data_format, **kwargs)
        self.mode = require_one_of("mode", mode, MODES)
        self.ratio = require_int("ratio", ratio)
        self.subsample = bool(subsample)
        self.scale = bool(scale)
        self.batch_norm = bool(batch_norm)
        self.zero_init = bool(zero_init)
        self.use_bias = bool(use_bias)

    def build(self, input_shape):
        super().build(input_shape)
        inner = max(1, self.channels // self.ratio)
        linear = self.mode == "dot_product"
        self.theta = self.phi = self.norm = None
        if self.mode != "gaussian":
            self.theta = self._conv(self.channels, inner, "theta", self.use_bias)
            self.phi = self._conv(self.channels, inner, "phi", self.use_bias and linear)
        bias = self.use_bias and (linear or not self.batch_norm)
        self.g = self._conv(self.channels, inner, "g", bias)
        self.project = self._conv(
            inner,
            self.channels,
            "project",
            self.use_bias and not self.batch_norm,
            zero=self.zero_init and not self.batch_norm,
        )
        if self.batch_norm:
            gamma = "zeros" if self.zero_init else "ones"
            self.norm = batch_norm(self, self.channels, "norm", self.dtype_policy, gamma, self.rank)
        pooling, pool_size = POOLS[self.rank]
        self.pool = pooling(
            pool_size,
            padding="same",
            data_format="channels_last",
            name="pool",
            dtype=self.dtype_policy,
        )

    def _conv(self, inputs, filters, name, use_bias, zero=False):
        start = "zeros" if zero else keras.initializers.RandomNormal(stddev=0.01)
        return conv(
            self,
            inputs,
            filters,
            1,
            name,
            self.dtype_policy,
            self.rank,
            use_bias=use_bias,
            kernel_initializer=start,
        )

    def attend(self, inputs, training=None):
        x = to_channels_last(inputs, self.data_format)
        seen = self.pool(x) if self.subsample else x
        query = flatten_positions(x if self.theta is None else self.theta(x))
        key = flatten_positions(seen if self.phi is None else self.phi(seen))
        weigh = self._mix_linearly if self.mode == "dot_product" else self._mix
        y, mass = weigh(query, key, flatten_positions(self.g(seen)))
        size = ops.shape(x)[1:-1]
        y = ops.reshape(ops.cast(y, self.compute_dtype), (-1, *size, y.shape[-1]))
        y = self.project(y)
        if self.norm is not None:
            y = self.norm(y, training=training)
        mass = ops.reshape(ops.cast(mass, self.compute_dtype), (-1, *ops.shape(seen)[1:-1], 1))
        if self.subsample:
            for axis, (length, pooled) in enumerate(zip(size, self.pool.pool_size, strict=True), 1):
                mass = ops.take(ops.repeat(mass, pooled, axis=axis), ops.arange(length), axis=axis)
        outputs = inputs + from_channels_last(y, self.data_format)
        return outputs, {"spatial": from_channels_last(mass, self.data_format)}

    def _mix(self, query, key, value):
        """The values weighted by a softmax, and how much weight each key has."""
        query = at_least_float32(query)
        return mix(query * query.shape[-1] ** -0.5 if self.scale else query, key, value)

    def _mix_linearly(self, query, key, value):
        """The values weighted by plain products, without the matrix of all pairs."""
        query, key, value = (at_least_float32(part) for part in (query, key, value))
        count = ops.cast(ops.shape(key)[1], key.dtype)
        y = ops.matmul(query, ops.matmul(ops.swapaxes(key, 1, 2), value) / count)
        return y, ops.squeeze(ops.matmul(key, ops.mean(query, axis=1)[:, :, None]), -1)

    def products(self, input_shape):
        queries = keys = self.positions(input_shape)
        if self.subsample:
            sides = (input_shape[axis] for axis in self.spatial_axes)
            keys = math.prod(
                -(-side // pooled) for side, pooled in zip(sides, self.pool.pool_size, strict=True)
            )
        width = self.g.filters
        size = self.channels if self.phi is None else self.phi.filters
        if self.mode == "dot_product":
            return [(size, keys, width), (queries, size, width)]
        return [(queries, size, keys), (queries, keys, width)]

    def get_config(self):
        return {
            **super().get_config(),
            "mode": self.mode,
            "ratio": self.ratio,
            "subsample": self.subsample,
            "scale": self.scale,
            "batch_norm": self.batch_norm,
            "zero_init": self.zero_init,
            "use_bias": self.use_bias,
        }


@register_attention("non_local_block", layer=NonLocal)
def non_local_block(
    x: keras.KerasTensor, mode: str = "embedded_gaussian", name: str | None = None, **options: Any
) -> keras.KerasTensor:
    """Applies `NonLocal` (the non-local block) to a feature map.

    Args:
        x: Keras tensor, a feature map `(batch, height, width, channels)`, a sequence or a volume.
        mode: `"embedded_gaussian"` (default), `"gaussian"` or `"dot_product"`.
        name: string, the layer's name.
        **options: the further options of `NonLocal`, such as `subsample=False`.

    Returns:
        A Keras tensor of the shape of `x`, which the block is added to.

    Raises:
        ValueError: an unknown mode, an unknown option, an input that is not of rank 3, 4 or 5.

    Example:

    >>> x = keras.layers.Conv2D(64, 3)(keras.Input((32, 32, 3)))
    >>> x = non_local_block(x, mode="dot_product")

    Reference:

    - [Non-local Neural Networks](https://arxiv.org/abs/1711.07971)
    """
    return NonLocal(mode, name=name, **options)(x)
