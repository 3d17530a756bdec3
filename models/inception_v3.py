"""Inception v3, with a stem for large or for small images."""

from functools import partial
from typing import Any, Literal

import keras
from keras.applications import imagenet_utils

from .builder import Builder, Shape, takes_common_options
from .checks import require_number, require_one_of
from .inception import STEMS, inception_a, inception_stem, parallel, widened


def _inception_b(width):
    """The block for the 17x17 map: 7x7 convolutions as pairs of 1x7 and 7x1."""
    return (
        ((192, 1),),
        ((width, 1), (width, (1, 7)), (192, (7, 1))),
        ((width, 1), (width, (7, 1)), (width, (1, 7)), (width, (7, 1)), (192, (1, 7))),
        ("average", (192, 1)),
    )


# 1x3 and 3x1 in parallel
_PAIR = [((384, (1, 3)),), ((384, (3, 1)),)]
_INCEPTION_C = (
    ((320, 1),),
    ((384, 1), _PAIR),
    ((448, 1), (384, 3), _PAIR),
    ("average", (192, 1)),
)
_REDUCTION_A = (
    ((384, 3, 2, "valid"),),
    ((64, 1), (96, 3), (96, 3, 2, "valid")),
    ("max",),
)
_REDUCTION_B = (
    ((192, 1), (320, 3, 2, "valid")),
    ((192, 1), (192, (1, 7)), (192, (7, 1)), (192, 3, 2, "valid")),
    ("max",),
)
# the blocks of the three stages, mixed0 to mixed10 of the authors' code
STAGES = (
    (inception_a(64, 32), inception_a(64, 64), inception_a(64, 64)),
    (_REDUCTION_A, *map(_inception_b, (128, 160, 160, 192))),
    (_REDUCTION_B, _INCEPTION_C, _INCEPTION_C),
)

# published networks: (side of the image, classes) -> their options; 32x32 takes the CIFAR stem
VARIANTS: dict[tuple[int, int], list[dict]] = {(32, 10): [{}], (299, 1000): [{}]}

preprocess_input = partial(imagenet_utils.preprocess_input, mode="tf")


@takes_common_options
def InceptionV3(
    input_shape: Shape | None = None,
    stem: Literal["cifar", "imagenet"] | None = None,
    classes: int = 1000,
    name: str | None = None,
    width: float = 1.0,
    **common: Any,
) -> keras.Model:
    """Inception v3, the network of `keras.applications.InceptionV3`.

    Three stages of 3, 5 and 3 blocks of parallel branches, on maps of 35x35, 17x17 and 8x8 pixels
    for an image of 299x299. Attention comes after each of the 11 blocks, on the concatenated map.

    Args:
        input_shape: tuple of three; height and width may be `None`. Defaults to `(299, 299, 3)`,
            or to `(32, 32, 3)` if `stem="cifar"`.
        stem: string, first layers, for small or for large images. `"imagenet"` is as published and
            needs at least 75x75 pixels. `"cifar"` is the same five convolutions with strides 1,
            `"same"` padding and no pooling, and needs at least 7x7 pixels; of an image of 32x32 the
            three stages have maps of 32x32, 15x15 and 7x7. Defaults to `"cifar"` if the height or
            the width is known to be less than 75, and to `"imagenet"` otherwise.
        classes: int, number of classes. Defaults to 1000.
        name: string, the model's name. Defaults to `"inception_v3"`.
        width: float, factor on the channels of all convolutions, such as 0.25 for small images.
            Defaults to 1.0, as published.
        **common: the options of `models.builder.Builder`: `attention_module`, `pooling`, ...

    Returns:
        A Functional `keras.Model`.

    Raises:
        ValueError: if the image is too small for the stem, or an option does not allow its value.

    Example:

    >>> model = InceptionV3((32, 32, 3), classes=10, attention_module="cbam_block")

    Reference:

    - [Rethinking the Inception Architecture for Computer Vision](
      https://arxiv.org/abs/1512.00567), Table 1; without the auxiliary classifier
    """
    require_one_of("stem", stem, (None, *STEMS))
    require_number("width", width)
    size = STEMS[stem or "imagenet"].size
    net = Builder(
        input_shape, classes=classes, name=name or "inception_v3", default_size=size, **common
    )
    x = inception_stem(net, stem, width)
    for stage, blocks in enumerate(widened(STAGES, width), start=1):
        for number, branches in enumerate(blocks, start=1):
            block = f"stage{stage}_block{number}"
            x = net.attend(parallel(x, branches, block), block)
        x = net.end_stage(x, f"stage{stage}", last=stage == len(STAGES))
    return net.model(x)
