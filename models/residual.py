"""The residual blocks of ResNet and its kin, and the stages they form."""

from keras import layers

from .blocks import channel_axis, conv_norm, relu


def basic_block(net, x, filters, strides, name):
    """Two 3x3 convolutions and a shortcut; attention after the last normalisation."""
    y = conv_norm(x, filters, 3, strides, name, 1)
    y = conv_norm(y, filters, 3, 1, name, 2, activate=False)
    return _join(net, x, y, strides, name)


def bottleneck_block(net, x, filters, strides, name, width=None, groups=1, stride_in="3x3"):
    """1x1 down to `width` channels, 3x3, 1x1 up to `filters`; attention as in `basic_block`.

    Args:
        net: the network's `Builder`.
        x: Keras tensor of rank 4.
        filters: int, output channels.
        strides: int.
        name: string, prefix of the layers' names.
        width: int, channels of the 3x3 convolution. Defaults to `filters // 4`.
        groups: int, of the 3x3 convolution.
        stride_in: which convolution strides, `"3x3"` or `"1x1"` (the first).
    """
    width = width or filters // 4
    first, second = (strides, 1) if stride_in == "1x1" else (1, strides)
    y = conv_norm(x, width, 1, first, name, 1)
    y = conv_norm(y, width, 3, second, name, 2, groups=groups)
    y = conv_norm(y, filters, 1, 1, name, 3, activate=False)
    return _join(net, x, y, strides, name)


def _join(net, x, y, strides, name):
    if strides != 1 or x.shape != y.shape:
        x = conv_norm(x, y.shape[channel_axis()], 1, strides, f"{name}_shortcut", activate=False)
    y = net.attend(y, name)
    return relu(layers.Add(name=f"{name}_add")([x, y]), f"{name}_relu")


def residual_stages(net, x, block, repeats, filters, **options):
    """Stages of residual blocks; every stage but the first halves the map.

    Args:
        net: the network's `Builder`.
        x: Keras tensor of rank 4.
        block: `basic_block` or `bottleneck_block`.
        repeats: list of ints, blocks per stage.
        filters: list of ints, output channels per stage.
        **options: given on to every block.

    Returns:
        A Keras tensor of rank 4.
    """
    for stage, (count, channels) in enumerate(zip(repeats, filters, strict=True), start=1):
        for number in range(1, count + 1):
            strides = 2 if stage > 1 and number == 1 else 1
            x = block(net, x, channels, strides, f"stage{stage}_block{number}", **options)
        x = net.end_stage(x, f"stage{stage}", last=stage == len(repeats))
    return x
