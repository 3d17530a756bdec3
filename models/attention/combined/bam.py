"""BAM: channel and spatial attention side by side, merged to one gate for every value."""

from typing import Any

import keras
from keras import ops

from ...checks import require_int, require_one_of
from ..base import AttentionLayer, pool
from ..parts import batch_norm, conv2d, dense, from_channels_last, per_channel, to_channels_last
from ..registry import register_attention
from ..starts import PUBLISHED, start_named


@keras.saving.register_keras_serializable(package="attention_zoo")
class BAM(AttentionLayer):
    """Bottleneck Attention Module: a gate for every channel at every position.

    `x * (1 + sigmoid(channel(x) * spatial(x)))`, or with `combine="sum"`, as in the paper,
    `x * (1 + sigmoid(channel(x) + spatial(x)))`.

    - `channel`: the average over the map through an MLP whose hidden layers are batch-normalized.
    - `spatial`: a 1x1 convolution to few channels, dilated 3x3 convolutions, each with batch
      normalization and ReLU, and a 1x1 convolution to one channel.

    Batch normalization follows the hidden layers of both branches, as in the authors' code. In the
    paper's equations it follows the last layers.

    Args:
        ratio: int, reduction of the hidden layers: `max(1, channels // ratio)` channels. Defaults
            to 16, as in the paper and the authors' code.
        dilation: int, of the 3x3 convolutions. Defaults to 4, as in the paper and the code.
        dilated_convs: int, number of the 3x3 convolutions. Defaults to 2, as in the paper and the
            code (there `dilation_conv_num`).
        num_layers: int, hidden layers of the channel branch's MLP. Defaults to 1, as in the paper
            and the code.
        combine: how the outputs of both branches are combined before the sigmoid: `"product"`
            (default), as in the authors' code, or `"sum"`, as in equation 2 of the paper.
        start: how the gate starts. `"published"` (default): with random weights. `"half"`:
            at 0.5 everywhere, so that the layer multiplies by 1.5. `"identity"`: at 1 everywhere,
            so that the layer returns its input until it learns; the gate is then
            `2 * sigmoid`, between 0 and 2, in the place of `1 + sigmoid`.
        data_format: `"channels_last"` or `"channels_first"`; defaults to Keras's setting.

    The batch normalizations have momentum 0.9 and epsilon 1e-5, PyTorch's defaults. Those of the
    channel branch normalize the pooled vectors of a batch, so training needs more than one image
    per batch.

    Input: `(batch, height, width, channels)` of any floating dtype; `(batch, channels, height,
    width)` with `"channels_first"`.

    Returns:
        A tensor of the input's shape; called with `return_maps=True`, also
        `{"attention": (batch, height, width, channels)}`, the sigmoid, with `start="identity"`
        twice the sigmoid.

    Raises:
        ValueError: a number below 1, an unknown `combine`, an input that is not of rank 4.

    Example:

    >>> y = BAM()(keras.Input((32, 32, 64)))
    >>> y = BAM(ratio=8, combine="sum")(keras.Input((32, 32, 64)))

    Reference:

    - [BAM: Bottleneck Attention Module](https://arxiv.org/abs/1807.06514); the authors'
      [code](https://github.com/Jongchan/attention-module/blob/master/MODELS/bam.py).
    """

    def __init__(
        self,
        ratio: int = 16,
        dilation: int = 4,
        dilated_convs: int = 2,
        num_layers: int = 1,
        combine: str = "product",
        data_format: str | None = None,
        start: str = "published",
        **kwargs: Any,
    ) -> None:
        super().__init__(data_format=data_format, **kwargs)
        self.ratio = require_int("ratio", ratio)
        self.dilation = require_int("dilation", dilation)
        self.dilated_convs = require_int("dilated_convs", dilated_convs)
        self.num_layers = require_int("num_layers", num_layers)
        self.combine = require_one_of("combine", combine, ("product", "sum"))
        self.start = start
        self.starting = start_named(start)

    def build(self, input_shape):
        super().build(input_shape)
        hidden = max(1, self.channels // self.ratio)
        self._build_channel(hidden)
        self._build_spatial(hidden)

    def _build_channel(self, hidden):
        self.channel_hidden, self.channel_norms = [], []
        width = self.channels
        for number in range(self.num_layers):
            self.channel_hidden.append(
                dense(self, width, hidden, f"channel_hidden{number}", self.gate_policy)
            )
            self.channel_norms.append(
                batch_norm(self, hidden, f"channel_norm{number}", self.gate_policy, rank=2)
            )
            width = hidden
        self.channel_out = dense(
            self,
            hidden,
            self.channels,
            "channel_out",
            self.gate_policy,
            kernel_initializer=self.starting.dense,
        )

    def _build_spatial(self, hidden):
        names = ["reduce", *(f"dilated{number}" for number in range(self.dilated_convs))]
        self.spatial_hidden, self.spatial_norms = [], []
        width = self.channels
        for name in names:
            kernel_size, dilation = (1, 1) if name == "reduce" else (3, self.dilation)
            self.spatial_hidden.append(
                conv2d(
                    self,
                    width,
                    hidden,
                    kernel_size,
                    f"spatial_{name}",
                    self.dtype_policy,
                    dilation_rate=dilation,
                )
            )
            self.spatial_norms.append(
                batch_norm(self, hidden, f"spatial_{name}_norm", self.dtype_policy)
            )
            width = hidden
        # of a product one factor starts at zero: with both, neither would have a gradient
        start = self.starting if self.combine == "sum" else PUBLISHED
        self.spatial_out = conv2d(
            self, hidden, 1, 1, "spatial_out", self.gate_policy, kernel_initializer=start.conv
        )

    def attend(self, inputs, training=None):
        channel = self._channel_logits(inputs, training)
        spatial = self._spatial_logits(inputs, training)
        logits = channel * spatial if self.combine == "product" else channel + spatial
        gate = self.starting.gate(logits)
        factor = gate if self.start == "identity" else 1 + gate
        return self.gated(inputs, factor), {"attention": gate}

    def _channel_logits(self, inputs, training):
        values = ops.reshape(pool(inputs, "avg", self.spatial_axes), (-1, self.channels))
        values = ops.cast(values, self.gate_dtype)
        for hidden, norm in zip(self.channel_hidden, self.channel_norms, strict=True):
            values = ops.relu(norm(hidden(values), training=training))
        return per_channel(self.channel_out(values), self.channels, self.data_format)

    def _spatial_logits(self, inputs, training):
        values = to_channels_last(inputs, self.data_format)
        for conv, norm in zip(self.spatial_hidden, self.spatial_norms, strict=True):
            values = ops.relu(norm(conv(values), training=training))
        return from_channels_last(self.spatial_out(values), self.data_format)

    def get_config(self):
        return {
            **super().get_config(),
            "ratio": self.ratio,
            "dilation": self.dilation,
            "dilated_convs": self.dilated_convs,
            "num_layers": self.num_layers,
            "combine": self.combine,
            "start": self.start,
        }


@register_attention("bam_block", layer=BAM)
def bam_block(
    x: keras.KerasTensor,
    ratio: int = 16,
    dilation: int = 4,
    name: str | None = None,
    **options: Any,
) -> keras.KerasTensor:
    """Applies `BAM` (Bottleneck Attention Module) to a feature map.

    Args:
        x: Keras tensor of rank 4, `(batch, height, width, channels)`.
        ratio: int, reduction of the hidden layers. Defaults to 16, as in the paper.
        dilation: int, of the 3x3 convolutions. Defaults to 4, as in the paper.
        name: string, the layer's name.
        **options: the further options of `BAM`, such as `combine="sum"`.

    Returns:
        A Keras tensor of the shape of `x`.

    Raises:
        ValueError: a number below 1, an unknown option, an input that is not of rank 4.

    Example:

    >>> x = keras.layers.Conv2D(64, 3)(keras.Input((32, 32, 3)))
    >>> x = bam_block(x)

    Reference:

    - [BAM: Bottleneck Attention Module](https://arxiv.org/abs/1807.06514)
    """
    return BAM(ratio, dilation, name=name, **options)(x)
