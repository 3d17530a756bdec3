"""Triplet attention: a gate for each pair of axes, channels being an axis like the others."""

from typing import Any

import keras
from keras import ops

from ...checks import require_int
from ..base import AttentionLayer, pool
from ..parts import batch_norm, gate_conv
from ..registry import register_attention
from ..starts import start_named

# branch -> the axes that are the rows and the columns of the map it convolves, and the axis it
# pools, in the order of the authors' code
BRANCHES = {
    "channel_width": ("channel", "width", "height"),
    "channel_height": ("height", "channel", "width"),
    "spatial": ("height", "width", "channel"),
}


@keras.saving.register_keras_serializable(package="attention_zoo")
class TripletAttention(AttentionLayer):
    """Triplet attention: three spatial gates, each over another pair of axes.

    Each branch pools one axis, by maximum and by average, convolves the two maps of the other two
    axes, normalizes, and takes the sigmoid. The map is multiplied by the average of the gates:
    `x * (gate(channel, width) + gate(height, channel) + gate(height, width)) / 3`.

    Args:
        kernel_size: int, odd, of the convolutions. Defaults to 7, as in the paper and the authors'
            code.
        no_spatial: bool, leaves out the branch over height and width. Defaults to `False`, as in
            the authors' code.
        start: how the gates start. `"published"` (default): with random weights. `"half"`:
            at 0.5 everywhere. `"identity"`: at 1 everywhere, so that the layer returns its input
            until it learns; the gates are then `2 * sigmoid`, between 0 and 2.
        data_format: `"channels_last"` or `"channels_first"`; defaults to Keras's setting.

    The batch normalizations have momentum 0.99 and epsilon 1e-5, as in the authors' code (there
    0.01, in PyTorch's convention).

    Input: `(batch, height, width, channels)` of any floating dtype; `(batch, channels, height,
    width)` with `"channels_first"`.

    Returns:
        A tensor of the input's shape; called with `return_maps=True`, also
        `{"channel_width": (batch, 1, width, channels), "channel_height": (batch, height, 1,
        channels), "spatial": (batch, height, width, 1)}`, the last one unless `no_spatial`.

    Raises:
        ValueError: an even kernel, an input that is not of rank 4.

    Example:

    >>> y = TripletAttention()(keras.Input((32, 32, 64)))

    Reference:

    - [Rotate to Attend: Convolutional Triplet Attention Module](https://arxiv.org/abs/2010.03045);
      the authors'
      [code](https://github.com/landskape-ai/triplet-attention/blob/master/triplet_attention.py).
    """

    def __init__(
        self,
        kernel_size: int = 7,
        no_spatial: bool = False,
        start: str = "published",
        data_format: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(data_format=data_format, **kwargs)
        self.kernel_size = require_int("kernel_size", kernel_size, odd=True)
        self.no_spatial = bool(no_spatial)
        self.start = start
        self.starting = start_named(start)

    def build(self, input_shape):
        super().build(input_shape)
        self.convs, self.norms = {}, {}
        for branch in BRANCHES:
            if branch == "spatial" and self.no_spatial:
                continue
            self.convs[branch] = gate_conv(
                self, 2, self.kernel_size, f"{branch}_conv", self.gate_policy
            )
            # momentum 0.01 in PyTorch's convention
            self.norms[branch] = batch_norm(
                self,
                1,
                f"{branch}_norm",
                self.gate_policy,
                self.starting.gamma,
                momentum=0.99,
            )

    def attend(self, inputs, training=None):
        maps = {branch: self._gate(branch, inputs, training) for branch in self.convs}
        return self.gated(inputs, sum(maps.values()) / len(maps)), maps

    def _gate(self, branch, inputs, training):
        axes = dict(zip(("height", "width"), self.spatial_axes, strict=True))
        axes["channel"] = self.channel_axis % 4
        rows, columns, pooled = (axes[name] for name in BRANCHES[branch])
        values = [ops.squeeze(pool(inputs, kind, pooled), pooled) for kind in ("max", "avg")]
        values = ops.cast(ops.stack(values, axis=-1), self.gate_dtype)
        # the kernel is not symmetric: its rows and columns mean the same in both data formats
        if rows > columns:
            values = ops.transpose(values, (0, 2, 1, 3))
        logits = self.norms[branch](self.convs[branch](values), training=training)
        gate = ops.squeeze(self.starting.gate(logits), -1)
        if rows > columns:
            gate = ops.transpose(gate, (0, 2, 1))
        return ops.expand_dims(gate, pooled)

    def get_config(self):
        return {
            **super().get_config(),
            "kernel_size": self.kernel_size,
            "no_spatial": self.no_spatial,
            "start": self.start,
        }


@register_attention("triplet_block", layer=TripletAttention)
def triplet_block(
    x: keras.KerasTensor, kernel_size: int = 7, name: str | None = None, **options: Any
) -> keras.KerasTensor:
    """Applies `TripletAttention` to a feature map.

    Args:
        x: Keras tensor of rank 4, `(batch, height, width, channels)`.
        kernel_size: int, odd, of the convolutions. Defaults to 7, as in the paper.
        name: string, the layer's name.
        **options: the further options of `TripletAttention`, such as `no_spatial=True`.

    Returns:
        A Keras tensor of the shape of `x`.

    Raises:
        ValueError: an even kernel, an unknown option, an input that is not of rank 4.

    Example:

    >>> x = keras.layers.Conv2D(64, 3)(keras.Input((32, 32, 3)))
    >>> x = triplet_block(x)

    Reference:

    - [Rotate to Attend: Convolutional Triplet Attention Module](https://arxiv.org/abs/2010.03045)
    """
    return TripletAttention(kernel_size, name=name, **options)(x)
