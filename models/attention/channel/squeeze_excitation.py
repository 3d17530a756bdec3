"""Channel attention: a gate for every channel, from the pooled map through a shared MLP."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from ...checks import require_int
from ..base import AttentionLayer, pool, require_pools
from ..parts import bottleneck, divisible, per_channel
from ..registry import register_attention
from ..starts import CBAM_STARTS, start_named


@keras.saving.register_keras_serializable(package="attention_zoo")
class ChannelAttention(AttentionLayer):
    """The channel half of CBAM: which channels matter, for the whole map.

    The map is pooled over its positions in one or more ways, each pooled vector passes the same
    two-layer MLP, and the sigmoid of the sum multiplies the channels:
    `x * sigmoid(sum(mlp(pool(x)) for pool in pools))`.

    Args:
        ratio: int, reduction of the hidden layer: `max(1, channels // ratio)` units. Defaults to 8;
            the papers use 16.
        pools: tuple of `"avg"`, `"max"`, `"lp"` (L2 norm), `"lse"` (log-sum-exp). Defaults to
            `("avg", "max")`. The paper's Table 1 compares `("avg",)`, `("max",)` and both.
        use_bias: bool, biases in the MLP. Defaults to `True`.
        start: how the gate starts. `"published"` (default): with random weights. `"half"`:
            at 0.5 everywhere. `"identity"`: at 1 everywhere, so that the layer returns its input
            until it learns; the gate is then `2 * sigmoid`, between 0 and 2.
            `"authors"`: with the random weights of CBAM's authors.
        activation: of the hidden layer. Defaults to `"relu"`, as published.
        data_format: `"channels_last"` or `"channels_first"`; defaults to Keras's setting.

    Input: `(batch, height, width, channels)`, `(batch, steps, channels)` or `(batch, depth, height,
    width, channels)` of any floating dtype; channels first with `"channels_first"`.

    Returns:
        A tensor of the input's shape; called with `return_maps=True`, also
        `{"channel": (batch, 1, 1, channels)}`.

    Raises:
        ValueError: `ratio` below 1, an unknown pool, an input that is not of rank 3, 4 or 5.

    Example:

    >>> y = ChannelAttention(ratio=16)(keras.Input((32, 32, 64)))

    Reference:

    - [CBAM](https://arxiv.org/abs/1807.06521), section 3; `ChannelGate` of the authors'
      [code](https://github.com/Jongchan/attention-module/blob/master/MODELS/cbam.py), from which
      the pools `lp` and `lse` come.
    """

    ranks = (3, 4, 5)
    divisor = 1  # of the hidden layer's units; `SE` has it as an option

    def __init__(
        self,
        ratio: int = 8,
        pools: str | Sequence[str] = ("avg", "max"),
        use_bias: bool = True,
        start: str = "published",
        activation: Any = "relu",
        data_format: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(data_format=data_format, **kwargs)
        self.activation = keras.activations.get(activation)
        self.ratio = require_int("ratio", ratio)
        self.pools = require_pools("pools", pools)
        self.use_bias = bool(use_bias)
        self.start = start
        self.starting = start_named(start, CBAM_STARTS)

    def build(self, input_shape):
        super().build(input_shape)
        self.reduce, self.expand = bottleneck(
            self,
            self.channels,
            self._hidden(),
            self.gate_policy,
            self.use_bias,
            self.starting,
            self.activation,
        )

    def _hidden(self):
        """The units of the hidden layer."""
        if self.divisor == 1:
            return max(1, self.channels // self.ratio)
        return divisible(self.channels / self.ratio, self.divisor)

    def attend(self, inputs, training=None):
        pooled = [pool(inputs, kind, self.spatial_axes) for kind in self.pools]
        # in one tensor: in int8 each has one scale, and that of a pool of zeros alone would not run
        pooled = ops.stack([ops.reshape(p, (-1, self.channels)) for p in pooled], axis=1)
        pooled = ops.cast(pooled, self.gate_dtype)
        logits = ops.sum(self.expand(self.reduce(pooled)), axis=1)
        gate = per_channel(self.starting.gate(logits), self.channels, self.data_format, self.rank)
        return self.gated(inputs, gate), {"channel": gate}

    def get_config(self):
        return {
            **super().get_config(),
            "ratio": self.ratio,
            "pools": self.pools,
            "use_bias": self.use_bias,
            "start": self.start,
            "activation": keras.activations.serialize(self.activation),
        }


@keras.saving.register_keras_serializable(package="attention_zoo")
class SE(ChannelAttention):
    """Squeeze-and-Excitation: channel attention from the average alone.

    `x * sigmoid(expand(relu(reduce(mean(x)))))`

    Args:
        ratio: int, reduction of the hidden layer: `max(1, channels // ratio)` units. Defaults to 8;
            the paper's default is 16.
        use_bias: bool, biases in the two dense layers. Defaults to `True`, as in the paper's
            section 4 and its authors' Caffe code.
        start: how the gate starts. `"published"` (default): with random weights. `"half"`:
            at 0.5 everywhere. `"identity"`: at 1 everywhere, so that the layer returns its input
            until it learns; the gate is then `2 * sigmoid`, between 0 and 2.
            `"authors"`: with the random weights of CBAM's authors.
        activation: of the hidden layer. Defaults to `"relu"`, as published.
        divisor: int, above 1 the hidden layer has the multiple of it that is nearest to
            `channels / ratio` units, and at least `divisor`. Defaults to 1; timm has 8.
        data_format: `"channels_last"` or `"channels_first"`; defaults to Keras's setting.

    Input: `(batch, height, width, channels)`, `(batch, steps, channels)` or `(batch, depth, height,
    width, channels)` of any floating dtype; channels first with `"channels_first"`.

    Returns:
        A tensor of the input's shape; called with `return_maps=True`, also
        `{"channel": (batch, 1, 1, channels)}`.

    Raises:
        ValueError: `ratio` or `divisor` below 1, an input that is not of rank 3, 4 or 5.

    Example:

    >>> y = SE(ratio=16)(keras.Input((32, 32, 64)))

    Reference:

    - [Squeeze-and-Excitation Networks](https://arxiv.org/abs/1709.01507); the authors'
      [code](https://github.com/hujie-frank/SENet).
    - `divisor`: `SEModule` of [timm](https://github.com/huggingface/pytorch-image-models/blob/main/
      timm/layers/squeeze_excite.py).
    """

    def __init__(
        self,
        ratio: int = 8,
        use_bias: bool = True,
        start: str = "published",
        activation: Any = "relu",
        data_format: str | None = None,
        divisor: int = 1,
        **kwargs: Any,
    ) -> None:
        self._refuse_unknown(kwargs)  # `pools` too: the average is what makes it SE
        super().__init__(ratio, "avg", use_bias, start, activation, data_format, **kwargs)
        self.divisor = require_int("divisor", divisor)

    def get_config(self):
        config = {**super().get_config(), "divisor": self.divisor}
        del config["pools"]
        return config


@register_attention("channel_attention", layer=ChannelAttention)
def channel_attention(
    x: keras.KerasTensor, ratio: int = 8, name: str | None = None, **options: Any
) -> keras.KerasTensor:
    """Applies `ChannelAttention` to a feature map: `(batch, height, width, channels)` in and out.

    Args:
        x: Keras tensor, a feature map `(batch, height, width, channels)`, a sequence or a volume.
        ratio: int, reduction of the MLP's hidden layer. Defaults to 8.
        name: string, the layer's name.
        **options: the further options of `ChannelAttention`.

    Returns:
        A Keras tensor of the shape of `x`.

    Raises:
        ValueError: `ratio` below 1, an unknown pool, an unknown option, an input that is
            not of rank 3, 4 or 5.

    Example:

    >>> x = keras.layers.Conv2D(64, 3)(keras.Input((32, 32, 3)))
    >>> x = channel_attention(x, ratio=16)

    Reference:

    - [CBAM](https://arxiv.org/abs/1807.06521)
    """
    return ChannelAttention(ratio, name=name, **options)(x)


@register_attention("se_block", layer=SE)
def se_block(
    x: keras.KerasTensor, ratio: int = 8, name: str | None = None, **options: Any
) -> keras.KerasTensor:
    """Applies `SE` (Squeeze-and-Excitation) to a feature map.

    Args:
        x: Keras tensor, a feature map `(batch, height, width, channels)`, a sequence or a volume.
        ratio: int, reduction of the hidden layer. Defaults to 8; the paper's is 16.
        name: string, the layer's name.
        **options: the further options of `SE`.

    Returns:
        A Keras tensor of the shape of `x`.

    Raises:
        ValueError: `ratio` below 1, an unknown option, an input that is not of rank 3, 4 or 5.

    Example:

    >>> x = keras.layers.Conv2D(64, 3)(keras.Input((32, 32, 3)))
    >>> x = se_block(x, ratio=16)

    Reference:

    - [Squeeze-and-Excitation Networks](https://arxiv.org/abs/1709.01507)
    """
    return SE(ratio, name=name, **options)(x)
