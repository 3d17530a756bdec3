"""SimAM: attention without parameters, from how much a value stands out in its channel."""

import math
from typing import Any

import keras
from keras import ops

from ...checks import require_number
from ..base import AttentionLayer, pool
from ..parts import at_least_float32
from ..registry import register_attention


@keras.saving.register_keras_serializable(package="attention_zoo")
class SimAM(AttentionLayer):
    """Simple attention module: the further from its channel's mean, the more a value counts.

    `x * sigmoid(d / (4 * (v + e_lambda)) + 0.5)` with `d = (x - mean(x)) ** 2` and the variance
    `v = sum(d) / (height * width - 1)`, mean and sum over the positions of each channel. It has no
    parameters.

    On a map of one position the variance is undefined, and the authors' code gives NaN. Here the
    divisor is at least 1: the gate is then `sigmoid(0.5)`, as on every constant map.

    Args:
        e_lambda: number above 0, the regularization. Defaults to 1e-4, as in the paper on CIFAR
            and the authors' code; on ImageNet they use 0.1.
        data_format: `"channels_last"` or `"channels_first"`; defaults to Keras's setting.

    Input: `(batch, height, width, channels)`, `(batch, steps, channels)` or `(batch, depth, height,
    width, channels)` of any floating dtype; channels first with `"channels_first"`.

    Returns:
        A tensor of the input's shape; called with `return_maps=True`, also
        `{"attention": (batch, height, width, channels)}`.

    Raises:
        ValueError: an `e_lambda` that is not above 0, an input that is not of rank 3, 4 or 5.

    Example:

    >>> y = SimAM()(keras.Input((32, 32, 64)))

    Reference:

    - [SimAM: A Simple, Parameter-Free Attention Module](https://proceedings.mlr.press/v139/yang21o)
      (ICML 2021); the authors' [code](https://github.com/ZjjConan/SimAM).
    """

    ranks = (3, 4, 5)
    has_kernels = False

    def __init__(
        self, e_lambda: float = 1e-4, data_format: str | None = None, **kwargs: Any
    ) -> None:
        super().__init__(data_format=data_format, **kwargs)
        self.e_lambda = require_number("e_lambda", e_lambda)

    def attend(self, inputs, training=None):
        x = at_least_float32(inputs)
        squares = ops.square(x - pool(x, "avg", self.spatial_axes))
        positions = math.prod(ops.shape(x)[axis] for axis in self.spatial_axes)
        others = ops.cast(ops.maximum(positions - 1, 1), x.dtype)
        variance = ops.sum(squares, axis=self.spatial_axes, keepdims=True) / others
        gate = ops.sigmoid(squares / (4 * (variance + self.e_lambda)) + 0.5)
        gate = ops.cast(gate, self.compute_dtype)
        return self.gated(inputs, gate), {"attention": gate}

    def get_config(self):
        return {**super().get_config(), "e_lambda": self.e_lambda}


@register_attention("simam_block", layer=SimAM)
def simam_block(
    x: keras.KerasTensor, e_lambda: float = 1e-4, name: str | None = None, **options: Any
) -> keras.KerasTensor:
    """Applies `SimAM` to a feature map.

    Args:
        x: Keras tensor, a feature map `(batch, height, width, channels)`, a sequence or a volume.
        e_lambda: number above 0, the regularization. Defaults to 1e-4, as in the authors' code.
        name: string, the layer's name.
        **options: the further options of `SimAM`.

    Returns:
        A Keras tensor of the shape of `x`.

    Raises:
        ValueError: an `e_lambda` that is not above 0, an unknown option, an input that is not of
            rank 3, 4 or 5.

    Example:

    >>> x = keras.layers.Conv2D(64, 3)(keras.Input((32, 32, 3)))
    >>> x = simam_block(x)

    Reference:

    - [SimAM: A Simple, Parameter-Free Attention Module](https://proceedings.mlr.press/v139/yang21o)
    """
    return SimAM(e_lambda, name=name, **options)(x)
