"""ResNet v1 for small images: three stages of residual blocks, 6n+2 or 9n+2 layers deep."""

from functools import partial
from typing import Any

import keras
from keras.applications import imagenet_utils

from .attention.registry import AttentionModule
from .blocks import cifar_stem
from .builder import Builder, Shape, depth_error, takes_common_options
from .residual import basic_block, bottleneck_block, residual_stages

# block -> (its function, layers per three stages, output channels of the three stages)
BLOCKS = {
    "basic": (basic_block, 6, (16, 32, 64)),
    "bottleneck": (bottleneck_block, 9, (64, 128, 256)),
}

preprocess_input = partial(imagenet_utils.preprocess_input, mode="torch")


@takes_common_options
def resnet_v1(
    input_shape: Shape | None = None,
    depth: int = 20,
    num_classes: int = 10,
    attention_module: AttentionModule = None,
    block: str | None = None,
    classes: int | None = None,
    name: str | None = None,
    **common: Any,
) -> keras.Model:
    """ResNet v1 as in the CIFAR experiments of the paper.

    A 3x3 convolution of 16 channels and three stages of 16, 32 and 64 channels on maps of full,
    half and quarter size. Attention comes after the last normalization of a block, before the
    addition. The shortcut that changes size is a 1x1 convolution with normalization (the paper's
    option B).

    Args:
        input_shape: tuple of three; height and width may be `None`. Defaults to 32x32 in color.
        depth: int, layers with weights: 6n+2 in basic blocks (20, 32, 44, 56, 110, 164, ...), 9n+2
            in bottlenecks (1001, ...). Defaults to 20.
        num_classes: int, number of classes. Defaults to 10.
        attention_module: `None`, a registered name, a Keras layer, or a callable on a feature map.
        block: `"basic"`, `"bottleneck"`, or `None` (default): basic where the depth fits.
        classes: int, Keras's name for `num_classes`; wins where both are given.
        name: string, the model's name. Defaults to `"resnet_v1_{depth}"`.
        **common: the options of `models.builder.Builder`: `attention_at`, `include_top`, ...

    Returns:
        A Functional `keras.Model`.

    Raises:
        ValueError: a depth that the blocks cannot make, or a value an option cannot take.

    Example:

    >>> model = resnet_v1((32, 32, 3), depth=20, attention_module="cbam_block")

    Reference:

    - [Deep Residual Learning for Image Recognition](https://arxiv.org/abs/1512.03385), section 4.2
    """
    make_block, per_stages, filters = BLOCKS[_block_for(depth, block)]
    net = Builder(
        input_shape,
        classes=num_classes if classes is None else classes,
        attention_module=attention_module,
        name=name or f"resnet_v1_{depth}",
        **common,
    )
    x = cifar_stem(net.input, 16)
    x = residual_stages(net, x, make_block, [(depth - 2) // per_stages] * 3, filters)
    return net.model(x)


def _block_for(depth, block):
    if block not in (None, *BLOCKS):
        raise ValueError(f"block must be one of {', '.join(BLOCKS)} or None, received {block!r}")
    for name in [block] if block else BLOCKS:
        per_stages = BLOCKS[name][1]
        if isinstance(depth, int) and depth > 2 and (depth - 2) % per_stages == 0:
            return name
    raise depth_error(
        "resnet_v1",
        depth,
        [BLOCKS[name][1] for name in ([block] if block else BLOCKS)],
    )
