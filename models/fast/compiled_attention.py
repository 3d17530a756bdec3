"""Attention on TensorFlow's CPU backend: the plain layers' numbers in less time.

The formulas are those of `models/attention/`.

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
it. What is before attention is taken along too where it is a batch normalization (`maps.py`).
"""

import functools
import math

import numpy as np
import tensorflow as tf

from .maps import Stored
from .reductions import over_channels, over_positions

WIDEST = 80  # map whose convolution is folded: the work grows with the width

_compiled = functools.partial(tf.function, jit_compile=True)


def attend(source, weights, pools, kernel, descriptor, normalize=None, scale=()):
    """Computes `models.attention.cbam.CBAM`, channels first.

    Args:
        source: `Stored` or `Normalized` map.
        weights: list of tensors or variables, the MLP's `[kernel, bias, kernel, bias]`.
        pools: tuple of `"avg"` and `"max"`, over positions.
        kernel: tensor or variable `(size, size, maps, 1)` of the spatial convolution.
        descriptor: tuple of `"avg"` and `"max"`, one for each of the maps.
        normalize: function of the convolution's output and of the tensors in `scale`, that returns
            it normalized, and a tuple of statistics.
        scale: tuple of tensors or variables.

    Returns:
        A function as of `joined`, and the statistics.
    """
    weights, scale = ([tf.convert_to_tensor(w) for w in some] for some in (weights, scale))
    kernel = tf.convert_to_tensor(kernel)
    # one cluster starts sooner than several; but a convolution that is not folded takes XLA three
    # times as long as TensorFlow, and statistics are needed once, whatever the map is joined with
    if normalize is None and source.x.shape[2] <= WIDEST:
        return _attend_at_once(source, weights, pools, kernel, descriptor), ()
    pooled, gate, maps = _described(source, weights, pools, descriptor)
    with tf.GradientTape(persistent=True) as tape:  # a caller may ask for several gradients
        tape.watch([maps, kernel, *scale])
        logits, statistics = convolve(maps, kernel), ()
        if normalize is not None:
            logits, statistics = normalize(logits, *scale)
        spatial = tf.sigmoid(logits)

    def through(slopes):
        return tape.gradient(spatial, [maps, kernel, *scale], slopes)

    def backward(dy):
        between = (pooled, gate, maps, spatial)
        return _slopes(dy, source, weights, pools, descriptor, between, through)

    def end(shortcuts, rectified):
        return _end(source, (gate, spatial), shortcuts, rectified), backward

    return joined(end, [*source.inputs(), *weights, kernel, *scale]), statistics


def _attend_at_once(source, weights, pools, kernel, descriptor):
    """`attend` in one cluster forward and one backward."""

    def end(shortcuts, rectified):
        y, between = _at_once(source, weights, kernel, shortcuts, rectified, pools, descriptor)

        def backward(dy):
            return _slopes_at_once(dy, source, weights, kernel, between, pools, descriptor)

        return y, backward

    return joined(end, [*source.inputs(), *weights, kernel])


@_compiled
def _at_once(source, weights, kernel, shortcuts, rectified, pools, descriptor):
    pooled, gate, maps = _described(source, weights, pools, descriptor)
    spatial = tf.sigmoid(convolve(maps, kernel))
    y = _end(source, (gate, spatial), shortcuts, rectified)
    return y, (pooled, gate, maps, spatial)


@_compiled
def _slopes_at_once(dy, source, weights, kernel, between, pools, descriptor):
    *_, maps, spatial = between

    def through(slopes):
        with tf.GradientTape() as tape:
            tape.watch([maps, kernel])
            logits = convolve(maps, kernel)
        slopes *= spatial * (1 - spatial)
        return tape.gradient(logits, [maps, kernel], slopes)

    return _slopes(dy, source, weights, pools, descriptor, between, through)


def _slopes(dy, source, weights, pools, descriptor, between, through):
    """The slopes of all inputs; `through` gives those of `maps` and what makes a gate of them."""
    _, gate, maps, _ = between
    dspatial, ties = _spatial_slopes(dy, source, gate, maps, descriptor)
    dmaps, *dothers = through(dspatial)
    dsource, dweights = _attended_slopes(
        dy, source, weights, pools, descriptor, between, dmaps, ties
    )
    return *dsource, *dweights, *dothers


def attend_to_channels(source, weights, pools):
    """Computes `models.attention.channel.ChannelAttention`; the arguments are those of `attend`.

    Returns:
        A function as of `joined`.
    """
    weights = [tf.convert_to_tensor(w) for w in weights]

    def end(shortcuts, rectified):
        y, pooled, gate = _channels_at_once(source, weights, shortcuts, rectified, pools)

        def backward(dy):
            dsource, dweights = _channel_slopes(dy, source, weights, pools, pooled, gate)
            return *dsource, *dweights

        return y, backward

    return joined(end, [*source.inputs(), *weights])


@_compiled
def _channels_at_once(source, weights, shortcuts, rectified, pools):
    pooled, gate = _channel_gate(source, weights, pools)
    return _end(source, (gate,), shortcuts, rectified), pooled, gate


@_compiled
def _channel_slopes(dy, source, weights, pools, pooled, gate):
    return _gated_slopes(lambda x, dy: dy, (dy,), source, weights, pools, pooled, gate)


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

    return joined(lambda *after: (_end(Stored(x), gates, *after), backward), [x, *gates])


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
def _described(source, weights, pools, descriptor):
    pooled, gate = _channel_gate(source, weights, pools)
    f = source.values(source.x) * gate
    maps = over_channels(descriptor, [f for _ in descriptor])
    return pooled, gate, tf.stack(maps, axis=-1)


def _channel_gate(source, weights, pools):
    pooled = source.pool(pools)
    return pooled, _mlp(source.pooled_values(pools, pooled), weights)


@_compiled
def _end(source, gates, shortcuts, rectified):
    y = math.prod(gates, start=source.values(source.x))
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
            slope = over_positions("sum", lambda *terms: math.prod(terms), *terms)[:, None, None]
        elif axes == [3]:
            slope = over_channels(["sum"], [math.prod(terms)])[0][..., None]
        else:
            slope = tf.reduce_sum(math.prod(terms), axes, keepdims=True)
        slopes.append(slope)
    return slopes


@_compiled
def _spatial_slopes(dy, source, gate, maps, descriptor):
    """The slope of the spatial gate, and how many channels share a position's maximum."""
    f = source.values(source.x) * gate
    terms = [dy * f]
    if "max" in descriptor:
        terms.append(_where_equal(f, maps[..., descriptor.index("max")][..., None]))
    slopes, *ties = (a[..., None] for a in over_channels(["sum" for _ in terms], terms))
    # at least one, also if rounding elsewhere made it another value
    return slopes, tf.maximum(ties[0], 1.0) if ties else tf.ones_like(slopes)


@_compiled
def _attended_slopes(dy, source, weights, pools, descriptor, between, dmaps, ties):
    """The slopes of the module's input and of the MLP's weights."""
    pooled, gate, maps, spatial = between
    shares = []
    for i, kind in enumerate(descriptor):
        highest, share = (a[..., i : i + 1] for a in (maps, dmaps))
        shares += [highest, share / (ties if kind == "max" else source.x.shape[3])]

    def slope(x, dy, spatial, gate, *shares):
        total = dy * spatial
        for kind, highest, share in zip(descriptor, shares[::2], shares[1::2], strict=True):
            equal = _where_equal(source.values(x) * gate, highest) if kind == "max" else 1.0
            total += share * equal
        return total

    arguments = (dy, spatial, gate, *shares)
    return _gated_slopes(slope, arguments, source, weights, pools, pooled, gate)


def _gated_slopes(slope, arguments, source, weights, pools, pooled, gate):
    """The slopes of the source and of the MLP's weights.

    `slope` is an elementwise function of the source's `x` and the arguments: the slope of the map
    after the channel gate.
    """
    sums = source.sums(slope, *arguments)
    values = source.pooled_values(pools, pooled)
    dpooled, dweights = _mlp_slopes(values, weights, source.slope_of_gate(sums))
    dvalues = slope(source.x, *arguments) * gate + _positions_share(source, pooled, dpooled, pools)
    return source.slopes(dvalues, gate, sums, pools, pooled, dpooled), dweights


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


def _positions_share(source, pooled, dpooled, pools):
    """What each of the source's values has of the slopes of its pools over positions."""

    def equal(x, highest):
        return _where_equal(source.in_order(x), highest)

    share = 0.0
    for i, kind in enumerate(pools):
        slope, highest = (a[:, i][:, None, None] for a in (dpooled, pooled))
        if kind == "max":
            ties = over_positions("sum", equal, source.x, highest)[:, None, None]
            share += equal(source.x, highest) * (slope / ties)
        else:
            share += slope / (source.x.shape[1] * source.x.shape[2])
    return share


def _where_equal(x, value):
    return tf.cast(x == value, tf.float32)
