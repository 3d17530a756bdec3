"""MobileNet: depthwise separable convolutions, at any width, for small and for large images."""

from functools import partial
from typing import Any

import keras
from keras import initializers, layers
from keras.applications import imagenet_utils

from .blocks import activate, conv_norm, norm
from .builder import Builder, Shape, takes_common_options
from .checks import require_int, require_number, require_one_of

STEM_FILTERS = 32
STAGES = ((64, 1), (128, 2), (256, 2), (512, 6), (1024, 2))  # channels, blocks
# stem -> (strides of the first convolution, of the stages' first blocks, image's side, its least)
STEMS = {
    "cifar": (1, (1, 1, 2, 2, 2), 32, 8),
    "imagenet": (2, (1, 2, 2, 2, 2), 224, 31),
}
SMALL_IMAGE = 64
EPSILON = 1e-3

preprocess_input = partial(imagenet_utils.preprocess_input, mode="tf")


@takes_common_options
def MobileNet(
    input_shape: Shape | None = None,
    alpha: float = 1.0,
    depth_multiplier: int = 1,
    dropout: float = 1e-3,
    stem: str | None = None,
    classes: int = 1000,
    name: str | None = None,
    **common: Any,
) -> keras.Model:
    """MobileNet with 13 depthwise separable convolutions, at any width.

    Attention comes after the last rectifier of a block. `attention_at="conv"` is this
    architecture's own place: after the rectifier of every depthwise and every pointwise
    convolution, as in the parameter counts of the CBAM paper.

    Args:
        input_shape: tuple of three; height and width may be `None`. Defaults to `(224, 224, 3)`,
            and with `stem="cifar"` to `(32, 32, 3)`.
        alpha: float, multiplies the channels of every layer; fractions of a channel are cut off.
            Defaults to 1.0.
        depth_multiplier: int, outputs of a depthwise convolution per input channel. Defaults to 1.
        dropout: float, share of the pooled features dropped before the classifier. Defaults to
            0.001.
        stem: `"imagenet"`, the paper's strides, down to 1/32 of the size; `"cifar"`, stride 1 in
            the first convolution and in the second stage, down to 1/8; or `None` (default):
            `"cifar"` for images known to be less than 64 pixels high or wide, otherwise
            `"imagenet"`, for images of unknown size too.
        classes: int, number of classes. Defaults to 1000.
        name: string, the model's name. Defaults to `"mobilenet_{alpha}"`.
        **common: the options of `models.builder.Builder`: `attention_module`, `attention_at`, ...

    Returns:
        A Functional `keras.Model`.

    Raises:
        ValueError: an image that is too small for the stem, or a value an option cannot take.

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
    # Keras's padding here and in the blocks: symmetric zeros give other outputs
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
    """A 3x3 convolution of each channel by itself, then a 1x1 convolution across the channels."""
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
        # fan_in would count all channels, of which an output sees one
        depthwise_initializer=initializers.VarianceScaling(2.0, mode="fan_out"),
        name=f"{name}_depthwise_conv",
    )(x)
    x = norm(x, f"{name}_depthwise_norm", EPSILON)
    x = activate(x, f"{name}_depthwise_relu6", "relu6")
    x = net.attend(x, f"{name}_depthwise", ("conv",))
    x = conv_norm(x, filters, 1, 1, f"{name}_pointwise", activation="relu6", epsilon=EPSILON)
    return net.attend(x, name, ("block", "conv"))


def _scaled(filters, alpha):
    return max(1, int(filters * alpha))
