"""MLCA: efficient channel attention in the windows of a grid and over the whole map."""

from typing import Any

import keras
from keras import ops

from ...checks import require_finite, require_int, require_number
from ..base import AttentionLayer
from ..parts import at_least_float32, averaging, from_channels_last, to_channels_last
from ..registry import register_attention
from ..starts import start_named
from .eca import adaptive_kernel_size, along_channels


@keras.saving.register_keras_serializable(package="attention_zoo")
class MLCA(AttentionLayer):
    """Mixed Local Channel Attention: ECA in the windows of a grid, and over the whole map.

    The map is averaged over the windows of a grid. A small kernel slides along the channels of each
    window, another along those of the average of all windows. Both results pass a sigmoid and are
    mixed, and the gates of the windows are taken to the map's size:
    `x * resize(local_weight * sigmoid(conv1(windows)) +
    (1 - local_weight) * sigmoid(conv2(mean(windows))))`.

    Args:
        grid: int, windows along height and along width. Defaults to 5, as in the authors' code
            (there `local_size`).
        local_weight: number above 0 and at most 1, the share of the windows. Defaults to 0.5, as in
            the authors' code.
        gamma: number above 0, of the adaptive kernel size, as in `ECA`. Defaults to 2.
        b: number, of the adaptive kernel size. Defaults to 1.
        start: how the gates of the windows and of the map start. `"published"` (default):
            with random weights. `"half"`: at 0.5 everywhere. `"identity"`: at 1 everywhere, so
            that the layer returns its input until it learns; the gates are then `2 * sigmoid`,
            between 0 and 2.
        data_format: `"channels_last"` or `"channels_first"`; defaults to Keras's setting.

    Input: `(batch, height, width, channels)` of any floating dtype; `(batch, channels, height,
    width)` with `"channels_first"`.

    Returns:
        A tensor of the input's shape; called with `return_maps=True`, also
        `{"attention": (batch, height, width, channels)}`.

    Raises:
        ValueError: `grid` below 1, a number out of its range, an input that is not of rank 4.

    Example:

    >>> y = MLCA()(keras.Input((32, 32, 64)))

    Reference:

    - [Mixed local channel attention for object
      detection](https://doi.org/10.1016/j.engappai.2023.106442); the authors'
      [code](https://github.com/wandahangFY/MLCA), from which the adaptive average that takes the
      gates to the map's size comes. There the kernel slides along one row of all windows' channels,
      from the last ones of a window to the first ones of the next, which are no neighbors; here
      each window's channels are a row of their own, as in the paper's description of ECA.
    """

    def __init__(
        self,
        grid: int = 5,
        local_weight: float = 0.5,
        gamma: float = 2,
        b: float = 1,
        data_format: str | None = None,
        start: str = "published",
        **kwargs: Any,
    ) -> None:
        super().__init__(data_format=data_format, **kwargs)
        self.grid = require_int("grid", grid)
        self.local_weight = require_number("local_weight", local_weight, most=1)
        self.gamma = require_number("gamma", gamma)
        self.b = require_finite("b", b)
        self.start = start
        self.starting = start_named(start)

    def build(self, input_shape):
        super().build(input_shape)
        size = adaptive_kernel_size(self.channels, self.gamma, self.b)
        self.local, self.whole = (
            along_channels(
                self,
                1,
                1,
                size,
                name,
                self.gate_policy,
                use_bias=False,
                kernel_initializer=self.starting.conv,
            )
            for name in ("local", "whole")
        )

    def attend(self, inputs, training=None):
        x = at_least_float32(to_channels_last(inputs, self.data_format))
        sides = ops.shape(x)[1:3]
        windows = _resized(x, *(averaging(side, self.grid, x.dtype) for side in sides))
        local = self._gate(self.local, windows)
        whole = self._gate(self.whole, ops.mean(windows, axis=(1, 2), keepdims=True))
        gate = self.local_weight * local + (1 - self.local_weight) * whole
        gate = _resized(gate, *(averaging(self.grid, side, x.dtype) for side in sides))
        gate = from_channels_last(ops.cast(gate, self.gate_dtype), self.data_format)
        return self.gated(inputs, gate), {"attention": gate}

    def _gate(self, conv, windows):
        """The gates of the windows, whose channels the kernel slides along."""
        rows = ops.reshape(ops.cast(windows, self.gate_dtype), (-1, self.channels, 1))
        gates = at_least_float32(self.starting.gate(conv(rows)))
        return ops.reshape(gates, (-1, *windows.shape[1:3], self.channels))

    def get_config(self):
        return {
            **super().get_config(),
            "grid": self.grid,
            "local_weight": self.local_weight,
            "gamma": self.gamma,
            "b": self.b,
            "start": self.start,
        }


def _resized(x, rows, columns):
    """A map whose rows and columns are those of two averaging matrices."""
    return ops.einsum("bhwc,gh,vw->bgvc", x, rows, columns)


@register_attention("mlca_block", layer=MLCA)
def mlca_block(
    x: keras.KerasTensor, grid: int = 5, name: str | None = None, **options: Any
) -> keras.KerasTensor:
    """Applies `MLCA` (Mixed Local Channel Attention) to a feature map.

    Args:
        x: Keras tensor of rank 4, `(batch, height, width, channels)`.
        grid: int, windows along height and along width. Defaults to 5, as in the authors' code.
        name: string, the layer's name.
        **options: the further options of `MLCA`, such as `local_weight=0.7`.

    Returns:
        A Keras tensor of the shape of `x`.

    Raises:
        ValueError: `grid` below 1, an unknown option, an input that is not of rank 4.

    Example:

    >>> x = keras.layers.Conv2D(64, 3)(keras.Input((32, 32, 3)))
    >>> x = mlca_block(x)

    Reference:

    - [Mixed local channel attention](https://doi.org/10.1016/j.engappai.2023.106442)
    """
    return MLCA(grid, name=name, **options)(x)
