"""Strip pooling: a gate for every value from its row's and its column's averages."""

from typing import Any

import keras
from keras import ops

from ..base import AttentionLayer, pool
from ..parts import batch_norm, conv2d, from_channels_last, to_channels_last
from ..registry import register_attention
from ..starts import start_named


@keras.saving.register_keras_serializable(package="attention_zoo")
class StripPooling(AttentionLayer):
    """The strip pooling module of SPNet, as a gate.

    The map is averaged along its rows and along its columns. Each strip passes a convolution of 3
    along the strip and a batch normalization; both are spread over the map again, added, and mixed:
    `x * sigmoid(mix(relu(norm(conv(rows)) + norm(conv(columns)))))`.

    Args:
        start: how the gate starts. `"published"` (default): with random weights. `"half"`:
            at 0.5 everywhere. `"identity"`: at 1 everywhere, so that the layer returns its input
            until it learns; the gate is then `2 * sigmoid`, between 0 and 2.
        data_format: `"channels_last"` or `"channels_first"`; defaults to Keras's setting.

    Input: `(batch, height, width, channels)` of any floating dtype; `(batch, channels, height,
    width)` with `"channels_first"`.

    Returns:
        A tensor of the input's shape; called with `return_maps=True`, also
        `{"attention": (batch, height, width, channels)}`.

    Raises:
        ValueError: an unknown option, an input that is not of rank 4.

    Example:

    >>> y = StripPooling()(keras.Input((32, 32, 64)))

    Reference:

    - [Strip Pooling: Rethinking Spatial Pooling](https://arxiv.org/abs/2003.13328), section 3.1;
      `SPBlock` of the authors' [code](https://github.com/Andrew-Qibin/SPNet). The mixed pooling
      module of that paper is not here.
    """

    def __init__(
        self, start: str = "published", data_format: str | None = None, **kwargs: Any
    ) -> None:
        super().__init__(data_format=data_format, **kwargs)
        self.start = start
        self.starting = start_named(start)

    def build(self, input_shape):
        super().build(input_shape)
        self.convs, self.norms = {}, {}
        for name, kernel_size in (("height", (3, 1)), ("width", (1, 3))):
            self.convs[name] = conv2d(
                self,
                self.channels,
                self.channels,
                kernel_size,
                f"{name}_conv",
                self.gate_policy,
                use_bias=False,
            )
            self.norms[name] = batch_norm(self, self.channels, f"{name}_norm", self.gate_policy)
        initial = {"kernel_initializer": self.starting.conv}
        self.mix = conv2d(
            self, self.channels, self.channels, 1, "mix", self.dtype_policy, **initial
        )

    def attend(self, inputs, training=None):
        x = to_channels_last(inputs, self.data_format)
        strips = sum(
            self.norms[name](
                self.convs[name](ops.cast(pool(x, "avg", axis), self.gate_dtype)),
                training=training,
            )
            for name, axis in (("height", 2), ("width", 1))
        )
        strips = ops.cast(ops.relu(strips), self.compute_dtype)
        gate = self.starting.gate(self.mix(strips))
        gate = from_channels_last(gate, self.data_format)
        return self.gated(inputs, gate), {"attention": gate}

    def get_config(self):
        return {**super().get_config(), "start": self.start}


@register_attention("strip_block", layer=StripPooling)
def strip_block(x: keras.KerasTensor, name: str | None = None, **options: Any) -> keras.KerasTensor:
    """Applies `StripPooling` (of SPNet) to a feature map.

    Args:
        x: Keras tensor of rank 4, `(batch, height, width, channels)`.
        name: string, the layer's name.
        **options: the options of `StripPooling`.

    Returns:
        A Keras tensor of the shape of `x`.

    Raises:
        ValueError: an unknown option, an input that is not of rank 4.

    Example:

    >>> x = keras.layers.Conv2D(64, 3)(keras.Input((32, 32, 3)))
    >>> x = strip_block(x)

    Reference:

    - [Strip Pooling: Rethinking Spatial Pooling](https://arxiv.org/abs/2003.13328)
    """
    return StripPooling(name=name, **options)(x)
