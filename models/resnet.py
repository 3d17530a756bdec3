"""ResNet with 18 to 152 layers, at any width, with a stem for small or for large images."""

from functools import partial
from typing import Any, Literal

import keras
from keras.applications import imagenet_utils

from .builder import Builder, Shape, takes_common_options
from .checks import require_number, require_one_of
from .residual import (
    SHORTCUTS,
    STEMS,
    STRIDES_IN,
    basic_block,
    bottleneck_block,
    residual_stages,
)

# depth -> (block, blocks in each of the four stages), Table 1 of the paper
DEPTHS = {
    18: (basic_block, (2, 2, 2, 2)),
    34: (basic_block, (3, 4, 6, 3)),
    50: (bottleneck_block, (3, 4, 6, 3)),
    101: (bottleneck_block, (3, 4, 23, 3)),
    152: (bottleneck_block, (3, 8, 36, 3)),
}
WIDTHS = (64, 128, 256, 512)
# published networks: (side of the image, classes) -> their options
VARIANTS = {
    (32, 10): [{"depth": depth} for depth in DEPTHS],
    (224, 1000): [
        *({"depth": depth, "stem": "imagenet"} for depth in DEPTHS),
        {"depth": 18, "width": 1.5, "stem": "imagenet"},
        {"depth": 18, "width": 2.0, "stem": "imagenet"},
    ],
}

preprocess_input = partial(imagenet_utils.preprocess_input, mode="caffe")  # as `weights="imagenet"`


@takes_common_options
def resnet(
    input_shape: Shape | None = None,
    depth: int = 18,
    width: float = 1.0,
    stem: Literal["cifar", "imagenet", "deep", "tiered"] = "cifar",
    stride_in: Literal["3x3", "1x1"] = "3x3",
    use_bias: bool = False,
    shortcut: Literal["conv", "pool"] = "conv",
    name: str | None = None,
    **common: Any,
) -> keras.Model:
    """ResNet with four stages and 18, 34, 50, 101 or 152 layers, at any width.

    Attention comes after the last normalization of a block, before the addition.

    Args:
        input_shape: tuple of three; height and width may be `None`. Defaults to `(32, 32, 3)` with
            the CIFAR stem and `(224, 224, 3)` with the others.
        depth: int, layers with weights: 18, 34, 50, 101 or 152. 18 and 34 layers are basic blocks,
            50 and more are bottlenecks. Defaults to 18.
        width: float, factor on the channels of all stages. The stem keeps its 64 channels. The
            CBAM paper's WideResNet18 has 1.5 and 2.0. Defaults to 1.0.
        stem: string, first layers, for small or for large images. `"cifar"` is a 3x3 convolution,
            `"imagenet"` is a 7x7 convolution with stride 2 and a max pooling. `"deep"` has three
            3x3 convolutions in its place, with 32, 32 and 64 channels, as in ResNet-C and ResNet-D;
            `"tiered"` has 24, 32 and 64, as in timm's networks with a `t`. Defaults to `"cifar"`.
        stride_in: string, convolution of a bottleneck that has the stride. `"3x3"` is used by the
            CBAM authors' code and torchvision: a 1x1 convolution with stride 2 skips three of four
            positions. `"1x1"` is used by the ResNet paper, `keras.applications` and the GFLOPs of
            the CBAM paper. Defaults to `"3x3"`.
        use_bias: bool, whether convolutions have a bias. It has no effect before a normalization;
            `True` together with `stride_in="1x1"` is the network of `keras.applications`. Defaults
            to `False`.
        shortcut: string, what a shortcut has where the size or the channels change. `"conv"` is a
            1x1 convolution with the stride. `"pool"` is an average pooling with the stride before
            it, as in ResNet-D, so that no position is skipped. Defaults to `"conv"`.
        name: string, the model's name. Defaults to `"resnet_{depth}"`.
        **common: the options of `models.builder.Builder`: `classes`, `attention_module`, ...

    Returns:
        A Functional `keras.Model`.

    Raises:
        ValueError: if `depth` is not one of the five, or an option does not allow its value.

    Example:

    >>> model = resnet((224, 224, 3), depth=50, stem="imagenet", classes=1000,
    ...                attention_module=partial(cbam_block, ratio=16))

    Reference:

    - [Deep Residual Learning for Image Recognition](https://arxiv.org/abs/1512.03385), Table 1
    - [Bag of Tricks](https://arxiv.org/abs/1812.01187), section 4, for ResNet-C and ResNet-D
    - [CBAM](https://arxiv.org/abs/1807.06521), Table 4; the authors'
      [code](https://github.com/Jongchan/attention-module/blob/master/MODELS/model_resnet.py)
    """
    require_one_of("depth of resnet", depth, DEPTHS)
    require_one_of("stem", stem, STEMS)
    require_one_of("stride_in", stride_in, STRIDES_IN)
    require_one_of("shortcut", shortcut, SHORTCUTS)
    require_number("width", width)
    make_stem, size = STEMS[stem]
    net = Builder(input_shape, name=name or f"resnet_{depth}", default_size=size, **common)
    block, repeats = DEPTHS[depth]
    filters = [max(1, round(channels * width)) for channels in WIDTHS]
    x = make_stem(net.input, WIDTHS[0], use_bias=use_bias)
    options: dict[str, bool | str] = {"use_bias": use_bias, "shortcut": shortcut}
    if block is bottleneck_block:
        filters = [4 * channels for channels in filters]
        options["stride_in"] = stride_in
    return net.model(residual_stages(net, x, block, repeats, filters, **options))
