"""ResNeXt: bottlenecks with grouped 3x3 convolutions, for CIFAR and for ImageNet."""

from functools import partial
from typing import Any, Literal

import keras
from keras.applications import imagenet_utils

from .builder import Builder, Shape, takes_common_options
from .checks import require_int, require_one_of
from .residual import SHORTCUTS, STEMS, STRIDES_IN, bottleneck_block, residual_stages

# depth -> (stem, blocks in each stage, cardinality, width of a group in stage 1)
DEPTHS = {
    29: ("cifar", (3, 3, 3), 8, 64),
    50: ("imagenet", (3, 4, 6, 3), 32, 4),
    101: ("imagenet", (3, 4, 23, 3), 32, 4),
}
FILTERS = (256, 512, 1024, 2048)
# published networks: (side of the image, classes) -> their options
VARIANTS = {
    (32, 10): [{"depth": 29}, {"depth": 29, "cardinality": 16}],
    (224, 1000): [{"depth": 50}, {"depth": 101}],
}

preprocess_input = partial(imagenet_utils.preprocess_input, mode="torch")


@takes_common_options
def ResNext(
    input_shape: Shape | None = None,
    depth: int = 29,
    cardinality: int | None = None,
    width: int | None = None,
    stride_in: Literal["3x3", "1x1"] = "3x3",
    stem: Literal["cifar", "imagenet", "deep", "tiered"] | None = None,
    shortcut: Literal["conv", "pool"] = "conv",
    name: str | None = None,
    **common: Any,
) -> keras.Model:
    """ResNeXt with 29 layers (CIFAR), 50 or 101 (ImageNet).

    Attention comes after the last normalization of a block, before the addition.

    Args:
        input_shape: tuple of three; height and width may be `None`. Defaults to `(32, 32, 3)` with
            the CIFAR stem and `(224, 224, 3)` with the others.
        depth: int, layers with weights: 29, 50 or 101. Defaults to 29.
        cardinality: int, groups of the 3x3 convolutions. Defaults to 8 at depth 29 (the paper also
            has 16) and to 32 at the other depths.
        width: int, channels of a group in the first stage. They double with every stage. Defaults
            to 64 at depth 29 and to 4 at the other depths.
        stride_in: string, convolution of a bottleneck that has the stride. `"3x3"` is used by the
            ResNeXt authors' code and torchvision, `"1x1"` by the GFLOPs of the CBAM paper.
            Defaults to `"3x3"`.
        stem: string, first layers, for small or for large images. `"cifar"` is a 3x3 convolution,
            `"imagenet"` is a 7x7 convolution with stride 2 and a max pooling; `"deep"` and
            `"tiered"` have three 3x3 convolutions in its place, as in `resnet`. Defaults to
            `"cifar"` at depth 29 and to `"imagenet"` at the other depths, as published.
        shortcut: string, what a shortcut has where the size or the channels change. `"conv"` is a
            1x1 convolution with the stride, `"pool"` an average pooling with the stride before it.
            Defaults to `"conv"`.
        name: string, the model's name. Defaults to `"resnext_{depth}"`.
        **common: the options of `models.builder.Builder`: `classes`, `attention_module`, ...

    Returns:
        A Functional `keras.Model`.

    Raises:
        ValueError: if `depth` is not one of the three, or an option does not allow its value.

    Example:

    >>> model = ResNext((32, 32, 3), depth=29, cardinality=16, attention_module="se_block")

    Reference:

    - [Aggregated Residual Transformations for Deep Neural Networks](
      https://arxiv.org/abs/1611.05431), Table 1 and section 5.3
    """
    require_one_of("depth of resnext", depth, DEPTHS)
    require_one_of("stem", stem, (None, *STEMS))
    require_one_of("stride_in", stride_in, STRIDES_IN)
    require_one_of("shortcut", shortcut, SHORTCUTS)
    own_stem, repeats, own_cardinality, own_width = DEPTHS[depth]
    groups = require_int("cardinality", own_cardinality if cardinality is None else cardinality)
    group_width = require_int("width", own_width if width is None else width)
    make_stem, size = STEMS[stem or own_stem]
    net = Builder(input_shape, name=name or f"resnext_{depth}", default_size=size, **common)
    x = make_stem(net.input, 64)
    x = residual_stages(
        net,
        x,
        bottleneck_block,
        repeats,
        FILTERS[: len(repeats)],
        width=groups * group_width / FILTERS[0],
        groups=groups,
        stride_in=stride_in,
        shortcut=shortcut,
    )
    return net.model(x)


def ResNextImageNet(
    input_shape: Shape | None = None, depth: int = 50, classes: int = 1000, **options: Any
) -> keras.Model:
    """An alias: `ResNext` with 50 layers and the 1000 classes of ImageNet as its defaults."""
    return ResNext(input_shape, depth, classes=classes, **options)
