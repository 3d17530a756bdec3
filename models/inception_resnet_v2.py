"""Inception-ResNet v2, with a stem for large or for small images."""

from collections import namedtuple
from functools import partial
from typing import Any, Literal

import keras
from keras import layers
from keras.applications import imagenet_utils

from .blocks import activate, channel_axis, conv
from .builder import Builder, Shape, takes_common_options
from .checks import require_number, require_one_of
from .inception import STEMS, inception_a, inception_stem, parallel, unit, widened

_REDUCTION_A = (
    ((384, 3, 2, "valid"),),
    ((256, 1), (256, 3), (384, 3, 2, "valid")),
    ("max",),
)
_REDUCTION_B = (
    ((256, 1), (384, 3, 2, "valid")),
    ((256, 1), (288, 3, 2, "valid")),
    ((256, 1), (288, 3), (320, 3, 2, "valid")),
    ("max",),
)
_RESIDUAL_A = (((32, 1),), ((32, 1), (32, 3)), ((32, 1), (48, 3), (64, 3)))
_RESIDUAL_B = (((192, 1),), ((128, 1), (160, (1, 7)), (192, (7, 1))))
_RESIDUAL_C = (((192, 1),), ((192, 1), (224, (1, 3)), (256, (3, 1))))

# the block that a stage starts with; the branches, number and scale of its residual blocks
Stage = namedtuple("Stage", "entry, branches, repeats, scale")
STAGES = (
    Stage(inception_a(96, 64), _RESIDUAL_A, 10, 0.17),
    Stage(_REDUCTION_A, _RESIDUAL_B, 20, 0.1),
    Stage(_REDUCTION_B, _RESIDUAL_C, 10, 0.2),
)
_HEAD = (1536, 1)  # the convolution before the classifier

# published networks: (side of the image, classes) -> their options; 32x32 takes the CIFAR stem
VARIANTS: dict[tuple[int, int], list[dict]] = {(32, 10): [{}], (299, 1000): [{}]}
# values of `attention_at` that only this architecture has
OWN_PLACES = ("addition",)

preprocess_input = partial(imagenet_utils.preprocess_input, mode="tf")


@takes_common_options
def InceptionResNetV2(
    input_shape: Shape | None = None,
    stem: Literal["cifar", "imagenet"] | None = None,
    classes: int = 1000,
    name: str | None = None,
    width: float = 1.0,
    **common: Any,
) -> keras.Model:
    """Inception-ResNet v2, the network of `keras.applications.InceptionResNetV2`.

    Three stages of 10, 20 and 10 residual blocks on maps of 35x35, 17x17 and 8x8 pixels for an
    image of 299x299. Every stage starts with a block without a shortcut. Attention comes on the
    residual branch, before it is scaled and added. This architecture has a place of its own,
    `attention_at="addition"`: after the addition and its ReLU, the SE-POST of the SE paper.

    Args:
        input_shape: tuple of three; height and width may be `None`. Defaults to `(299, 299, 3)`,
            or to `(32, 32, 3)` if `stem="cifar"`.
        stem: string, first layers, for small or for large images. `"imagenet"` is as published and
            needs at least 75x75 pixels. `"cifar"` is the same five convolutions with strides 1,
            `"same"` padding and no pooling, and needs at least 7x7 pixels; of an image of 32x32 the
            three stages have maps of 32x32, 15x15 and 7x7. Defaults to `"cifar"` if the height or
            the width is known to be less than 75, and to `"imagenet"` otherwise.
        classes: int, number of classes. Defaults to 1000.
        name: string, the model's name. Defaults to `"inception_resnet_v2"`.
        width: float, factor on the channels of all convolutions, such as 0.25 for small images.
            Defaults to 1.0, as published.
        **common: the options of `models.builder.Builder`: `attention_module`, `pooling`, ...

    Returns:
        A Functional `keras.Model`.

    Raises:
        ValueError: if the image is too small for the stem, or an option does not allow its value.

    Example:

    >>> model = InceptionResNetV2((32, 32, 3), classes=10, attention_module="se_block")

    Reference:

    - [Inception-v4, Inception-ResNet and the Impact of Residual Connections on Learning](
      https://arxiv.org/abs/1602.07261); scales and last block as in the authors' code and in
      `keras.applications`
    - [Squeeze-and-Excitation Networks](https://arxiv.org/abs/1709.01507), section 6.5, on places
      for attention in a residual block
    """
    require_one_of("stem", stem, (None, *STEMS))
    require_number("width", width)
    size = STEMS[stem or "imagenet"].size
    net = Builder(
        input_shape,
        classes=classes,
        name=name or "inception_resnet_v2",
        default_size=size,
        **common,
    )
    x = inception_stem(net, stem, width)
    for number, (entry, branches, repeats, scale) in enumerate(STAGES, start=1):
        entry, branches = widened((entry, branches), width)
        x = parallel(x, entry, f"stage{number}_entry")
        for block in range(1, repeats + 1):
            # the last block of all has neither a scale nor a ReLU
            is_last = number == len(STAGES) and block == repeats
            x = _residual_block(
                net,
                x,
                branches,
                f"stage{number}_block{block}",
                scale=1.0 if is_last else scale,
                activation=None if is_last else "relu",
            )
        x = net.end_stage(x, f"stage{number}", last=number == len(STAGES))
    return net.model(unit(x, "head", "", *widened(_HEAD, width)))


def _residual_block(net, x, branches, name, scale, activation):
    """Adds to `x` the branches, after a 1x1 convolution to its channels, times a scale."""
    y = parallel(x, branches, name)
    # a bias, as no normalization follows
    y = conv(y, x.shape[channel_axis()], 1, name=f"{name}_up_conv", use_bias=True)
    y = net.attend(y, name)
    y = layers.Rescaling(scale, name=f"{name}_scale")(y)
    x = layers.Add(name=f"{name}_add")([x, y])
    if activation:
        x = activate(x, f"{name}_{activation}", activation)
    return net.attend(x, f"{name}_addition", OWN_PLACES)
