"""CoT: every position weighs its neighbors, by weights that its surroundings give."""

from typing import Any

import keras
from keras import ops

from ...checks import require_int
from ..base import AttentionLayer, pool
from ..parts import (
    at_least_float32,
    batch_norm,
    conv2d,
    from_channels_last,
    group_norm,
    largest_divisor,
    to_channels_last,
)
from ..registry import register_attention

KEY_GROUPS = 4  # of the convolution that sees the surroundings, as in the authors' code
SHARED = 8  # channels that share the weights of a neighborhood, as in the authors' code
LEAST_HIDDEN = 32  # of the choice between both contexts, as in the authors' code


@keras.saving.register_keras_serializable(package="attention_zoo")
class CoT(AttentionLayer):
    """Contextual Transformer (CoT): a static and a dynamic context of every position.

    The static context is a grouped convolution of the map, with batch normalization and rectifier.
    Map and static context give, by two 1x1 convolutions and a group normalization, the weights with
    which each position sums the values of its neighborhood, the dynamic context:
    `silu(norm(sum_t w_t(x, static) * value(x)_t))`. A softmax for every channel, as in selective
    kernels, chooses between the two, which are then summed.

    Unlike a gate, it replaces the map, as the 3x3 convolution in a bottleneck that it takes the
    place of.

    Args:
        kernel_size: int, odd, of the neighborhood and of the static context. Defaults to 3, as in
            the authors' models.
        data_format: `"channels_last"` or `"channels_first"`; defaults to Keras's setting.

    Eight channels share the weights of a neighborhood, and the static context has four groups; if
    these do not divide the channels, the largest divisor below is taken.

    Input: `(batch, height, width, channels)` of any floating dtype; `(batch, channels, height,
    width)` with `"channels_first"`.

    Returns:
        A tensor of the input's shape; called with `return_maps=True`, also `{"dynamic": (batch, 1,
        1, channels), "static": ...}`, the share of each context; both sum to 1.

    Raises:
        ValueError: an even kernel, an input that is not of rank 4.

    Example:

    >>> y = CoT()(keras.Input((32, 32, 64)))

    Reference:

    - [Contextual Transformer Networks](https://arxiv.org/abs/2107.12292), section 3; the authors'
      [code](https://github.com/JDAI-CV/CoTNet/blob/master/models/cotnet.py), from which come the
      normalizations, the fusion by a softmax (in the paper of one line), and that channels are
      shared in the way of `channel % groups`.
    """

    def __init__(self, kernel_size: int = 3, data_format: str | None = None, **kwargs: Any) -> None:
        super().__init__(data_format=data_format, **kwargs)
        self.kernel_size = require_int("kernel_size", kernel_size, odd=True)

    def build(self, input_shape):
        super().build(input_shape)
        channels, half = self.channels, max(1, self.channels // 2)
        self.shares = largest_divisor(channels, max(1, channels // SHARED))
        weights = self.kernel_size**2 * self.shares
        self.key = self._conv(
            channels,
            channels,
            self.kernel_size,
            "key",
            groups=largest_divisor(channels, KEY_GROUPS),
        )
        self.squeeze = self._conv(2 * channels, half, 1, "squeeze")
        self.weigh = conv2d(self, half, weights, 1, "weigh", self.dtype_policy)
        self.weigh_norm = group_norm(self, weights, self.shares, "weigh_norm", self.dtype_policy)
        self.value = self._conv(channels, channels, 1, "value")
        hidden = max(LEAST_HIDDEN, channels // 2)
        self.reduce = conv2d(self, channels, hidden, 1, "reduce", self.gate_policy)
        self.select = conv2d(self, hidden, 2 * channels, 1, "select", self.gate_policy)
        widths = {"key": channels, "squeeze": half, "value": channels, "reduce": hidden}
        self.norms = {
            name: batch_norm(
                self,
                width,
                f"{name}_norm",
                self.gate_policy if name == "reduce" else self.dtype_policy,
            )
            for name, width in {**widths, "dynamic": channels}.items()
        }

    def _conv(self, inputs, filters, kernel_size, name, **options):
        return conv2d(
            self, inputs, filters, kernel_size, name, self.dtype_policy, use_bias=False, **options
        )

    def attend(self, inputs, training=None):
        x = to_channels_last(inputs, self.data_format)

        def normalized(conv, values):
            return self.norms[conv.name](conv(values), training=training)

        static = ops.relu(normalized(self.key, x))
        hidden = ops.relu(normalized(self.squeeze, ops.concatenate([x, static], axis=-1)))
        weights = self.weigh_norm(self.weigh(hidden))
        dynamic = self._sum_neighbors(normalized(self.value, x), weights)
        dynamic = ops.silu(self.norms["dynamic"](dynamic, training=training))
        # the mean of the sum, as a sum of means
        pooled = pool(static, "avg", (1, 2)) + pool(dynamic, "avg", (1, 2))
        pooled = ops.relu(normalized(self.reduce, ops.cast(pooled, self.gate_dtype)))
        shares = ops.reshape(self.select(pooled), (-1, 1, 1, self.channels, 2))
        shares = ops.softmax(shares, axis=-1)
        maps = {"dynamic": shares[..., 0], "static": shares[..., 1]}
        outputs = self.gated(dynamic, maps["dynamic"]) + self.gated(static, maps["static"])
        maps = {name: from_channels_last(m, self.data_format) for name, m in maps.items()}
        return from_channels_last(outputs, self.data_format), maps

    def _sum_neighbors(self, values, weights):
        """The sum over each position's neighborhood, weighted by weights of its own."""
        # in float32, as the products of many neighbors take each other off
        values, weights = at_least_float32(values), at_least_float32(weights)
        size, margin = self.kernel_size, self.kernel_size // 2
        height, width = ops.shape(values)[1:3]
        values = ops.pad(values, ((0, 0), (margin, margin), (margin, margin), (0, 0)))
        shape = (-1, height, width, self.channels // self.shares, self.shares)
        weights = ops.reshape(weights, (-1, height, width, 1, self.shares, size * size))
        total: Any = 0
        for row in range(size):
            for column in range(size):
                neighbors = values[:, row : row + height, column : column + width]
                weight = weights[..., row * size + column]
                total = total + ops.reshape(neighbors, shape) * weight
        total = ops.reshape(total, (-1, height, width, self.channels))
        return ops.cast(total, self.compute_dtype)

    def products(self, input_shape):
        return [(self.positions(input_shape) * self.channels, self.kernel_size**2, 1)]

    def get_config(self):
        return {**super().get_config(), "kernel_size": self.kernel_size}


@register_attention("cot_block", layer=CoT)
def cot_block(
    x: keras.KerasTensor, kernel_size: int = 3, name: str | None = None, **options: Any
) -> keras.KerasTensor:
    """Applies `CoT` (Contextual Transformer) to a feature map.

    Args:
        x: Keras tensor of rank 4, `(batch, height, width, channels)`.
        kernel_size: int, odd, of the neighborhood. Defaults to 3, as in the authors' models.
        name: string, the layer's name.
        **options: the further options of `CoT`.

    Returns:
        A Keras tensor of the shape of `x`.

    Raises:
        ValueError: an even kernel, an unknown option, an input that is not of rank 4.

    Example:

    >>> x = keras.layers.Conv2D(64, 3)(keras.Input((32, 32, 3)))
    >>> x = cot_block(x)

    Reference:

    - [Contextual Transformer Networks](https://arxiv.org/abs/2107.12292)
    """
    return CoT(kernel_size, name=name, **options)(x)
