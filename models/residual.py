"""The residual blocks of ResNet and ResNeXt, and the stages that they form."""

from collections.abc import Callable
from functools import partial
from typing import Any

from keras import layers

from .blocks import STEMS as PLAIN_STEMS
from .blocks import activate, channel_axis, conv_norm, deep_stem

STRIDES_IN = ("3x3", "1x1")
# name -> (its function, side of the images that it is made for)
STEMS: dict[str, tuple[Callable[..., Any], int]] = {
    **PLAIN_STEMS,
    "deep": (deep_stem, 224),
    "tiered": (partial(deep_stem, widths=(24, 32)), 224),
}


def basic_block(net, x, filters, strides, name, use_bias=False, shortcut="conv"):
    """Two 3x3 convolutions beside a shortcut, with attention after the last normalization.

    Args:
        net: the network's `Builder`.
        x: Keras tensor of rank 4.
        filters: int, output channels.
        strides: int, stride of the first convolution and of the shortcut.
        name: string, prefix of the layers' names.
        use_bias: bool, whether the convolutions have a bias. Defaults to `False`.
        shortcut: one of `SHORTCUTS`, where the size or the channels change. Defaults to `"conv"`.

    Returns:
        A Keras tensor of rank 4.
    """
    y = conv_norm(x, filters, 3, strides, name, 1, use_bias=use_bias)
    y = conv_norm(y, filters, 3, 1, name, 2, activation=None, use_bias=use_bias)
    return _join(net, x, y, strides, name, use_bias, shortcut)


def bottleneck_block(
    net,
    x,
    filters,
    strides,
    name,
    width=None,
    groups=1,
    stride_in="3x3",
    use_bias=False,
    shortcut="conv",
):
    """1x1, 3x3 and 1x1 convolutions beside a shortcut, with attention as in `basic_block`.

    Args:
        net: the network's `Builder`.
        x: Keras tensor of rank 4.
        filters: int, output channels.
        strides: int, stride of the block and of the shortcut.
        name: string, prefix of the layers' names.
        width: float, channels of the first two convolutions, as a share of `filters`. Defaults to
            1/4.
        groups: int, groups of the 3x3 convolution. Defaults to 1.
        stride_in: `"3x3"`, or `"1x1"` for the first convolution: the one that has the stride.
            Defaults to `"3x3"`.
        use_bias: bool, whether the convolutions have a bias. Defaults to `False`.
        shortcut: one of `SHORTCUTS`, where the size or the channels change. Defaults to `"conv"`.

    Returns:
        A Keras tensor of rank 4.
    """
    inner = round(filters * (width or 1 / 4))
    first, second = (strides, 1) if stride_in == "1x1" else (1, strides)
    y = conv_norm(x, inner, 1, first, name, 1, use_bias=use_bias)
    y = conv_norm(y, inner, 3, second, name, 2, groups=groups, use_bias=use_bias)
    y = conv_norm(y, filters, 1, 1, name, 3, activation=None, use_bias=use_bias)
    return _join(net, x, y, strides, name, use_bias, shortcut)


def _conv_shortcut(x, filters, strides, name, use_bias):
    """A 1x1 convolution with the stride, which skips three of four positions."""
    return conv_norm(x, filters, 1, strides, f"{name}_shortcut", activation=None, use_bias=use_bias)


def _pool_shortcut(x, filters, strides, name, use_bias):
    """The average of every position, and a 1x1 convolution; windows at the edge may be smaller."""
    if strides > 1:
        x = layers.AveragePooling2D(strides, padding="same", name=f"{name}_pool")(x)
    # not named as above: the weights are of the same shapes, but those of another network
    return conv_norm(x, filters, 1, 1, f"{name}_pooled", activation=None, use_bias=use_bias)


SHORTCUTS = {"conv": _conv_shortcut, "pool": _pool_shortcut}


def _join(net, x, y, strides, name, use_bias, shortcut):
    """Attention on `y`, and the sum of `y` and the shortcut from `x`."""
    filters = y.shape[channel_axis()]
    if strides != 1 or x.shape[channel_axis()] != filters:
        x = SHORTCUTS[shortcut](x, filters, strides, name, use_bias)
    y = net.attend(y, name)
    return activate(layers.Add(name=f"{name}_add")([x, y]), f"{name}_relu")


def residual_stages(net, x, block, repeats, filters, **options):
    """Stages of residual blocks; every stage but the first halves height and width.

    Args:
        net: the network's `Builder`.
        x: Keras tensor of rank 4.
        block: `basic_block` or `bottleneck_block`.
        repeats: list of ints, number of blocks in each stage.
        filters: list of ints, output channels of each stage.
        **options: further options of `block`.

    Returns:
        A Keras tensor of rank 4.
    """
    for stage, (count, channels) in enumerate(zip(repeats, filters, strict=True), start=1):
        for number in range(1, count + 1):
            strides = 2 if stage > 1 and number == 1 else 1
            x = block(net, x, channels, strides, f"stage{stage}_block{number}", **options)
        x = net.end_stage(x, f"stage{stage}", last=stage == len(repeats))
    return x
