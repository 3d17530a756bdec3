"""DenseNet: the input of a layer is the output of all layers before it; for CIFAR and ImageNet."""

from collections.abc import Callable
from functools import partial
from typing import Any, Literal

import keras
from keras import layers
from keras.applications import imagenet_utils

from .blocks import STEMS, channel_axis, conv, imagenet_stem, norm_relu
from .builder import Builder, Shape, takes_common_options
from .checks import require_int, require_number, require_one_of
from .depths import require_depth

# depth -> (growth rate, layers of the dense blocks), Table 1 of the paper; 161: the authors' code
DEPTHS = {
    121: (32, (6, 12, 24, 16)),
    161: (48, (6, 12, 36, 24)),
    169: (32, (6, 12, 32, 32)),
    201: (32, (6, 12, 48, 32)),
    264: (32, (6, 12, 64, 48)),
}
CIFAR_GROWTH, CIFAR_STAGES, CIFAR_FILTERS = 12, 3, 16
OTHER_LAYERS = 4  # in a CIFAR depth: the first convolution, two transitions, the classifier
EPSILON = 1.001e-5
# published networks: (side of the image, classes) -> their options
VARIANTS = {
    (32, 10): [
        {"depth": 40},
        {"depth": 100},
        {"depth": 100, "growth_rate": 24},
        {"depth": 100, "bottleneck": True, "compression": 0.5},
    ],
    (224, 1000): [{"depth": depth} for depth in DEPTHS],
}

preprocess_input = partial(imagenet_utils.preprocess_input, mode="torch")


@takes_common_options
def DenseNet(
    input_shape: Shape | None = None,
    depth: int = 40,
    growth_rate: int | None = None,
    bottleneck: bool | None = None,
    compression: float | None = None,
    dropout_rate: float = 0.0,
    stem: Literal["cifar", "imagenet"] | None = None,
    name: str | None = None,
    **common: Any,
) -> keras.Model:
    """DenseNet and DenseNet-BC, with three dense blocks for CIFAR or four for ImageNet.

    Attention comes after every dense block and after every transition, and with
    `attention_at="stage"` only after the transitions. `features_only` returns the outputs of the
    dense blocks.

    Args:
        input_shape: tuple of three; height and width may be `None`. Defaults to `(32, 32, 3)` with
            the CIFAR stem and `(224, 224, 3)` with the ImageNet stem.
        depth: int, layers with weights: 121, 161, 169, 201, 264, or 3n+4 (bottlenecks: 6n+4). The
            first five are for ImageNet, all others, such as 40, 100, 190 and 250, for CIFAR.
            Defaults to 40.
        growth_rate: int, channels that every layer adds. Defaults to 12 for CIFAR, 48 at depth 161
            and 32 at the other ImageNet depths.
        bottleneck: bool, whether a 1x1 convolution precedes every 3x3 convolution. A dense block of
            a given depth then has half as many 3x3 convolutions. ImageNet depths always have
            bottlenecks. Defaults to `False` for CIFAR.
        compression: float, share of the channels that a transition keeps, at most 1. DenseNet-BC is
            `bottleneck=True, compression=0.5`. Defaults to 1.0 for CIFAR and 0.5 for ImageNet.
        dropout_rate: float, dropout rate after every convolution but the first. The paper has 0.2
            where it trains without augmentation. Defaults to 0.0.
        stem: string, first layers, for small or for large images. `"cifar"` is a 3x3 convolution,
            `"imagenet"` is a 7x7 convolution with stride 2 and a max pooling. Defaults to
            `"imagenet"` at the ImageNet depths and to `"cifar"` at all others.
        name: string, the model's name. Defaults to `"densenet_{depth}"`.
        **common: the options of `models.builder.Builder`: `classes`, `attention_module`, ...

    Returns:
        A Functional `keras.Model`.

    Raises:
        ValueError: if layers of this kind cannot make `depth`, if the image is too small, or if an
            option does not allow its value.

    Example:

    >>> model = DenseNet((32, 32, 3), depth=100, bottleneck=True, compression=0.5,
    ...                  attention_module="cbam_block")

    Reference:

    - [Densely Connected Convolutional Networks](https://arxiv.org/abs/1608.06993), Tables 1 and 2
    """
    published = depth in tuple(DEPTHS)
    may_be = (None, True) if published else (None, False, True)
    require_one_of(f"bottleneck of densenet_{depth}", bottleneck, may_be)
    bottleneck = published if bottleneck is None else bottleneck
    depth, growth, repeats = _plan(depth, bottleneck)
    growth = require_int("growth_rate", growth if growth_rate is None else growth_rate)
    kept = (0.5 if published else 1.0) if compression is None else compression
    require_number("compression", kept, most=1)
    require_one_of("stem", stem, (None, *STEMS))
    stem = stem or ("imagenet" if published else "cifar")
    size = STEMS[stem][1]
    net = Builder(input_shape, name=name or f"densenet_{depth}", default_size=size, **common)
    least = 2 ** (len(repeats) - 1)
    filters = 2 * growth if published or (bottleneck and kept < 1) else CIFAR_FILTERS
    if stem == "imagenet":
        net.require_size(4 * least - 3)  # the stem rounds up, the transitions round down
        x = imagenet_stem(net.input, filters, epsilon=EPSILON)
    else:
        net.require_size(least)
        x = conv(net.input, filters, 3, name="stem_conv")
    for stage, count in enumerate(repeats, start=1):
        for number in range(1, count + 1):
            x = dense_layer(x, growth, bottleneck, dropout_rate, f"stage{stage}_layer{number}")
        x = net.attend(x, f"stage{stage}_block")
        # attention between stages comes after the transition
        x = net.end_stage(x, f"stage{stage}", last=True)
        if stage < len(repeats):
            x = transition(x, kept, dropout_rate, f"stage{stage}_transition")
            x = net.attend(x, f"stage{stage}_transition", ("block", "stage"))
    return net.model(norm_relu(x, "head", epsilon=EPSILON))


def dense_layer(x, growth_rate, bottleneck, dropout_rate, name):
    """A pre-activation convolution, whose output is concatenated to its input.

    Args:
        x: Keras tensor of rank 4.
        growth_rate: int, channels of the 3x3 convolution.
        bottleneck: bool, whether a 1x1 convolution to four times as many channels precedes it.
        dropout_rate: float, dropout rate after each convolution.
        name: string, prefix of the layers' names.

    Returns:
        A Keras tensor with `growth_rate` more channels than `x`.
    """
    shapes = [(4 * growth_rate, 1), (growth_rate, 3)] if bottleneck else [(growth_rate, 3)]
    y = x
    for number, (filters, kernel_size) in enumerate(shapes, start=1):
        y = norm_relu(y, name, number, EPSILON)
        y = conv(y, filters, kernel_size, name=f"{name}_conv{number}")
        y = _drop(y, dropout_rate, f"{name}_dropout{number}")
    return layers.Concatenate(channel_axis(), name=f"{name}_concat")([x, y])


def transition(x, compression, dropout_rate, name):
    """A 1x1 convolution that keeps a share of the channels, and a pooling to half the size.

    Args:
        x: Keras tensor of rank 4.
        compression: float, share of the channels that is kept.
        dropout_rate: float, dropout rate after the convolution.
        name: string, prefix of the layers' names.

    Returns:
        A Keras tensor of rank 4.
    """
    filters = max(1, int(x.shape[channel_axis()] * compression))
    x = conv(norm_relu(x, name, epsilon=EPSILON), filters, 1, name=f"{name}_conv")
    x = _drop(x, dropout_rate, f"{name}_dropout")
    return layers.AveragePooling2D(2, name=f"{name}_pool")(x)


def _drop(x, rate, name):
    return layers.Dropout(rate, name=name)(x) if rate else x


def _plan(depth, bottleneck):
    """Returns the depth, the default growth rate and the layers of each dense block."""
    per_stages = CIFAR_STAGES * (2 if bottleneck else 1)
    depth = require_depth("densenet", depth, [per_stages], OTHER_LAYERS, DEPTHS)
    cifar = CIFAR_GROWTH, ((depth - OTHER_LAYERS) // per_stages,) * CIFAR_STAGES
    return depth, *DEPTHS.get(depth, cifar)


def _for_imagenet(depth: int) -> Callable[..., keras.Model]:
    """Makes the alias for one of the ImageNet depths."""

    def build(input_shape: Shape | None = None, classes: int = 1000, **options: Any) -> keras.Model:
        return DenseNet(input_shape, depth, classes=classes, **options)

    build.__name__ = build.__qualname__ = f"DenseNetImageNet{depth}"
    build.__doc__ = f"An alias: `DenseNet` with {depth} layers, by default for 1000 classes."
    return build


DenseNetImageNet121 = _for_imagenet(121)
DenseNetImageNet161 = _for_imagenet(161)
DenseNetImageNet169 = _for_imagenet(169)
DenseNetImageNet201 = _for_imagenet(201)
DenseNetImageNet264 = _for_imagenet(264)
