"""Global context: a weighted average of all positions is transformed and given to every one."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from ...checks import require_int
from ..base import AttentionLayer, require_pools
from ..parts import (
    at_least_float32,
    conv,
    dense,
    from_channels_last,
    layer_norm,
    per_channel,
    softmax,
    to_channels_last,
)
from ..registry import register_attention


@keras.saving.register_keras_serializable(package="attention_zoo")
class GlobalContext(AttentionLayer):
    """The global context (GC) block: attention over positions, then over channels.

    A 1x1 convolution and a softmax over all positions weigh the map to one vector, the context;
    `expand(relu(layer_norm(reduce(context))))` transforms it, and it is fused with the map:

    - `"add"`: `x + transform(context)`.
    - `"mul"`: `x * sigmoid(transform(context))`.
    - both: `x * sigmoid(transform_mul(context)) + transform_add(context)`, each with weights of
      its own.

    The last layer of a transform starts at zero, as in the authors' code: at first `"add"` is the
    identity and `"mul"` halves the map.

    Args:
        ratio: int, reduction of the transform's hidden layer: `max(1, channels // ratio)` units.
            Defaults to 4, the authors' `r4` configurations, which are better than their `r16`. A
            single hidden unit (channels below `2 * ratio`) leaves nothing of the context, as the
            layer normalization of one number is zero: another reason for a small ratio.
        fusion: `"add"` (default, as in the paper), `"mul"`, or a tuple of both; `channel_add` and
            `channel_mul` of the authors' code.
        data_format: `"channels_last"` or `"channels_first"`; defaults to Keras's setting.

    Input: `(batch, height, width, channels)`, `(batch, steps, channels)` or `(batch, depth, height,
    width, channels)` of any floating dtype; channels first with `"channels_first"`.

    Returns:
        A tensor of the input's shape; called with `return_maps=True`, also
        `{"spatial": (batch, height, width, 1)}`, the weights of the positions, whose sum is 1, and
        with `"mul"` `"channel": (batch, 1, 1, channels)`, the gate.

    Raises:
        ValueError: `ratio` below 1, an unknown fusion, an input that is not of rank 3, 4 or 5.

    Example:

    >>> y = GlobalContext()(keras.Input((32, 32, 64)))
    >>> y = GlobalContext(ratio=16, fusion=("add", "mul"))(keras.Input((32, 32, 256)))

    Reference:

    - [GCNet: Non-local Networks Meet Squeeze-Excitation Networks and
      Beyond](https://arxiv.org/abs/1904.11492); the authors'
      [code](https://github.com/xvjiarui/GCNet/blob/master/mmdet/ops/gcb/context_block.py).
    """

    ranks = (3, 4, 5)

    def __init__(
        self,
        ratio: int = 4,
        fusion: str | Sequence[str] = ("add",),
        data_format: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(data_format=data_format, **kwargs)
        self.ratio = require_int("ratio", ratio)
        self.fusion = require_pools("fusion", fusion, ("add", "mul"))

    def build(self, input_shape):
        super().build(input_shape)
        self.weigh = conv(self, self.channels, 1, 1, "weigh", self.dtype_policy, self.rank)
        self.add = self._transform("add") if "add" in self.fusion else None
        self.mul = self._transform("mul") if "mul" in self.fusion else None

    def _transform(self, name):
        hidden = max(1, self.channels // self.ratio)
        policy = self.gate_policy
        reduce = dense(self, self.channels, hidden, f"{name}_reduce", policy)
        norm = layer_norm(self, hidden, f"{name}_norm", policy)
        expand = dense(
            self, hidden, self.channels, f"{name}_expand", policy, kernel_initializer="zeros"
        )
        return [reduce, norm, expand]

    def attend(self, inputs, training=None):
        context, weights = self._context(inputs)
        outputs, maps = inputs, {"spatial": weights}
        if self.mul is not None:
            maps["channel"] = ops.sigmoid(self._apply(self.mul, context))
            outputs = self.gated(outputs, maps["channel"])
        if self.add is not None:
            outputs = outputs + ops.cast(self._apply(self.add, context), outputs.dtype)
        return outputs, maps

    def _context(self, inputs):
        """The weighted average `(batch, channels)`, and the weights of the positions."""
        logits = self.weigh(to_channels_last(inputs, self.data_format))
        logits = from_channels_last(logits, self.data_format)
        inputs, logits = at_least_float32(inputs), at_least_float32(logits)
        weights = softmax(logits, self.spatial_axes)
        context = ops.sum(inputs * weights, axis=self.spatial_axes)
        return ops.cast(context, self.gate_dtype), ops.cast(weights, self.gate_dtype)

    def _apply(self, transform, context):
        reduce, norm, expand = transform
        values = expand(ops.relu(norm(reduce(context))))
        return per_channel(values, self.channels, self.data_format, self.rank)

    def products(self, input_shape):
        return [(1, self.positions(input_shape), self.channels)]

    def get_config(self):
        return {**super().get_config(), "ratio": self.ratio, "fusion": self.fusion}


@register_attention("gc_block", layer=GlobalContext)
def gc_block(
    x: keras.KerasTensor, ratio: int = 4, name: str | None = None, **options: Any
) -> keras.KerasTensor:
    """Applies `GlobalContext` (the block of GCNet) to a feature map.

    Args:
        x: Keras tensor, a feature map `(batch, height, width, channels)`, a sequence or a volume.
        ratio: int, reduction of the transform's hidden layer. Defaults to 4; the authors have 4
            and 16.
        name: string, the layer's name.
        **options: the further options of `GlobalContext`, such as `fusion="mul"`.

    Returns:
        A Keras tensor of the shape of `x`.

    Raises:
        ValueError: `ratio` below 1, an unknown option, an input that is not of rank 3, 4 or 5.

    Example:

    >>> x = keras.layers.Conv2D(64, 3)(keras.Input((32, 32, 3)))
    >>> x = gc_block(x, ratio=8)

    Reference:

    - [GCNet](https://arxiv.org/abs/1904.11492)
    """
    return GlobalContext(ratio, name=name, **options)(x)
