"""Gather and excite: a gate for every channel and region, from the region's neighborhood."""

from typing import Any

import keras
from keras import ops

from ...checks import require_int, require_one_of
from ..base import AttentionLayer, pool
from ..parts import (
    at_least_float32,
    batch_norm,
    conv2d,
    depthwise_conv2d,
    from_channels_last,
    to_channels_last,
)
from ..registry import register_attention
from ..starts import start_named

EXTENTS = (0, 2, 4, 8)


@keras.saving.register_keras_serializable(package="attention_zoo")
class GE(AttentionLayer):
    """Gather-Excite: each channel is gated by its own values in a larger neighborhood.

    Each channel is gathered to one `extent`-th of its size, passes a sigmoid, and is enlarged again
    by nearest neighbors: `x * enlarge(sigmoid(gather(x)))`. Four modules of the paper are options
    of this one:

    - GE-theta-minus, the default: averages over windows of `2 * extent - 1`, without parameters.
    - GE-theta, `extra_params=True`: log2(extent) depthwise 3x3 convolutions of stride 2, each with
      batch normalization, and rectifiers between them.
    - GE-theta-plus, `extra_params=True, use_mlp=True`: a rectifier and two 1x1 convolutions before
      the sigmoid.
    - SE, `use_mlp=True` of the global extent without parameters.

    Args:
        extent: 2, 4 or 8, or 0 (default) for the whole map, one gate for every channel. With
            `extra_params`, the whole map is gathered as with 8 and then averaged; the paper's
            depthwise kernel as large as the map, 56x56 to 7x7, would tie the layer to one size.
        extra_params: bool, gather by convolutions instead of averages. Defaults to `False`.
        use_mlp: bool, two 1x1 convolutions with biases before the sigmoid. Defaults to `False`.
        ratio: int, reduction between these two: `max(1, channels // ratio)` channels. Defaults to
            16, as in the authors' models.
        start: how the gate starts. `"published"` (default): with random weights. `"half"`:
            at 0.5 everywhere. `"identity"`: at 1 everywhere, so that the layer returns its input
            until it learns; the gate is then `2 * sigmoid`, between 0 and 2. Without
            `extra_params` and `use_mlp` there are no weights to start so, and `"published"` alone
            is allowed.
        data_format: `"channels_last"` or `"channels_first"`; defaults to Keras's setting.

    Input: `(batch, height, width, channels)` of any floating dtype; `(batch, channels, height,
    width)` with `"channels_first"`.

    Returns:
        A tensor of the input's shape; called with `return_maps=True`, also `{"gate": (batch,
        height, width, channels)}`, for the whole map `(batch, 1, 1, channels)`.

    Raises:
        ValueError: another extent, `ratio` below 1, a `start` without weights, an input that is not
            of rank 4.

    Example:

    >>> y = GE()(keras.Input((32, 32, 64)))
    >>> y = GE(extent=8, extra_params=True)(keras.Input((32, 32, 64)))

    Reference:

    - [Gather-Excite](https://arxiv.org/abs/1810.12348), sections 3 and 4; the authors'
      [code](https://github.com/hujie-frank/GENet) (Caffe), which holds the models of the global
      extent. The windows of the averages, which end at the map's border, are those of
      [timm](https://github.com/huggingface/pytorch-image-models), whose module has `use_mlp`
      on unless asked otherwise. The authors' normalization has the momentum 0.95, here it is 0.9,
      and their 1x1 convolutions start from a normal distribution of deviation 0.01, here too.
    """

    def __init__(
        self,
        extent: int = 0,
        extra_params: bool = False,
        use_mlp: bool = False,
        ratio: int = 16,
        data_format: str | None = None,
        start: str = "published",
        **kwargs: Any,
    ) -> None:
        super().__init__(data_format=data_format, **kwargs)
        self.extent = int(require_one_of("extent", extent, EXTENTS))
        self.extra_params = bool(extra_params)
        self.use_mlp = bool(use_mlp)
        self.ratio = require_int("ratio", ratio)
        self.start = start
        self.starting = start_named(start)
        if start != "published" and not (self.extra_params or self.use_mlp):
            raise ValueError(
                f"GE has no weights that could start otherwise than published, received "
                f"start={start!r}; give extra_params=True or use_mlp=True"
            )

    def build(self, input_shape):
        super().build(input_shape)
        steps = (self.extent or max(EXTENTS)).bit_length() - 1 if self.extra_params else 0
        self.convs = [self._depthwise(f"conv{step}") for step in range(1, steps + 1)]
        # what comes last before the sigmoid starts as `start` has it
        last = 0 if self.use_mlp else steps
        self.norms = [
            batch_norm(
                self,
                self.channels,
                f"norm{step}",
                self.dtype_policy,
                self.starting.gamma if step == last else "ones",
            )
            for step in range(1, steps + 1)
        ]
        self.reduce: Any = None
        self.expand: Any = None
        if self.use_mlp:
            hidden = max(1, self.channels // self.ratio)
            self.reduce = self._pointwise(self.channels, hidden, "reduce")
            self.expand = self._pointwise(
                hidden, self.channels, "expand", zero=self.start != "published"
            )

    def _depthwise(self, name):
        return depthwise_conv2d(
            self,
            self.channels,
            3,
            name,
            self.dtype_policy,
            padding="valid",
            strides=2,
            use_bias=False,
        )

    def _pointwise(self, inputs, filters, name, zero=False):
        start = "zeros" if zero else keras.initializers.RandomNormal(stddev=0.01)
        return conv2d(self, inputs, filters, 1, name, self.gate_policy, kernel_initializer=start)

    def attend(self, inputs, training=None):
        x = to_channels_last(inputs, self.data_format)
        gate = self._gather(x, training)
        if self.use_mlp:
            gate = ops.relu(gate) if self.extra_params else gate
            gate = self.expand(ops.relu(self.reduce(gate)))
        gate = self.starting.gate(gate)
        if self.extent:
            height, width = ops.shape(x)[1:3]
            gate = _enlarge(_enlarge(gate, height, 1), width, 2)
        gate = from_channels_last(gate, self.data_format)
        return self.gated(inputs, gate), {"gate": gate}

    def _gather(self, x, training):
        for step, (conv, norm) in enumerate(zip(self.convs, self.norms, strict=True)):
            x = ops.relu(x) if step else x
            # one zero on either side; with padding "same" the sides would depend on the map's size
            x = norm(conv(ops.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))), training=training)
        if self.extent == 0:
            x = pool(x, "avg", (1, 2))
        elif not self.convs:
            x = _windows(x, self.extent)
        return ops.cast(x, self.gate_dtype)

    def get_config(self):
        return {
            **super().get_config(),
            "extent": self.extent,
            "extra_params": self.extra_params,
            "use_mlp": self.use_mlp,
            "ratio": self.ratio,
            "start": self.start,
        }


def _windows(x, extent):
    """Averages over windows of `2 * extent - 1` around every `extent`-th position."""

    def mean(values):
        margin = (extent - 1, extent - 1)
        values = ops.pad(values, ((0, 0), margin, margin, (0, 0)))
        return ops.average_pool(values, 2 * extent - 1, extent, data_format="channels_last")

    x = at_least_float32(x)
    # averages over the positions on the map alone: the zeros around it are divided out again
    return mean(x) / mean(ops.ones_like(x[:1, :, :, :1]))


def _enlarge(x, size, axis):
    """Enlarges a map to `size` along `axis` by nearest neighbors, as PyTorch's `interpolate`."""
    nearest = ops.arange(size, dtype="int32") * ops.shape(x)[axis] // size
    return ops.take(x, nearest, axis=axis)


@register_attention("ge_block", layer=GE)
def ge_block(
    x: keras.KerasTensor,
    extent: int = 0,
    extra_params: bool = False,
    name: str | None = None,
    **options: Any,
) -> keras.KerasTensor:
    """Applies `GE` (Gather-Excite) to a feature map.

    Args:
        x: Keras tensor of rank 4, `(batch, height, width, channels)`.
        extent: 2, 4 or 8, or 0 (default) for the whole map.
        extra_params: bool, gather by convolutions instead of averages. Defaults to `False`.
        name: string, the layer's name.
        **options: the further options of `GE`, such as `use_mlp=True`.

    Returns:
        A Keras tensor of the shape of `x`.

    Raises:
        ValueError: another extent, an unknown option, an input that is not of rank 4.

    Example:

    >>> x = keras.layers.Conv2D(64, 3)(keras.Input((32, 32, 3)))
    >>> x = ge_block(x, extent=8)

    Reference:

    - [Gather-Excite](https://arxiv.org/abs/1810.12348)
    """
    return GE(extent, extra_params, name=name, **options)(x)
