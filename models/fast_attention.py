"""Attention on TensorFlow's CPU backend: the plain layers' numbers in less time.

Used by `models/fast.py` alone, where it applies; the formulas are those of `models/attention/`.

A module's arithmetic is next to nothing; its time goes into passes over the feature map. TensorFlow
makes one for each operation, forward and backward, and keeps what lies between for the gradient.
Here XLA joins them to as few as there can be, and the gradient is written by hand, so that of the
map only the input is kept. With f = x g the map after the channel gate g, and y = f s:

    forward   g = sigmoid(mlp(pools of x over positions))
              s = sigmoid(conv(pools of f over channels))
    backward  s' = sum of y' f over channels; from it, through the convolution, the slopes of the
                   pools of f, and with them f' = y' s + their share in each value of f
              g' = sum of f' x over positions; from it, through the MLP, the slopes of the pools
                   of x, and with them x' = f' g + their share in each value of x

The last pass takes what comes after it along: where a shortcut is added to a product of gates, and
a rectifier follows, they are passes less, not passes more (`joined`). For modules without a form of
their own here, that is all.

A mean's slope is shared by all values alike, a maximum's by those that equal it, as TensorFlow has
it. A reduction that XLA fuses with what is before it runs over one value after the other on a CPU:
over positions it takes 2.4 times as long as the same written as a tree of rows, and over channels
1.4 times as long as one that ends in a vector's width (128 maps of 32x32x16). Two reductions of one
map read it once where they are one operation of XLA's, and take 0.5 to 0.7 of the time.
"""

import functools
import math

import numpy as np
import tensorflow as tf
from tensorflow.compiler.tf2xla.python import xla

# that a reduction over positions names one by one
ROWS = 8
COLUMNS = 4
LANES = 4  # of a reduction over channels, at least
PER_LANE = 16  # channels that one reduces, at most
WIDEST = 80  # map whose convolution is folded: the work grows with the width

_compiled = functools.partial(tf.function, jit_compile=True)


def attend(x, weights, pools, kernel, descriptor, normalise=None, scale=()):
    """Computes `models.attention.cbam.CBAM`, channels first.

    Args:
        x: float32 tensor `(batch, height, width, channels)`; all but the batch known.
        weights: list of tensors or variables, the MLP's `[kernel, bias, kernel, bias]`.
        pools: tuple of `"avg"` and `"max"`, over positions.
        kernel: tensor or variable `(size, size, maps, 1)` of the spatial convolution.
        descriptor: tuple of `"avg"` and `"max"`, one for each of the maps.
        normalise: function of the convolution's output and of the tensors in `scale`, that returns
            it normalised, and a tuple of statistics.
        scale: tuple of tensors or variables.

    Returns:
        A function as of `joined`, and the statistics.
    """
    weights, scale = ([tf.convert_to_tensor(w) for w in some] for some in (weights, scale))
    kernel = tf.convert_to_tensor(kernel)
    # one cluster starts sooner than several; but a convolution that is not folded takes XLA three
    # times as long as TensorFlow, and statistics are needed once, whatever the map is joined with
    if normalise is None and x.shape[2] <= WIDEST:
        return _attend_at_once(x, weights, pools, kernel, descriptor), ()
    pooled, gate, maps = _described(x, weights, pools, descriptor)
    with tf.GradientTape(persistent=True) as tape:  # a caller may ask for several gradients
        tape.watch([maps, kernel, *scale])
        logits, statistics = convolve(maps, kernel), ()
        if normalise is not None:
            logits, statistics = normalise(logits, *scale)
        spatial = tf.sigmoid(logits)

    def through(slopes):
        return tape.gradient(spatial, [maps, kernel, *scale], slopes)

    def backward(dy):
        between = (pooled, gate, maps, spatial)
        return _slopes(dy, x, weights, pools, descriptor, between, through)

    def end(shortcuts, rectified):
        return _end((x, gate, spatial), shortcuts, rectified), backward

    return joined(end, [x, *weights, kernel, *scale]), statistics


def _attend_at_once(x, weights, pools, kernel, descriptor):
    """`attend` in one cluster forward and one backward."""

    def end(shortcuts, rectified):
        y, between = _at_once(x, weights, kernel, shortcuts, rectified, pools, descriptor)

        def backward(dy):
            return _slopes_at_once(dy, x, weights, kernel, between, pools, descriptor)

        return y, backward

    return joined(end, [x, *weights, kernel])


@_compiled
def _at_once(x, weights, kernel, shortcuts, rectified, pools, descriptor):
    pooled, gate, maps = _described(x, weights, pools, descriptor)
    spatial = tf.sigmoid(convolve(maps, kernel))
    return _end((x, gate, spatial), shortcuts, rectified), (pooled, gate, maps, spatial)


@_compiled
def _slopes_at_once(dy, x, weights, kernel, between, pools, descriptor):
    *_, maps, spatial = between

    def through(slopes):
        with tf.GradientTape() as tape:
            tape.watch([maps, kernel])
            logits = convolve(maps, kernel)
        slopes *= spatial * (1 - spatial)
        return tape.gradient(logits, [maps, kernel], slopes)

    return _slopes(dy, x, weights, pools, descriptor, between, through)


def _slopes(dy, x, weights, pools, descriptor, between, through):
    """The slopes of all inputs; `through` gives those of `maps` and what makes a gate of them."""
    pooled, gate, maps, spatial = between
    slopes, ties = _spatial_slopes(dy, x, gate, maps, descriptor)
    dmaps, *dothers = through(slopes)
    dx, dweights = _input_slopes(
        dy, x, pooled, gate, weights, pools, spatial, maps, dmaps, ties, descriptor
    )
    return dx, *dweights, *dothers


def attend_to_channels(x, weights, pools):
    """Computes `models.attention.channel.ChannelAttention`; the arguments are those of `attend`.

    Returns:
        A function as of `joined`.
    """
    weights = [tf.convert_to_tensor(w) for w in weights]

    def end(shortcuts, rectified):
        y, pooled, gate = _channels_at_once(x, weights, shortcuts, rectified, pools)

        def backward(dy):
            dx, dweights = _channel_slopes(dy, x, pooled, gate, weights, pools)
            return dx, *dweights

        return y, backward

    return joined(end, [x, *weights])


@_compiled
def _channels_at_once(x, weights, shortcuts, rectified, pools):
    pooled = tf.stack(_pools(pools, x), axis=1)
    gate = _mlp(pooled, weights)
    return _end((x, gate), shortcuts, rectified), pooled, gate


def product(x, *gates):
    """Computes a feature map times gates.

    Args:
        x: float32 tensor `(batch, height, width, channels)`.
        *gates: tensors that broadcast to it.

    Returns:
        A function as of `joined`.
    """

    def backward(dy):
        return _factor_slopes(dy, x, *gates)

    return joined(lambda *after: (_end((x, *gates), *after), backward), [x, *gates])


def joined(end, inputs):
    """A map together with what a residual block does to it.

    Args:
        end: function of a tuple of shortcuts and of `rectified` that returns the map plus the
            shortcuts, without what is below 0 if `rectified`, and a function from the slope of the
            sum to those of `inputs`.
        inputs: list of the tensors that the map is a function of.

    Returns:
        A function `(*shortcuts, rectified=False)` that returns the tensor, with its gradient.
    """

    def join(*shortcuts, rectified=False):
        @tf.custom_gradient
        def ended(*_):
            y, backward = end(shortcuts, rectified)

            def gradient(dy):
                dy = tf.raw_ops.ReluGrad(gradients=dy, features=y) if rectified else dy
                return *backward(dy), *(dy for _ in shortcuts)

            return y, gradient

        return ended(*inputs, *shortcuts)

    return join


def convolve(maps, kernel):
    """A convolution from a few maps to one, of stride 1 and as large as the input.

    With so few channels a convolution leaves most of a vector unit idle. Folding the width into the
    channels, `(height, width, maps)` as `(height, 1, width * maps)`, makes it one of `size` x 1
    from `width * maps` channels to `width`, whose kernel is the old one's rows in Toeplitz form:
    `width / size` times the multiplications, and for 32x32 in half of the time.

    Args:
        maps: float32 tensor `(batch, height, width, maps)`.
        kernel: tensor `(size, size, maps, 1)`, `size` odd.

    Returns:
        A tensor `(batch, height, width, 1)`.
    """
    _, height, width, count = maps.shape
    size = kernel.shape[0]
    if width > WIDEST:
        return tf.nn.conv2d(maps, kernel, 1, "SAME")
    column = np.arange(width)
    offset = column[:, None] - column + size // 2  # of an input column in an output column's kernel
    place = (offset == np.arange(size)[:, None, None]).astype("float32")
    folded = tf.einsum("ykm,kio->yimo", kernel[..., 0], tf.constant(place))
    folded = tf.reshape(folded, (size, 1, width * count, width))
    y = tf.nn.conv2d(tf.reshape(maps, (-1, height, 1, width * count)), folded, 1, "SAME")
    return tf.reshape(y, (-1, height, width, 1))


@_compiled
def _described(x, weights, pools, descriptor):
    pooled = tf.stack(_pools(pools, x), axis=1)
    gate = _mlp(pooled, weights)
    maps = _over_channels(descriptor, [x * gate for _ in descriptor])
    return pooled, gate, tf.stack(maps, axis=-1)


@_compiled
def _end(factors, shortcuts, rectified):
    y = math.prod(factors)
    for shortcut in shortcuts:
        y += shortcut
    return tf.nn.relu(y) if rectified else y


@_compiled
def _factor_slopes(dy, *factors):
    """The slopes of the factors of a product, each summed to the shape of its factor."""
    slopes = []
    for i, factor in enumerate(factors):
        terms = (dy, *factors[:i], *factors[i + 1 :])
        axes = [axis for axis in (1, 2, 3) if factor.shape[axis] < dy.shape[axis]]
        if axes == [1, 2]:
            slope = _over_positions("sum", lambda *terms: math.prod(terms), *terms)[:, None, None]
        elif axes == [3]:
            slope = _over_channels(["sum"], [math.prod(terms)])[0][..., None]
        else:
            slope = tf.reduce_sum(math.prod(terms), axes, keepdims=True)
        slopes.append(slope)
    return slopes


@_compiled
def _spatial_slopes(dy, x, gate, maps, descriptor):
    """The slope of the spatial gate, and how many channels share a position's maximum."""
    f = x * gate
    terms = [dy * f]
    if "max" in descriptor:
        terms.append(_where_equal(f, maps[..., descriptor.index("max")][..., None]))
    slopes, *ties = (a[..., None] for a in _over_channels(["sum" for _ in terms], terms))
    return slopes, ties[0] if ties else tf.ones_like(slopes)


@_compiled
def _input_slopes(dy, x, pooled, gate, weights, pools, spatial, maps, dmaps, ties, descriptor):
    """The slopes of the module's input and of the MLP's weights."""
    shares = []
    for i, kind in enumerate(descriptor):
        highest, share = (a[..., i : i + 1] for a in (maps, dmaps))
        shares += [highest, share / (ties if kind == "max" else x.shape[3])]

    def slope(dy, x, spatial, gate, *shares):
        total = dy * spatial
        for kind, highest, share in zip(descriptor, shares[::2], shares[1::2], strict=True):
            total += share * _where_equal(x * gate, highest) if kind == "max" else share
        return total

    arguments = [dy, x, spatial, gate, *shares]
    dgate = _over_positions("sum", lambda *a: slope(*a) * a[1], *arguments)
    dpooled, dweights = _mlp_slopes(pooled, weights, dgate)
    return slope(*arguments) * gate + _positions_share(x, pooled, dpooled, pools), dweights


@_compiled
def _channel_slopes(dy, x, pooled, gate, weights, pools):
    dgate = _over_positions("sum", lambda dy, x: dy * x, dy, x)
    dpooled, dweights = _mlp_slopes(pooled, weights, dgate)
    return dy * gate + _positions_share(x, pooled, dpooled, pools), dweights


def _mlp(pooled, weights):
    """The channel gate `(batch, 1, 1, channels)` from the pools `(batch, pools, channels)`."""
    first, first_bias, second, second_bias = weights
    # as one matrix, which is multiplied in one piece
    hidden = tf.nn.relu(tf.reshape(pooled, (-1, pooled.shape[2])) @ first + first_bias)
    logits = tf.reshape(hidden @ second + second_bias, (-1, *pooled.shape[1:]))
    return tf.sigmoid(tf.reduce_sum(logits, axis=1))[:, None, None]


def _mlp_slopes(pooled, weights, dgate):
    with tf.GradientTape() as tape:
        tape.watch([pooled, weights])
        gate = _mlp(pooled, weights)
    return tape.gradient(gate, [pooled, weights], dgate[:, None, None])


def _positions_share(x, pooled, dpooled, pools):
    """What each value of `x` has of the slopes of its pools over positions."""
    share = 0.0
    for i, kind in enumerate(pools):
        slope, value = (a[:, i][:, None, None] for a in (dpooled, pooled))
        if kind == "max":
            ties = _over_positions("sum", _where_equal, x, value)[:, None, None]
            share += _where_equal(x, value) * (slope / ties)
        else:
            share += slope / (x.shape[1] * x.shape[2])
    return share


def _where_equal(x, value):
    return tf.cast(x == value, tf.float32)


def _pools(kinds, x):
    """Each of `kinds` over height and width, `(batch, channels)`, of one reading of `x`."""
    height, width, channels = x.shape[1:]
    columns = _largest_divisor(width, COLUMNS)
    parts = tf.unstack(tf.reshape(x, (-1, height, width // columns, columns, channels)), axis=3)
    totals = [_tree(kind, parts) for kind in kinds]
    for axis in (2, 1):
        totals = _reduce_together(kinds, totals, axis)
    return [_divided(kind, a, height * width) for kind, a in zip(kinds, totals, strict=True)]


def _over_positions(kind, function, *arrays):
    """Reduces `function(*arrays)` over height and width: `(batch, channels)`.

    Args:
        kind: `"sum"`, `"avg"` or `"max"`.
        function: elementwise function of the arrays.
        *arrays: tensors `(batch, height, width, channels)`; all but the batch may be 1 for any.
    """
    height, width = arrays[0].shape[1:3]
    rows = _largest_divisor(height, ROWS)

    def every(start, array):  # one row in `rows`
        if array.shape[1] == 1:
            return array
        return tf.reshape(array, (-1, height // rows, rows, *array.shape[2:]))[:, :, start]

    parts = [function(*(every(start, a) for a in arrays)) for start in range(rows)]
    return _divided(kind, _reduction(kind)(_tree(kind, parts), axis=(1, 2)), height * width)


def _over_channels(kinds, terms):
    """Reduces each of the terms by its kind over the channels: `(batch, height, width)`."""
    channels = terms[0].shape[3]
    lanes = _largest_divisor(channels, max(channels // PER_LANE, LANES))
    shape = (-1, *terms[0].shape[1:3], channels // lanes, lanes)
    totals = _reduce_together(kinds, [tf.reshape(term, shape) for term in terms], axis=3)
    totals = [_tree(kind, tf.unstack(a, axis=3)) for kind, a in zip(kinds, totals, strict=True)]
    return [_divided(kind, a, channels) for kind, a in zip(kinds, totals, strict=True)]


def _reduce_together(kinds, terms, axis):
    """Reduces tensors of the same shape along an axis, each by its kind, in one loop."""

    @tf.custom_gradient  # the operation has none
    def reduced(*terms):
        starts = [tf.constant(-math.inf if kind == "max" else 0.0) for kind in kinds]
        totals = xla.variadic_reduce(
            terms, starts, dimensions_to_reduce=[axis], reducer=_reducer(tuple(kinds))
        )

        def gradient(*slopes):
            own = [tf.identity(term) for term in terms]  # two may be the same tensor
            with tf.GradientTape() as tape:
                tape.watch(own)
                pairs = zip(kinds, own, strict=True)
                apart = [_reduction(kind)(term, axis=axis) for kind, term in pairs]
            return tape.gradient(apart, own, slopes)

        return totals, gradient

    return reduced(*terms)


@functools.cache
def _reducer(kinds):
    """The function from two values of each kind to one."""

    @tf.function(input_signature=[tf.TensorSpec((), tf.float32)] * (2 * len(kinds)))
    def combine(*values):
        pairs = zip(kinds, values[: len(kinds)], values[len(kinds) :], strict=True)
        return tuple(_combination(kind)(*pair) for kind, *pair in pairs)

    with tf.init_scope():  # belongs to no graph
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


def _largest_divisor(number, most):
    return next(n for n in range(min(number, most), 0, -1) if number % n == 0)
