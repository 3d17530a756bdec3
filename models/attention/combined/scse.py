"""scSE: squeeze in space and excite channels, squeeze channels and excite in space, or both."""

from typing import Any

import keras
from keras import ops

from ...checks import require_one_of
from ..base import AttentionLayer
from ..channel.squeeze_excitation import SE
from ..parts import conv, from_channels_last, to_channels_last
from ..registry import register_attention
from ..starts import start_named


@keras.saving.register_keras_serializable(package="attention_zoo")
class CSE(SE):
    """Spatial squeeze and channel excitation: `SE` with the defaults of the scSE papers.

    `x * sigmoid(expand(relu(reduce(mean(x)))))`

    Args:
        ratio: int, reduction of the hidden layer: `max(1, channels // ratio)` units. Defaults to 2,
            as in the papers and the authors' code.
        use_bias: bool, biases in the two dense layers. Defaults to `True`, as in the authors' code.
        start: how the gate starts. `"published"` (default): with random weights. `"half"`:
            at 0.5 everywhere. `"identity"`: at 1 everywhere, so that the layer returns its input
            until it learns; the gate is then `2 * sigmoid`, between 0 and 2.
            `"authors"`: with the random weights of CBAM's authors.
        activation: of the hidden layer. Defaults to `"relu"`, as published.
        divisor: int, as in `SE`. Defaults to 1.
        data_format: `"channels_last"` or `"channels_first"`; defaults to Keras's setting.

    Input: `(batch, height, width, channels)`, `(batch, steps, channels)` or `(batch, depth, height,
    width, channels)` of any floating dtype; channels first with `"channels_first"`.

    Returns:
        A tensor of the input's shape; called with `return_maps=True`, also
        `{"channel": (batch, 1, 1, channels)}`.

    Raises:
        ValueError: `ratio` or `divisor` below 1, an input that is not of rank 3, 4 or 5.

    Example:

    >>> y = CSE()(keras.Input((32, 32, 64)))

    Reference:

    - [Concurrent Spatial and Channel Squeeze & Excitation](https://arxiv.org/abs/1803.02579); the
      authors' [code](https://github.com/ai-med/squeeze_and_excitation).
    """

    def __init__(
        self,
        ratio: int = 2,
        use_bias: bool = True,
        start: str = "published",
        activation: Any = "relu",
        data_format: str | None = None,
        divisor: int = 1,
        **kwargs: Any,
    ) -> None:
        super().__init__(ratio, use_bias, start, activation, data_format, divisor, **kwargs)


@keras.saving.register_keras_serializable(package="attention_zoo")
class SSE(AttentionLayer):
    """Channel squeeze and spatial excitation: a gate for every position.

    `x * sigmoid(conv(x))` with a 1x1 convolution to one channel.

    Args:
        use_bias: bool, a bias in the convolution. Defaults to `True`, as in the authors' code; the
            papers' formula has none.
        start: how the gate starts. `"published"` (default): with random weights. `"half"`:
            at 0.5 everywhere. `"identity"`: at 1 everywhere, so that the layer returns its input
            until it learns; the gate is then `2 * sigmoid`, between 0 and 2.
        data_format: `"channels_last"` or `"channels_first"`; defaults to Keras's setting.

    Input: `(batch, height, width, channels)`, `(batch, steps, channels)` or `(batch, depth, height,
    width, channels)` of any floating dtype; channels first with `"channels_first"`.

    Returns:
        A tensor of the input's shape; called with `return_maps=True`, also
        `{"spatial": (batch, height, width, 1)}`.

    Raises:
        ValueError: an input that is not of rank 3, 4 or 5.

    Example:

    >>> y = SSE()(keras.Input((32, 32, 64)))

    Reference:

    - [Concurrent Spatial and Channel Squeeze & Excitation](https://arxiv.org/abs/1803.02579); the
      authors' [code](https://github.com/ai-med/squeeze_and_excitation).
    """

    ranks = (3, 4, 5)

    def __init__(
        self,
        use_bias: bool = True,
        start: str = "published",
        data_format: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(data_format=data_format, **kwargs)
        self.use_bias = bool(use_bias)
        self.start = start
        self.starting = start_named(start)

    def build(self, input_shape):
        super().build(input_shape)
        self.conv = conv(
            self,
            self.channels,
            1,
            1,
            "conv",
            self.dtype_policy,
            self.rank,
            use_bias=self.use_bias,
            kernel_initializer=self.starting.conv,
        )

    def attend(self, inputs, training=None):
        logits = self.conv(to_channels_last(inputs, self.data_format))
        gate = self.starting.gate(ops.cast(logits, self.gate_dtype))
        gate = from_channels_last(gate, self.data_format)
        return self.gated(inputs, gate), {"spatial": gate}

    def get_config(self):
        return {**super().get_config(), "use_bias": self.use_bias, "start": self.start}


@keras.saving.register_keras_serializable(package="attention_zoo")
class SCSE(AttentionLayer):
    """Concurrent spatial and channel squeeze and excitation: both halves on the same map.

    `maximum(CSE(x), SSE(x))`, or with `combine="add"` `CSE(x) + SSE(x)`.

    Args:
        ratio: int, reduction of the hidden layer of `CSE`. Defaults to 2, as in the papers and the
            authors' code.
        combine: `"max"` (default), value by value the larger of both, as in the authors' code and
            among the variants of the second paper; or `"add"`, as in the first paper.
        use_bias: bool, biases in both halves. Defaults to `True`, as in the authors' code.
        start: `"published"` (default), `"half"` or `"identity"`, as in `SSE`. With
            `combine="add"`, `"identity"` has both gates at 0.5, and their sum at 1.
        activation: of the hidden layer of `CSE`. Defaults to `"relu"`, as published.
        data_format: `"channels_last"` or `"channels_first"`; defaults to Keras's setting.

    Input: `(batch, height, width, channels)`, `(batch, steps, channels)` or `(batch, depth, height,
    width, channels)` of any floating dtype; channels first with `"channels_first"`.

    Returns:
        A tensor of the input's shape; called with `return_maps=True`, also
        `{"channel": (batch, 1, 1, channels), "spatial": (batch, height, width, 1)}`.

    Raises:
        ValueError: `ratio` below 1, an unknown `combine`, an input that is not of rank 3, 4 or 5.

    Example:

    >>> y = SCSE()(keras.Input((32, 32, 64)))
    >>> y = SCSE(ratio=16, combine="add")(keras.Input((32, 32, 64)))

    Reference:

    - [Concurrent Spatial and Channel Squeeze & Excitation](https://arxiv.org/abs/1803.02579), and
      [Recalibrating Fully Convolutional Networks](https://arxiv.org/abs/1808.08127); the authors'
      [code](https://github.com/ai-med/squeeze_and_excitation).
    """

    ranks = (3, 4, 5)

    def __init__(
        self,
        ratio: int = 2,
        combine: str = "max",
        use_bias: bool = True,
        start: str = "published",
        activation: Any = "relu",
        data_format: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(data_format=data_format, **kwargs)
        self.combine = require_one_of("combine", combine, ("max", "add"))
        self.start = start
        of_each = "half" if (combine, start) == ("add", "identity") else start
        self.channel = CSE(
            ratio, use_bias, of_each, activation, name="channel", **self.options_of_parts
        )
        self.spatial = SSE(use_bias, of_each, name="spatial", **self.options_of_parts)

    def build(self, input_shape):
        super().build(input_shape)
        self.channel.build(input_shape)
        self.spatial.build(input_shape)

    def attend(self, inputs, training=None):
        channel, maps = self.channel(inputs, return_maps=True)
        spatial, more = self.spatial(inputs, return_maps=True)
        outputs = self._larger(channel, spatial) if self.combine == "max" else channel + spatial
        return outputs, {**maps, **more}

    def _larger(self, channel, spatial):
        if self.compute_dtype == "float64":  # which `ops.maximum` makes float32 on PyTorch
            return ops.max(ops.stack([channel, spatial]), axis=0)
        return ops.maximum(channel, spatial)

    def get_config(self):
        return {
            **super().get_config(),
            "ratio": self.channel.ratio,
            "combine": self.combine,
            "use_bias": self.channel.use_bias,
            "start": self.start,
            "activation": keras.activations.serialize(self.channel.activation),
        }


@register_attention("cse_block", layer=CSE)
def cse_block(
    x: keras.KerasTensor, ratio: int = 2, name: str | None = None, **options: Any
) -> keras.KerasTensor:
    """Applies `CSE` to a feature map: `(batch, height, width, channels)` in and out.

    Args:
        x: Keras tensor, a feature map `(batch, height, width, channels)`, a sequence or a volume.
        ratio: int, reduction of the hidden layer. Defaults to 2, as in the papers.
        name: string, the layer's name.
        **options: the further options of `CSE`.

    Returns:
        A Keras tensor of the shape of `x`.

    Raises:
        ValueError: `ratio` below 1, an unknown option, an input that is not of rank 3, 4 or 5.

    Example:

    >>> x = keras.layers.Conv2D(64, 3)(keras.Input((32, 32, 3)))
    >>> x = cse_block(x)

    Reference:

    - [Concurrent Spatial and Channel Squeeze & Excitation](https://arxiv.org/abs/1803.02579)
    """
    return CSE(ratio, name=name, **options)(x)


@register_attention("sse_block", layer=SSE)
def sse_block(x: keras.KerasTensor, name: str | None = None, **options: Any) -> keras.KerasTensor:
    """Applies `SSE` to a feature map: `(batch, height, width, channels)` in and out.

    Args:
        x: Keras tensor, a feature map `(batch, height, width, channels)`, a sequence or a volume.
        name: string, the layer's name.
        **options: the options of `SSE`.

    Returns:
        A Keras tensor of the shape of `x`.

    Raises:
        ValueError: an unknown option, an input that is not of rank 3, 4 or 5.

    Example:

    >>> x = keras.layers.Conv2D(64, 3)(keras.Input((32, 32, 3)))
    >>> x = sse_block(x)

    Reference:

    - [Concurrent Spatial and Channel Squeeze & Excitation](https://arxiv.org/abs/1803.02579)
    """
    return SSE(name=name, **options)(x)


@register_attention("scse_block", layer=SCSE)
def scse_block(
    x: keras.KerasTensor,
    ratio: int = 2,
    combine: str = "max",
    name: str | None = None,
    **options: Any,
) -> keras.KerasTensor:
    """Applies `SCSE` (concurrent spatial and channel squeeze and excitation) to a feature map.

    Args:
        x: Keras tensor, a feature map `(batch, height, width, channels)`, a sequence or a volume.
        ratio: int, reduction of the hidden layer of the channel half. Defaults to 2, as in the
            papers.
        combine: `"max"` (default, the authors' code) or `"add"` (the first paper).
        name: string, the layer's name.
        **options: the further options of `SCSE`.

    Returns:
        A Keras tensor of the shape of `x`.

    Raises:
        ValueError: `ratio` below 1, an unknown option, an input that is not of rank 3, 4 or 5.

    Example:

    >>> x = keras.layers.Conv2D(64, 3)(keras.Input((32, 32, 3)))
    >>> x = scse_block(x, combine="add")

    Reference:

    - [Concurrent Spatial and Channel Squeeze & Excitation](https://arxiv.org/abs/1803.02579)
    """
    return SCSE(ratio, combine, name=name, **options)(x)
