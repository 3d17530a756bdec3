"""What the Inception networks share: blocks of parallel branches, and the stem.

A block is data: a tuple of branches. A branch is a tuple of steps, one after the other. A step is
one of

- `(filters, kernel_size, strides, padding)`, a convolution with normalization and ReLU; strides
  default to 1 and padding to `"same"`;
- `"average"`, a 3x3 average pooling that keeps the size;
- `"max"`, a 3x3 max pooling with stride 2, without padding;
- a list of branches, which split here and are concatenated.
"""

from collections import namedtuple
from itertools import count

from keras import layers

from .blocks import channel_axis, conv_norm

_POOLS = {
    "average": (layers.AveragePooling2D, {"strides": 1, "padding": "same"}),
    "max": (layers.MaxPooling2D, {"strides": 2, "padding": "valid"}),
}

_IMAGENET = (
    (32, 3, 2, "valid"),
    (32, 3, 1, "valid"),
    (64, 3),
    "max",
    (80, 1),
    (192, 3, 1, "valid"),
    "max",
)
# the same convolutions without strides, unpadded edges and poolings: they keep the size
_CIFAR = tuple(step[:2] for step in _IMAGENET if step != "max")

Stem = namedtuple("Stem", "steps, size, least")
# name -> (steps, side of the images that it is made for, smallest side). The two reductions after
# the first stage need a map of 7x7, which the published stem makes of 75x75.
STEMS = {"cifar": Stem(_CIFAR, 32, 7), "imagenet": Stem(_IMAGENET, 299, 75)}


def widened(part, width):
    """A block, or a part of one such as a branch, with its channels times `width`.

    Args:
        part: block, branch, step or tuple of blocks, as described at the top of this file.
        width: float, factor on the channels; a convolution keeps at least one.

    Returns:
        The same structure.
    """
    if isinstance(part, str):
        return part
    if isinstance(part[0], int):
        filters, *others = part
        return (max(1, round(filters * width)), *others)
    return type(part)(widened(inner, width) for inner in part)


def inception_stem(net, stem=None, width=1.0):
    """The five convolutions before the first block.

    Args:
        net: the network's `Builder`.
        stem: `"imagenet"`, as published, which leaves about an eighth of height and width (35x35
            of 299x299), or `"cifar"`, the same convolutions with strides 1, `"same"` padding and
            no pooling, which keeps the size. Defaults to `"cifar"` if the height or the width is
            known to be too small for `"imagenet"`, and to `"imagenet"` otherwise.
        width: float, factor on the channels. Defaults to 1.0.

    Returns:
        A Keras tensor of rank 4.

    Raises:
        ValueError: if the image is too small for the stem.
    """
    if stem is None:
        stem = "cifar" if net.is_below(STEMS["imagenet"].least) else "imagenet"
    net.require_size(STEMS[stem].least)
    return _branch(net.input, widened(STEMS[stem].steps, width), "stem")


def inception_a(direct, pooled):
    """The block for the 35x35 map, with which both networks begin.

    Args:
        direct: int, channels of the branch that is a single 1x1 convolution.
        pooled: int, channels of the 1x1 convolution after the pooling.

    Returns:
        A tuple of branches.
    """
    return (
        ((direct, 1),),
        ((48, 1), (64, 5)),
        ((64, 1), (96, 3), (96, 3)),
        ("average", (pooled, 1)),
    )


def parallel(x, branches, name):
    """Applies parallel branches and concatenates their outputs.

    Args:
        x: Keras tensor of rank 4.
        branches: tuple of branches, as described at the top of this file.
        name: string, prefix of the layers' names.

    Returns:
        A Keras tensor of rank 4.
    """
    ends = [_branch(x, steps, f"{name}_branch{i}") for i, steps in enumerate(branches, start=1)]
    return layers.Concatenate(axis=channel_axis(), name=f"{name}_concat")(ends)


def unit(x, name, number, filters, kernel_size, strides=1, padding="same"):
    """Convolution, normalization without a gamma, and ReLU."""
    # the next convolution can take the place of a gamma, as ReLU keeps positive factors
    return conv_norm(
        x, filters, kernel_size, strides, name, number, padding=padding, epsilon=1e-3, scale=False
    )


def _branch(x, steps, name):
    # two counters: the convolutions have the same names in both stems
    convs, pools = count(1), count(1)
    for step in steps:
        if isinstance(step, list):
            x = parallel(x, step, name)
        elif step in _POOLS:
            pool, options = _POOLS[step]
            x = pool(3, name=f"{name}_pool{next(pools)}", **options)(x)
        else:
            x = unit(x, name, next(convs), *step)
    return x
