"""MobileNet: depthwise separable convolutions, at any width, for small or for large images."""

from functools import partial
from typing import Any, Literal

import keras
from keras import initializers, layers
from keras.applications import imagenet_utils

from .blocks import activate, conv_norm, norm
from .builder import Builder, Shape, takes_common_options
from .checks import require_int, require_number, require_one_of

STEM_FILTERS = 32
STAGES = ((64, 1), (128, 2), (256, 2), (512, 6), (1024, 2))  # (channels, blocks)
# stem -> (stride of the first convolution, strides of the stages, default and smallest side of the
# image)
STEMS = {
    "cifar": (1, (1, 1, 2, 2, 2), 32, 8),
    "imagenet": (2, (1, 2, 2, 2, 2), 224, 31),
}
SMALL_IMAGE = 64
EPSILON = 1e-3
# published networks: (side of the image, classes) -> their options; 32x32 takes the CIFAR stem
VARIANTS: dict[tuple[int, int], list[dict]] = {(32, 10): [{}], (224, 1000): [{}, {"alpha": 0.7}]}
# values of `attention_at` that only this architecture has
OWN_PLACES = ("conv",)

preprocess_input = partial(imagenet_utils.preprocess_input, mode="tf")


@takes_common_options
def MobileNet(
    input_shape: Shape | None = None,
    alpha: float = 1.0,
    depth_multiplier: int = 1,
    dropout: float = 1e-3,
    stem: Literal["cifar", "imagenet"] | None = None,
    classes: int = 1000,
    name: str | None = None,
    **common: Any,
) -> keras.Model:
    """MobileNet with 13 depthwise separable convolutions, at any width.

    Attention comes after the last ReLU6 of a block. This architecture has a place of its own,
    `attention_at="conv"`: after the ReLU6 of every depthwise and every pointwise convolution, which
    gives the parameter counts of the CBAM paper.

    Args:
        input_shape: tuple of three; height and width may be `None`. Defaults to `(224, 224, 3)`,
            or to `(32, 32, 3)` if `stem="cifar"`.
        alpha: float, factor on the channels of all layers. Channels are rounded down. Defaults to
            1.0.
        depth_multiplier: int, outputs of a depthwise convolution per input channel. Defaults to 1.
        dropout: float, dropout rate before the classifier. Defaults to 0.001.
        stem: string, first layers, for small or for large images. `"imagenet"` has the strides of
            the paper, down to 1/32 of height and width. `"cifar"` has stride 1 in the first
            convolution and in the second stage, down to 1/8. Defaults to `"cifar"` if the height
            or the width is known to be less than 64, and to `"imagenet"` otherwise.
        classes: int, number of classes. Defaults to 1000.
        name: string, the model's name. Defaults to `"mobilenet_{alpha}"`.
        **common: the options of `models.builder.Builder`: `attention_module`, `attention_at`, ...

    Returns:
        A Functional `keras.Model`.

    Raises:
        ValueError: if the image is too small for the stem, or an option does not allow its value.

    Example:

    >>> model = MobileNet((224, 224, 3), alpha=0.7, attention_at="conv",
    ...                   attention_module=partial(cbam_block, ratio=16))

    Reference:

    - [MobileNets](https://arxiv.org/abs/1704.04861), Table 1
    - [CBAM](https://arxiv.org/abs/1807.06521), Table 5
    """
    require_number("alpha", alpha)
    multiplier = require_int("depth_multiplier", depth_multiplier)
    require_one_of("stem", stem, (None, *STEMS))
    size = STEMS[stem or "imagenet"][2]
    name = name or f"mobilenet_{alpha:g}"
    net = Builder(input_shape, classes=classes, name=name, default_size=size, **common)
    stem = stem or ("cifar" if net.is_below(SMALL_IMAGE) else "imagenet")
    stem_strides, stage_strides, _, least = STEMS[stem]
    net.require_size(least)
    # Keras's padding, here and in the blocks, gives the outputs of `keras.applications`
    x = conv_norm(
        net.input,
        _scaled(STEM_FILTERS, alpha),
        3,
        stem_strides,
        "stem",
        activation="relu6",
        epsilon=EPSILON,
        padding="same",
    )
    for stage, ((filters, count), first) in enumerate(zip(STAGES, stage_strides, strict=True), 1):
        for number in range(1, count + 1):
            strides = first if number == 1 else 1
            block = f"stage{stage}_block{number}"
            x = separable_block(net, x, _scaled(filters, alpha), strides, block, multiplier)
        x = net.end_stage(x, f"stage{stage}", last=stage == len(STAGES))
    return net.model(x, dropout=dropout)


def separable_block(net, x, filters, strides, name, multiplier=1):
    """A depthwise 3x3 convolution and a pointwise 1x1 convolution.

    Args:
        net: the network's `Builder`.
        x: Keras tensor of rank 4.
        filters: int, output channels.
        strides: int, stride of the depthwise convolution.
        name: string, prefix of the layers' names.
        multiplier: int, outputs of the depthwise convolution per input channel. Defaults to 1.

    Returns:
        A Keras tensor of rank 4.
    """
    padding = "same"
    if strides > 1:
        padding = "valid"
        x = layers.ZeroPadding2D(((0, 1), (0, 1)), name=f"{name}_depthwise_pad")(x)
    x = layers.DepthwiseConv2D(
        3,
        strides=strides,
        padding=padding,
        depth_multiplier=multiplier,
        use_bias=False,
        # the fan-in would count all channels, though every output depends on one
        depthwise_initializer=initializers.VarianceScaling(2.0, mode="fan_out"),
        name=f"{name}_depthwise_conv",
    )(x)
    x = norm(x, f"{name}_depthwise_norm", EPSILON)
    x = activate(x, f"{name}_depthwise_relu6", "relu6")
    x = net.attend(x, f"{name}_depthwise", OWN_PLACES)
    x = conv_norm(x, filters, 1, 1, f"{name}_pointwise", activation="relu6", epsilon=EPSILON)
    return net.attend(x, name, ("block", *OWN_PLACES))


def _scaled(filters, alpha):
    return max(1, int(filters * alpha))
