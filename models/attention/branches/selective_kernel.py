"""Selective kernels: for every channel, a choice between convolutions of different reach."""

from typing import Any

import keras
from keras import ops

from ...checks import require_int
from ..base import AttentionLayer, pool
from ..parts import batch_norm, conv2d, dense, from_channels_last, largest_divisor, to_channels_last
from ..registry import register_attention


@keras.saving.register_keras_serializable(package="attention_zoo")
class SK(AttentionLayer):
    """Selective Kernel convolution: the map chooses the size of its receptive field.

    The map passes `branches` grouped 3x3 convolutions with dilations 1, 2, ..., each with batch
    normalization and rectifier: `u_m = relu(norm(conv_m(x)))`. Their sum, averaged over the map
    and squeezed, `z = relu(norm(reduce(mean(sum(u_m)))))`, gives every channel a softmax over the
    branches, by which they are summed: `sum(softmax_m(select(z)) * u_m)`.

    Unlike a gate, it replaces the map, and costs as much as its convolutions.

    Args:
        branches: int, at least 2, number of convolutions. Defaults to 2, reach 3x3 and 5x5, as in
            the authors' models; the paper's Table 6 adds a third.
        groups: int, groups of the convolutions. Defaults to 32, as in the authors' models. Where it
            does not divide the channels, the largest divisor of the channels below it is taken: 20
            for 40 channels, and one channel per group up to 32.
        ratio: int, reduction of the squeezed vector: `max(channels // ratio, min_width)` units.
            Defaults to 16, the paper's r.
        min_width: int, the least width of the squeezed vector. Defaults to 32, the paper's L.
        data_format: `"channels_last"` or `"channels_first"`; defaults to Keras's setting.

    Input: `(batch, height, width, channels)` of any floating dtype; `(batch, channels, height,
    width)` with `"channels_first"`.

    Returns:
        A tensor of the input's shape; called with `return_maps=True`, also `{"branch1": (batch, 1,
        1, channels), "branch2": ...}`, the share of each branch; the shares of a channel sum to 1.

    Raises:
        ValueError: less than 2 branches, `groups`, `ratio` or `min_width` below 1, an input that is
            not of rank 4.

    Example:

    >>> y = SK(groups=1)(keras.Input((32, 32, 64)))
    >>> y, maps = SK(branches=3)(keras.Input((32, 32, 64)), return_maps=True)

    Reference:

    - [Selective Kernel Networks](https://arxiv.org/abs/1903.06586), section 3.1; the authors'
      [code](https://github.com/implus/SKNet/blob/master/models/sknet50.prototxt) (Caffe), from
      which come the dense layers without biases, started from a normal distribution of deviation
      0.01. Its normalization has the momentum 0.95, here it is 0.9, as in the whole zoo.
    """

    def __init__(
        self,
        branches: int = 2,
        groups: int = 32,
        ratio: int = 16,
        min_width: int = 32,
        data_format: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(data_format=data_format, **kwargs)
        self.branches = require_int("branches", branches, least=2)
        self.groups = require_int("groups", groups)
        self.ratio = require_int("ratio", ratio)
        self.min_width = require_int("min_width", min_width)

    def build(self, input_shape):
        super().build(input_shape)
        width = max(self.channels // self.ratio, self.min_width)
        numbers = range(1, self.branches + 1)
        self.convs = [self._conv(number) for number in numbers]
        self.norms = [
            batch_norm(self, self.channels, f"norm{number}", self.dtype_policy)
            for number in numbers
        ]
        self.reduce = self._dense(self.channels, width, "reduce")
        self.reduce_norm = batch_norm(self, width, "reduce_norm", self.gate_policy)
        self.select = self._dense(width, self.branches * self.channels, "select")

    def _conv(self, number):
        return conv2d(
            self,
            self.channels,
            self.channels,
            3,
            f"conv{number}",
            self.dtype_policy,
            dilation_rate=number,
            groups=largest_divisor(self.channels, self.groups),
            use_bias=False,
        )

    def _dense(self, inputs, units, name):
        start = keras.initializers.RandomNormal(stddev=0.01)
        return dense(
            self, inputs, units, name, self.gate_policy, use_bias=False, kernel_initializer=start
        )

    def attend(self, inputs, training=None):
        x = to_channels_last(inputs, self.data_format)
        branches = [
            ops.relu(norm(conv(x), training=training))
            for conv, norm in zip(self.convs, self.norms, strict=True)
        ]
        # the sum of the means is the mean of the sum, and needs no map for the sum
        pooled = ops.cast(sum(pool(u, "avg", (1, 2)) for u in branches), self.gate_dtype)
        squeezed = ops.relu(self.reduce_norm(self.reduce(pooled), training=training))
        shares = ops.reshape(self.select(squeezed), (-1, self.branches, 1, 1, self.channels))
        shares = ops.softmax(shares, axis=1)
        shares = [shares[:, number] for number in range(self.branches)]
        outputs = sum(self.gated(u, share) for share, u in zip(shares, branches, strict=True))
        maps = {
            f"branch{number}": from_channels_last(share, self.data_format)
            for number, share in enumerate(shares, 1)
        }
        return from_channels_last(outputs, self.data_format), maps

    def get_config(self):
        return {
            **super().get_config(),
            "branches": self.branches,
            "groups": self.groups,
            "ratio": self.ratio,
            "min_width": self.min_width,
        }


@register_attention("sk_block", layer=SK)
def sk_block(
    x: keras.KerasTensor, branches: int = 2, name: str | None = None, **options: Any
) -> keras.KerasTensor:
    """Applies `SK` (Selective Kernel convolution) to a feature map.

    Args:
        x: Keras tensor of rank 4, `(batch, height, width, channels)`.
        branches: int, at least 2, number of convolutions. Defaults to 2.
        name: string, the layer's name.
        **options: the further options of `SK`, such as `groups=1`.

    Returns:
        A Keras tensor of the shape of `x`.

    Raises:
        ValueError: less than 2 branches, an unknown option, an input that is not of rank 4.

    Example:

    >>> x = keras.layers.Conv2D(64, 3)(keras.Input((32, 32, 3)))
    >>> x = sk_block(x, groups=8)

    Reference:

    - [Selective Kernel Networks](https://arxiv.org/abs/1903.06586)
    """
    return SK(branches, name=name, **options)(x)
