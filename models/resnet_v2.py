"""ResNet v2 for small images: three stages of pre-activation bottlenecks, 9n+2 layers."""

from functools import partial
from typing import Any

import keras
from keras import layers
from keras.applications import imagenet_utils

from .attention.registry import AttentionModule
from .blocks import channel_axis, conv, norm_relu
from .builder import Builder, Shape, takes_common_options
from .depths import require_depth

LAYERS_PER_BLOCK, STAGES = 3, 3
FILTERS = (64, 128, 256)
# published networks: (side of the image, classes) -> their options
VARIANTS = {(32, 10): [{"depth": depth} for depth in (20, 56, 110, 164, 1001)]}

preprocess_input = partial(imagenet_utils.preprocess_input, mode="torch")


@takes_common_options
def resnet_v2(
    input_shape: Shape | None = None,
    depth: int = 20,
    num_classes: int = 10,
    attention_module: AttentionModule = None,
    classes: int | None = None,
    name: str | None = None,
    **common: Any,
) -> keras.Model:
    """ResNet v2, with full pre-activation, as in the CIFAR experiments of the paper.

    A 3x3 convolution with 16 channels precedes three stages of bottlenecks with 64, 128 and 256
    channels; normalization and ReLU follow the last. Attention comes after the third convolution
    of a block, before the addition.

    Args:
        input_shape: tuple of three; height and width may be `None`. Defaults to `(32, 32, 3)`.
        depth: int, layers with weights: 9n+2. These are 20, 56, 110, 164, 1001 and others.
            Defaults to 20.
        num_classes: int, number of classes. Defaults to 10.
        attention_module: as in `models.builder.Builder`. Defaults to `None`.
        classes: int, the name in Keras for `num_classes`, which it overrides. Defaults to `None`.
        name: string, the model's name. Defaults to `"resnet_v2_{depth}"`.
        **common: the options of `models.builder.Builder`: `attention_at`, `include_top`, ...

    Returns:
        A Functional `keras.Model`.

    Raises:
        ValueError: if `depth` is not 9n+2, or an option does not allow its value.

    Example:

    >>> model = resnet_v2((32, 32, 3), depth=56, attention_module="se_block")

    Reference:

    - [Identity Mappings in Deep Residual Networks](https://arxiv.org/abs/1603.05027)
    """
    per_stages = LAYERS_PER_BLOCK * STAGES
    depth = require_depth("resnet_v2", depth, [per_stages])
    net = Builder(
        input_shape,
        classes=num_classes if classes is None else classes,
        attention_module=attention_module,
        name=name or f"resnet_v2_{depth}",
        **common,
    )
    x = conv(net.input, 16, 3, name="stem_conv")
    for stage, filters in enumerate(FILTERS, start=1):
        for number in range(1, (depth - 2) // per_stages + 1):
            strides = 2 if stage > 1 and number == 1 else 1
            x = preactivation_block(net, x, filters, strides, f"stage{stage}_block{number}")
        x = net.end_stage(x, f"stage{stage}", last=stage == STAGES)
    return net.model(norm_relu(x, "head"))


def preactivation_block(net, x, filters, strides, name):
    """1x1, 3x3 and 1x1 convolutions, each after normalization and ReLU, beside a shortcut."""
    y = norm_relu(x, name, 1)
    shortcut = x
    if strides != 1 or x.shape[channel_axis()] != filters:
        # the shortcut starts after the first ReLU, as in the authors' code
        shortcut = conv(y, filters, 1, strides, f"{name}_shortcut_conv")
    y = conv(y, filters // 4, 1, strides, f"{name}_conv1")
    y = conv(norm_relu(y, name, 2), filters // 4, 3, name=f"{name}_conv2")
    y = conv(norm_relu(y, name, 3), filters, 1, name=f"{name}_conv3")
    return layers.Add(name=f"{name}_add")([shortcut, net.attend(y, name)])
