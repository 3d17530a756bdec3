"""Gated channel transformation: channels compete or cooperate, by how large they are."""

from typing import Any

import keras
from keras import ops

from ...checks import require_number, require_one_of
from ..base import AttentionLayer
from ..parts import at_least_float32, per_channel
from ..registry import register_attention


@keras.saving.register_keras_serializable(package="attention_zoo")
class GatedChannelTransform(AttentionLayer):
    """Gated Channel Transformation: a gate for each channel, from its norm among all norms.

    The norm of each channel over the map, scaled, is an embedding; the embeddings are normalized
    among the channels, and a gate around one is made of them: with `e = alpha * norm(x)` and
    `n = e / sqrt(mean(e ** 2))`, `x * (1 + tanh(gamma * n + beta))`. All three weights have a
    number for each channel. At first `gamma` and `beta` are zero and the layer is the identity;
    `alpha` learns from the second step on.

    The literature calls it GCT, as it calls another module. Here `GCT` and `gct_block` are that
    other one, the Gaussian Context Transformer of 2021.

    Args:
        norm: `"l2"` (default, as in the paper) or `"l1"`. With `"l1"`, the sum of absolute values,
            `n` is `e / mean(abs(e))`.
        epsilon: number above 0, is added under the roots. Defaults to 1e-5, as in the authors'
            code.
        data_format: `"channels_last"` or `"channels_first"`; defaults to Keras's setting.

    Input: `(batch, height, width, channels)` of any floating dtype; `(batch, channels, height,
    width)` with `"channels_first"`.

    Returns:
        A tensor of the input's shape; called with `return_maps=True`, also
        `{"channel": (batch, 1, 1, channels)}`, between 0 and 2.

    Raises:
        ValueError: an unknown norm, an `epsilon` that is not above 0, an input that is not of rank
            4.

    Example:

    >>> y = GatedChannelTransform()(keras.Input((32, 32, 64)))

    Reference:

    - [Gated Channel Transformation for Visual Recognition](https://arxiv.org/abs/1909.11519); the
      authors' [code](https://github.com/z-x-yang/GCT).
    """

    has_kernels = False

    def __init__(
        self,
        norm: str = "l2",
        epsilon: float = 1e-5,
        data_format: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(data_format=data_format, **kwargs)
        self.norm = require_one_of("norm", norm, ("l2", "l1"))
        self.epsilon = require_number("epsilon", epsilon)

    def build(self, input_shape):
        super().build(input_shape)
        # not cast to half precision, as they are applied to norms in float32
        shared = {"shape": (self.channels,), "autocast": False}
        self.alpha = self.add_weight(name="alpha", initializer="ones", **shared)
        self.gamma = self.add_weight(name="gamma", initializer="zeros", **shared)
        self.beta = self.add_weight(name="beta", initializer="zeros", **shared)

    def attend(self, inputs, training=None):
        x = at_least_float32(inputs)
        alpha, gamma, beta = (
            ops.cast(weight, x.dtype) for weight in (self.alpha, self.gamma, self.beta)
        )
        embedding = self._norm(x) * alpha
        gate = 1 + ops.tanh(gamma * self._normalized(embedding) + beta)
        gate = per_channel(gate, self.channels, self.data_format)
        gate = ops.cast(gate, self.gate_dtype)
        return self.gated(inputs, gate), {"channel": gate}

    def _norm(self, x):
        if self.norm == "l1":
            return ops.sum(ops.abs(x), axis=self.spatial_axes)
        return ops.sqrt(ops.sum(ops.square(x), axis=self.spatial_axes) + self.epsilon)

    def _normalized(self, embedding):
        if self.norm == "l1":
            mean = ops.mean(ops.abs(embedding), axis=-1, keepdims=True)
            return embedding / (mean + self.epsilon)
        mean = ops.mean(ops.square(embedding), axis=-1, keepdims=True)
        return embedding / ops.sqrt(mean + self.epsilon)

    def get_config(self):
        return {**super().get_config(), "norm": self.norm, "epsilon": self.epsilon}


@register_attention("gated_transform_block", layer=GatedChannelTransform)
def gated_transform_block(
    x: keras.KerasTensor, norm: str = "l2", name: str | None = None, **options: Any
) -> keras.KerasTensor:
    """Applies `GatedChannelTransform` to a feature map.

    `gct_block` is another module, the Gaussian Context Transformer.

    Args:
        x: Keras tensor of rank 4, `(batch, height, width, channels)`.
        norm: `"l2"` (default, as in the paper) or `"l1"`.
        name: string, the layer's name.
        **options: the further options of `GatedChannelTransform`: `epsilon`.

    Returns:
        A Keras tensor of the shape of `x`.

    Raises:
        ValueError: an unknown norm, an unknown option, an input that is not of rank 4.

    Example:

    >>> x = keras.layers.Conv2D(64, 3)(keras.Input((32, 32, 3)))
    >>> x = gated_transform_block(x)

    Reference:

    - [Gated Channel Transformation for Visual Recognition](https://arxiv.org/abs/1909.11519)
    """
    return GatedChannelTransform(norm, name=name, **options)(x)
