"""ResNet v1 for small images: three stages of residual blocks, 6n+2 or 9n+2 layers."""

from functools import partial
from typing import Any, Literal

import keras
from keras.applications import imagenet_utils

from .attention.registry import AttentionModule
from .blocks import cifar_stem
from .builder import Builder, Shape, takes_common_options
from .depths import require_depth
from .residual import basic_block, bottleneck_block, residual_stages

# block -> (its function, layers in one block of every stage, output channels of the stages)
BLOCKS = {
    "basic": (basic_block, 6, (16, 32, 64)),
    "bottleneck": (bottleneck_block, 9, (64, 128, 256)),
}
# published networks: (side of the image, classes) -> their options
VARIANTS = {(32, 10): [{"depth": depth} for depth in (20, 32, 44, 56, 110, 164, 1001)]}

preprocess_input = partial(imagenet_utils.preprocess_input, mode="torch")


@takes_common_options
def resnet_v1(
    input_shape: Shape | None = None,
    depth: int = 20,
    num_classes: int = 10,
    attention_module: AttentionModule = None,
    block: Literal["basic", "bottleneck"] | None = None,
    classes: int | None = None,
    name: str | None = None,
    **common: Any,
) -> keras.Model:
    """ResNet v1 as in the CIFAR experiments of the paper.

    A 3x3 convolution with 16 channels precedes three stages. Basic blocks have 16, 32 and 64
    channels, bottlenecks 64, 128 and 256, on maps of full, half and quarter size. Where size or
    channels change, the shortcut is a 1x1 convolution with normalization (option B of the paper).
    Attention comes after the last normalization of a block, before the addition.

    Args:
        input_shape: tuple of three; height and width may be `None`. Defaults to `(32, 32, 3)`.
        depth: int, layers with weights: 6n+2 or 9n+2. Basic blocks make 6n+2 layers (20, 32, 44,
            56, 110, 164, ...), bottlenecks 9n+2 (1001, ...). Defaults to 20.
        num_classes: int, number of classes. Defaults to 10.
        attention_module: as in `models.builder.Builder`. Defaults to `None`.
        block: string, kind of residual block. `"basic"` is two 3x3 convolutions, `"bottleneck"`
            a 1x1, a 3x3 and a 1x1 convolution. Defaults to `"basic"` if `depth` is 6n+2 and to
            `"bottleneck"` otherwise.
        classes: int, the name in Keras for `num_classes`, which it overrides. Defaults to `None`.
        name: string, the model's name. Defaults to `"resnet_v1_{depth}"`.
        **common: the options of `models.builder.Builder`: `attention_at`, `include_top`, ...

    Returns:
        A Functional `keras.Model`.

    Raises:
        ValueError: if blocks of this kind cannot make `depth` layers, or an option does not allow
            its value.

    Example:

    >>> model = resnet_v1((32, 32, 3), depth=20, attention_module="cbam_block")

    Reference:

    - [Deep Residual Learning for Image Recognition](https://arxiv.org/abs/1512.03385), section 4.2
    """
    kinds = _kinds(block)
    depth = require_depth("resnet_v1", depth, [per_stages for _, per_stages, _ in kinds])
    make_block, per_stages, filters = next(kind for kind in kinds if (depth - 2) % kind[1] == 0)
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


def _kinds(block):
    """The entries of `BLOCKS` to choose from."""
    if block not in (None, *BLOCKS):
        raise ValueError(f"block must be one of {', '.join(BLOCKS)} or None, received {block!r}")
    return [BLOCKS[name] for name in ([block] if block else BLOCKS)]
