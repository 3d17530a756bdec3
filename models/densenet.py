"""DenseNet: every layer sees the outputs of all before it; for CIFAR and for ImageNet."""

from functools import partial
from typing import Any

import keras
from keras import layers
from keras.applications import imagenet_utils

from .blocks import STEMS, channel_axis, conv, imagenet_stem, norm_relu
from .builder import Builder, Shape, depth_error, takes_common_options
from .checks import require_int, require_number, require_one_of

# depth -> (growth rate, layers of the dense blocks); the paper's Table 1 (161: the authors' code)
DEPTHS = {
    121: (32, (6, 12, 24, 16)),
    161: (48, (6, 12, 36, 24)),
    169: (32, (6, 12, 32, 32)),
    201: (32, (6, 12, 48, 32)),
    264: (32, (6, 12, 64, 48)),
}
CIFAR_GROWTH, CIFAR_STAGES, CIFAR_FILTERS = 12, 3, 16
LAYERS_BESIDES = 4  # of a CIFAR depth: the first convolution, two transitions, the classifier
EPSILON = 1.001e-5

preprocess_input = partial(imagenet_utils.preprocess_input, mode="torch")


@takes_common_options
def DenseNet(
    input_shape: Shape | None = None,
    depth: int = 40,
    growth_rate: int | None = None,
    bottleneck: bool | None = None,
    compression: float | None = None,
    dropout_rate: float = 0.0,
    stem: str | None = None,
    name: str | None = None,
    **common: Any,
) -> keras.Model:
    """DenseNet and DenseNet-BC: three dense blocks for CIFAR, four for ImageNet.

    Attention comes after each dense block and after each transition; `attention_at="stage"` is
    after the transitions alone. The feature maps of `features_only` are those of the dense blocks.

    Args:
        input_shape: tuple of three; height and width may be `None`. Defaults to `(32, 32, 3)` with
            the CIFAR stem and `(224, 224, 3)` with the ImageNet stem.
        depth: int, layers with weights: 121, 161, 169, 201 or 264 (ImageNet), otherwise 3n+4, or
            6n+4 with bottlenecks (CIFAR: 40, 100, 190, 250, ...). Defaults to 40.
        growth_rate: int, channels that a layer adds. Defaults to 12 for CIFAR, 48 at depth 161 and
            32 at the other ImageNet depths.
        bottleneck: bool, whether a 1x1 convolution precedes every 3x3 one, which leaves half as
            many layers of the dense block; ImageNet depths always have it. Defaults to `False` for
            CIFAR.
        compression: float, share of the channels that a transition keeps. Defaults to 1.0 for CIFAR
            and 0.5 for ImageNet; DenseNet-BC is `bottleneck=True, compression=0.5`.
        dropout_rate: float, share dropped after every convolution but the first; the paper has 0.2
            where it trains without augmentation. Defaults to 0.0.
        stem: `"cifar"`, a 3x3 convolution; `"imagenet"`, a 7x7 convolution with stride 2 and a
            max-pooling. Defaults to the one that the depth was published with.
        name: string, the model's name. Defaults to `"densenet_{depth}"`.
        **common: the options of `models.builder.Builder`: `classes`, `attention_module`, ...

    Returns:
        A Functional `keras.Model`.

    Raises:
        ValueError: a depth that layers of this kind cannot make, an image that is too small, or a
            value an option cannot take.

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
    growth, repeats = _plan(depth, bottleneck)
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
        # attention between stages has its place after the transition
        x = net.end_stage(x, f"stage{stage}", last=True)
        if stage < len(repeats):
            x = transition(x, kept, dropout_rate, f"stage{stage}_transition")
            x = net.attend(x, f"stage{stage}_transition", ("block", "stage"))
    return net.model(norm_relu(x, "head", epsilon=EPSILON))


def dense_layer(x, growth_rate, bottleneck, dropout_rate, name):
    """Normalization, rectifier, 3x3 convolution, beside what came in; a 1x1 one before it or not.

    Args:
        x: Keras tensor of rank 4.
        growth_rate: int, channels added.
        bottleneck: bool, whether a 1x1 convolution to four times as many channels goes first.
        dropout_rate: float, share dropped after each convolution.
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
    """Between dense blocks: a 1x1 convolution to a share of the channels, and half the size."""
    filters = max(1, int(x.shape[channel_axis()] * compression))
    x = conv(norm_relu(x, name, epsilon=EPSILON), filters, 1, name=f"{name}_conv")
    x = _drop(x, dropout_rate, f"{name}_dropout")
    return layers.AveragePooling2D(2, name=f"{name}_pool")(x)


def _drop(x, rate, name):
    return layers.Dropout(rate, name=name)(x) if rate else x


def _plan(depth, bottleneck):
    """Growth rate and layers of the dense blocks that the depth was published with."""
    if depth in tuple(DEPTHS):
        return DEPTHS[depth]
    per_stages = CIFAR_STAGES * (2 if bottleneck else 1)
    count = depth - LAYERS_BESIDES if isinstance(depth, int) else 0
    if count <= 0 or count % per_stages:
        raise depth_error("densenet", depth, [per_stages], LAYERS_BESIDES, DEPTHS)
    return CIFAR_GROWTH, (count // per_stages,) * CIFAR_STAGES


def DenseNetImageNet121(
    input_shape: Shape | None = None, classes: int = 1000, **options: Any
) -> keras.Model:
    """`DenseNet` with 121 layers, for the 1000 ImageNet classes."""
    return DenseNet(input_shape, 121, classes=classes, **options)


def DenseNetImageNet161(
    input_shape: Shape | None = None, classes: int = 1000, **options: Any
) -> keras.Model:
    """`DenseNet` with 161 layers, growth 48, for the 1000 ImageNet classes."""
    return DenseNet(input_shape, 161, classes=classes, **options)


def DenseNetImageNet169(
    input_shape: Shape | None = None, classes: int = 1000, **options: Any
) -> keras.Model:
    """`DenseNet` with 169 layers, for the 1000 ImageNet classes."""
    return DenseNet(input_shape, 169, classes=classes, **options)


def DenseNetImageNet201(
    input_shape: Shape | None = None, classes: int = 1000, **options: Any
) -> keras.Model:
    """`DenseNet` with 201 layers, for the 1000 ImageNet classes."""
    return DenseNet(input_shape, 201, classes=classes, **options)


def DenseNetImageNet264(
    input_shape: Shape | None = None, classes: int = 1000, **options: Any
) -> keras.Model:
    """`DenseNet` with 264 layers, for the 1000 ImageNet classes."""
    return DenseNet(input_shape, 264, classes=classes, **options)
