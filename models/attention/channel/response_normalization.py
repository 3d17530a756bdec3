"""GRN: channels by their norms, relative to all norms."""

from typing import Any

import keras
from keras import ops

from ...checks import require_number
from ..base import AttentionLayer, pool
from ..parts import at_least_float32, per_channel
from ..registry import register_attention


@keras.saving.register_keras_serializable(package="attention_zoo")
class GRN(AttentionLayer):
    """Global Response Normalization (of ConvNeXt V2): channels that compete by their norms.

    With the norm of each channel over the map, `g = norm(x)`, and `n = g / (mean(g) + epsilon)`,
    the mean over the channels, `x + gamma * n * x + beta`. `gamma` and `beta` have a number for
    each channel and start at zero, as published: at first the layer is the identity.

    Args:
        epsilon: number above 0. Defaults to 1e-6, as in the authors' code.
        data_format: `"channels_last"` or `"channels_first"`; defaults to Keras's setting.

    Input: `(batch, height, width, channels)` of any floating dtype; `(batch, channels, height,
    width)` with `"channels_first"`.

    Returns:
        A tensor of the input's shape; called with `return_maps=True`, also
        `{"channel": (batch, 1, 1, channels)}`, the factor `1 + gamma * n`.

    Raises:
        ValueError: an `epsilon` that is not above 0, an input that is not of rank 4.

    Example:

    >>> y = GRN()(keras.Input((32, 32, 64)))

    Reference:

    - [ConvNeXt V2](https://arxiv.org/abs/2301.00808), section 3.3; the authors'
      [code](https://github.com/facebookresearch/ConvNeXt-V2/blob/main/models/utils.py).
    """

    has_kernels = False

    def __init__(
        self, epsilon: float = 1e-6, data_format: str | None = None, **kwargs: Any
    ) -> None:
        super().__init__(data_format=data_format, **kwargs)
        self.epsilon = require_number("epsilon", epsilon)

    def build(self, input_shape):
        super().build(input_shape)
        shared = {"shape": (self.channels,), "initializer": "zeros", "autocast": False}
        self.gamma = self.add_weight(name="gamma", **shared)
        self.beta = self.add_weight(name="beta", **shared)

    def attend(self, inputs, training=None):
        x = at_least_float32(inputs)
        gamma, beta = (ops.cast(weight, x.dtype) for weight in (self.gamma, self.beta))
        norms = ops.reshape(pool(x, "lp", self.spatial_axes), (-1, self.channels))
        norms = norms / (ops.mean(norms, axis=-1, keepdims=True) + self.epsilon)
        factor, beta = (
            ops.cast(per_channel(values, self.channels, self.data_format), self.compute_dtype)
            for values in (1 + gamma * norms, beta)
        )
        return self.gated(inputs, factor) + beta, {"channel": factor}

    def get_config(self):
        return {**super().get_config(), "epsilon": self.epsilon}


@register_attention("grn_block", layer=GRN)
def grn_block(
    x: keras.KerasTensor, epsilon: float = 1e-6, name: str | None = None, **options: Any
) -> keras.KerasTensor:
    """Applies `GRN` (Global Response Normalization) to a feature map.

    Args:
        x: Keras tensor of rank 4, `(batch, height, width, channels)`.
        epsilon: number above 0. Defaults to 1e-6, as in the authors' code.
        name: string, the layer's name.
        **options: the further options of `GRN`.

    Returns:
        A Keras tensor of the shape of `x`.

    Raises:
        ValueError: an `epsilon` that is not above 0, an unknown option, an input that is not of
            rank 4.

    Example:

    >>> x = keras.layers.Conv2D(64, 3)(keras.Input((32, 32, 3)))
    >>> x = grn_block(x)

    Reference:

    - [ConvNeXt V2](https://arxiv.org/abs/2301.00808)
    """
    return GRN(epsilon, name=name, **options)(x)
