"""External attention: positions see a small memory in place of each other."""

from typing import Any

import keras
from keras import ops

from ...checks import require_int
from ..base import AttentionLayer
from ..parts import (
    at_least_float32,
    batch_norm,
    conv2d,
    flatten_positions,
    from_channels_last,
    softmax,
    to_channels_last,
)
from ..registry import register_attention


@keras.saving.register_keras_serializable(package="attention_zoo")
class ExternalAttention(AttentionLayer):
    """External attention (EANet): two learned memories that all images share.

    Each position is compared with the entries of the first memory, and takes a sum of those of the
    second. The comparisons are normalized twice: by a softmax over the positions, then by their sum
    over the entries. `relu(x + norm(project(sum_m a_m value_m)))` with
    `a = softmax_positions(query(x) . key_m)` over its sum. The cost grows with the number of
    positions, not with its square.

    Args:
        memory: int, number of entries. Defaults to 64, as in the authors' code.
        data_format: `"channels_last"` or `"channels_first"`; defaults to Keras's setting.

    Input: `(batch, height, width, channels)` of any floating dtype; `(batch, channels, height,
    width)` with `"channels_first"`.

    Returns:
        A tensor of the input's shape; called with `return_maps=True`, also `{"spatial": (batch,
        height, width, 1)}`, the weight of each position, averaged over the entries and relative to
        an equal weight of all positions: on average 1.

    Raises:
        ValueError: `memory` below 1, an input that is not of rank 4.

    Example:

    >>> y = ExternalAttention()(keras.Input((32, 32, 64)))

    Reference:

    - [Beyond Self-attention: External Attention](https://arxiv.org/abs/2105.02358), section 3; the
      authors' [code](https://github.com/MenghaoGuo/EANet/blob/main/model_torch.py). `query` has no
      bias, which the softmax would cancel. In that code the second memory starts as the first; here
      each starts by itself, as in the paper.
    """

    def __init__(self, memory: int = 64, data_format: str | None = None, **kwargs: Any) -> None:
        super().__init__(data_format=data_format, **kwargs)
        self.memory = require_int("memory", memory)

    def build(self, input_shape):
        super().build(input_shape)

        def conv(inputs, filters, name):
            return conv2d(self, inputs, filters, 1, name, self.dtype_policy, use_bias=False)

        self.query = conv(self.channels, self.channels, "query")
        self.key = conv(self.channels, self.memory, "key")
        self.value = conv(self.memory, self.channels, "value")
        self.project = conv(self.channels, self.channels, "project")
        self.norm = batch_norm(self, self.channels, "norm", self.dtype_policy)

    def attend(self, inputs, training=None):
        x = to_channels_last(inputs, self.data_format)
        shape = (-1, *ops.shape(x)[1:3])
        logits = at_least_float32(flatten_positions(self.key(self.query(x))))
        weights = softmax(logits, 1)
        # the share of each entry, from logarithms: in a large map all weights of a position are
        # small
        shares = softmax(logits - ops.logsumexp(logits, axis=1, keepdims=True), -1)
        shares = ops.cast(ops.reshape(shares, (*shape, self.memory)), self.compute_dtype)
        y = self.norm(self.project(self.value(shares)), training=training)
        count = ops.cast(ops.shape(logits)[1], weights.dtype)
        mass = ops.cast(ops.mean(weights, axis=-1) * count, self.compute_dtype)
        maps = {"spatial": from_channels_last(ops.reshape(mass, (*shape, 1)), self.data_format)}
        return ops.relu(inputs + from_channels_last(y, self.data_format)), maps

    def get_config(self):
        return {**super().get_config(), "memory": self.memory}


@register_attention("external_block", layer=ExternalAttention)
def external_block(
    x: keras.KerasTensor, memory: int = 64, name: str | None = None, **options: Any
) -> keras.KerasTensor:
    """Applies `ExternalAttention` (of EANet) to a feature map.

    Args:
        x: Keras tensor of rank 4, `(batch, height, width, channels)`.
        memory: int, number of entries. Defaults to 64, as in the authors' code.
        name: string, the layer's name.
        **options: the further options of `ExternalAttention`.

    Returns:
        A Keras tensor of the shape of `x`, which the block is added to.

    Raises:
        ValueError: `memory` below 1, an unknown option, an input that is not of rank 4.

    Example:

    >>> x = keras.layers.Conv2D(64, 3)(keras.Input((32, 32, 3)))
    >>> x = external_block(x)

    Reference:

    - [Beyond Self-attention: External Attention](https://arxiv.org/abs/2105.02358)
    """
    return ExternalAttention(memory, name=name, **options)(x)
