"""Split attention: for every channel, a choice between convolutions of its group."""

from typing import Any

import keras
from keras import ops

from ...checks import require_int
from ..base import AttentionLayer, pool
from ..parts import batch_norm, conv2d, from_channels_last, largest_divisor, to_channels_last
from ..registry import register_attention

LEAST_HIDDEN = 32  # as in the authors' code, however few channels the map has


@keras.saving.register_keras_serializable(package="attention_zoo")
class SplitAttention(AttentionLayer):
    """Split-Attention, the convolution of ResNeSt.

    A 3x3 convolution with batch normalization and rectifier makes `radix` maps, the splits. Their
    sum, averaged over the map and squeezed, `z = relu(norm(reduce(mean(sum(u_r)))))`, gives every
    channel a softmax over the splits, by which they are summed: `sum(softmax_r(select(z)) * u_r)`.
    With one split there is no choice, and a sigmoid gates its channels.

    Unlike a gate, it replaces the map, and costs as much as its convolution.

    Args:
        radix: int, number of splits. Defaults to 2, as in the authors' models.
        cardinality: int, groups within a split, each squeezed by itself. Defaults to 1, as in the
            authors' models. Where it does not divide the channels, the largest divisor of the
            channels below it is taken. The convolution has `radix * cardinality` groups, or the
            largest divisor below.
        ratio: int, reduction of the squeezed vector: `max(32, channels * radix // ratio)` units,
            rounded up to a multiple of the cardinality. Defaults to 4, as in the authors' code.
        data_format: `"channels_last"` or `"channels_first"`; defaults to Keras's setting.

    Input: `(batch, height, width, channels)` of any floating dtype; `(batch, channels, height,
    width)` with `"channels_first"`.

    Returns:
        A tensor of the input's shape; called with `return_maps=True`, also `{"split1": (batch, 1,
        1, channels), "split2": ...}`, the share of each split; the shares of a channel sum
        to 1, but for `radix=1`, whose only share is a gate.

    Raises:
        ValueError: a number below 1, an input that is not of rank 4.

    Example:

    >>> y = SplitAttention()(keras.Input((32, 32, 64)))
    >>> y = SplitAttention(radix=4, cardinality=2)(keras.Input((32, 32, 64)))

    Reference:

    - [ResNeSt: Split-Attention Networks](https://arxiv.org/abs/2004.08955); the authors'
      [code](https://github.com/zhanghang1989/ResNeSt/blob/master/resnest/torch/models/splat.py).
    """

    def __init__(
        self,
        radix: int = 2,
        cardinality: int = 1,
        ratio: int = 4,
        data_format: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(data_format=data_format, **kwargs)
        self.radix = require_int("radix", radix)
        self.cardinality = require_int("cardinality", cardinality)
        self.ratio = require_int("ratio", ratio)

    def build(self, input_shape):
        super().build(input_shape)
        channels, filters = self.channels, self.channels * self.radix
        self.used_groups = groups = largest_divisor(channels, self.cardinality)
        hidden = -(-max(filters // self.ratio, LEAST_HIDDEN) // groups) * groups
        self.conv = conv2d(
            self,
            channels,
            filters,
            3,
            "conv",
            self.dtype_policy,
            groups=largest_divisor(channels, self.radix * groups),
            use_bias=False,
        )
        self.norm = batch_norm(self, filters, "norm", self.dtype_policy)
        shared = {"dtype": self.gate_policy, "groups": groups}
        self.reduce = conv2d(self, channels, hidden, 1, "reduce", **shared)
        self.reduce_norm = batch_norm(self, hidden, "reduce_norm", self.gate_policy)
        self.select = conv2d(self, hidden, filters, 1, "select", **shared)

    def attend(self, inputs, training=None):
        x = to_channels_last(inputs, self.data_format)
        splits = ops.split(
            ops.relu(self.norm(self.conv(x), training=training)), self.radix, axis=-1
        )
        # the sum of the means is the mean of the sum, and needs no map for the sum
        pooled = ops.cast(sum(pool(u, "avg", (1, 2)) for u in splits), self.gate_dtype)
        squeezed = ops.relu(self.reduce_norm(self.reduce(pooled), training=training))
        shares = self._shares(self.select(squeezed))
        outputs = sum(self.gated(u, share) for share, u in zip(shares, splits, strict=True))
        maps = {
            f"split{number}": from_channels_last(share, self.data_format)
            for number, share in enumerate(shares, 1)
        }
        return from_channels_last(outputs, self.data_format), maps

    def _shares(self, logits):
        """The share of each split, `(batch, 1, 1, channels)`."""
        if self.radix == 1:
            return [ops.sigmoid(logits)]
        # the logits are in the order of the groups, of the splits, and then of the channels
        width = self.channels // self.used_groups
        logits = ops.reshape(logits, (-1, self.used_groups, self.radix, width))
        shares = ops.softmax(logits, axis=2)
        return [
            ops.reshape(shares[:, :, number], (-1, 1, 1, self.channels))
            for number in range(self.radix)
        ]

    def get_config(self):
        options = {"radix": self.radix, "cardinality": self.cardinality, "ratio": self.ratio}
        return {**super().get_config(), **options}


@register_attention("split_block", layer=SplitAttention)
def split_block(
    x: keras.KerasTensor, radix: int = 2, name: str | None = None, **options: Any
) -> keras.KerasTensor:
    """Applies `SplitAttention` (of ResNeSt) to a feature map.

    Args:
        x: Keras tensor of rank 4, `(batch, height, width, channels)`.
        radix: int, number of splits. Defaults to 2, as in the authors' models.
        name: string, the layer's name.
        **options: the further options of `SplitAttention`, such as `cardinality=2`.

    Returns:
        A Keras tensor of the shape of `x`.

    Raises:
        ValueError: a number below 1, an unknown option, an input that is not of rank 4.

    Example:

    >>> x = keras.layers.Conv2D(64, 3)(keras.Input((32, 32, 3)))
    >>> x = split_block(x)

    Reference:

    - [ResNeSt: Split-Attention Networks](https://arxiv.org/abs/2004.08955)
    """
    return SplitAttention(radix, name=name, **options)(x)
