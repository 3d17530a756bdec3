"""Reductions of feature maps that stay fast on a CPU where XLA fuses them with what comes before.

XLA runs a fused reduction over one value after the other. Over positions that takes 2.4 times as
long as a tree of rows, and over channels 1.4 times as long as a reduction that ends in as many
values as a vector unit holds (128 maps of 32x32x16). Two reductions of one map read it once if they
are one operation of XLA, and then take 0.5 to 0.7 of the time.

These functions are for code that XLA compiles, and take tensors of known shape but for the batch.
All reduce in float32.
"""

import functools
import math

import tensorflow as tf

from ..attention.parts import largest_divisor
from ..private_api import variadic_reduce

# a reduction over positions adds up as many rows, or columns, in a tree
ROWS = 8
COLUMNS = 4
# a reduction over channels splits them into as many lanes, or into more, so that no lane has more
# than as many channels
LANES = 4
PER_LANE = 16


def float32(x):
    """Returns a tensor in float32; in code that XLA compiles this takes no pass of its own."""
    return tf.cast(x, tf.float32)


def pools(kinds, terms):
    """Reduces maps over height and width; what they are computed from is read once.

    Args:
        kinds: tuple of `"sum"`, `"avg"` or `"max"`, one for each map.
        terms: list of float32 tensors `(batch, height, width, channels)`.

    Returns:
        A list of tensors `(batch, channels)`.
    """
    height, width, channels = terms[0].shape[1:]
    if len(terms) == 1:
        totals = [_reduction(kinds[0])(terms[0], axis=(1, 2))]
    else:
        columns = largest_divisor(width, COLUMNS)
        shape = (-1, height, width // columns, columns, channels)
        columns = [tf.unstack(tf.reshape(term, shape), axis=3) for term in terms]
        totals = [_tree(kind, c) for kind, c in zip(kinds, columns, strict=True)]
        for axis in (2, 1):
            totals = _reduce_together(kinds, totals, axis)
    return [_divided(kind, a, height * width) for kind, a in zip(kinds, totals, strict=True)]


def over_positions(kind, function, *arrays):
    """Reduces `function(*arrays)` over height and width: `(batch, channels)`.

    Args:
        kind: `"sum"` or `"max"`.
        function: elementwise function of the arrays, which it is given in float32.
        *arrays: float32 or bfloat16 tensors `(batch, height, width, channels)`. From the second
            on, height, width and channels may be 1.
    """
    height = arrays[0].shape[1]
    rows = largest_divisor(height, ROWS)

    def rows_from(start, array):  # every `rows`-th row
        if array.shape[1] == 1:
            return array
        return tf.reshape(array, (-1, height // rows, rows, *array.shape[2:]))[:, :, start]

    parts = [function(*(float32(rows_from(start, a)) for a in arrays)) for start in range(rows)]
    return _reduction(kind)(_tree(kind, parts), axis=(1, 2))


def over_channels(kinds, terms):
    """Reduces maps over channels; what they are computed from is read once.

    Args:
        kinds: as those of `pools`.
        terms: list of float32 tensors `(batch, height, width, channels)`.

    Returns:
        A list of tensors `(batch, height, width)`.
    """
    channels = terms[0].shape[3]
    lanes = largest_divisor(channels, max(channels // PER_LANE, LANES))
    shape = (-1, *terms[0].shape[1:3], channels // lanes, lanes)
    totals = _reduce_together(kinds, [tf.reshape(term, shape) for term in terms], axis=3)
    totals = [_tree(kind, tf.unstack(a, axis=3)) for kind, a in zip(kinds, totals, strict=True)]
    return [_divided(kind, a, channels) for kind, a in zip(kinds, totals, strict=True)]


def _reduce_together(kinds, terms, axis):
    """Reduces tensors of the same shape along an axis, each by its kind, in one loop."""

    @tf.custom_gradient  # the operation has none
    def reduced(*terms):
        starts = [tf.constant(-math.inf if kind == "max" else 0.0) for kind in kinds]
        totals = variadic_reduce(terms, starts, axis, _reducer(tuple(kinds)))

        def gradient(*gradients):
            own = [tf.identity(term) for term in terms]  # two terms may be the same tensor
            with tf.GradientTape() as tape:
                tape.watch(own)
                pairs = zip(kinds, own, strict=True)
                apart = [_reduction(kind)(term, axis=axis) for kind, term in pairs]
            return tape.gradient(apart, own, gradients)

        return totals, gradient

    return reduced(*terms)


@functools.cache
def _reducer(kinds):
    """The function that combines two values of each kind to one."""

    @tf.function(input_signature=[tf.TensorSpec((), tf.float32)] * (2 * len(kinds)))
    def combine(*values):
        pairs = zip(kinds, values[: len(kinds)], values[len(kinds) :], strict=True)
        return tuple(_combination(kind)(*pair) for kind, *pair in pairs)

    with tf.init_scope():  # outside the graph that is being traced: other graphs use it too
        return combine.get_concrete_function()


def _reduction(kind):
    return tf.reduce_max if kind == "max" else tf.reduce_sum


def _combination(kind):
    return tf.maximum if kind == "max" else tf.add


def _divided(kind, total, count):
    return total / count if kind == "avg" else total


def _tree(kind, terms):
    while len(terms) > 1:
        pairs = map(_combination(kind), terms[::2], terms[1::2])
        terms = [*pairs, *terms[len(terms) // 2 * 2 :]]
    return terms[0]
