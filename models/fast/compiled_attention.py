"""Attention compiled by XLA for TensorFlow's CPU backend, with gradients written by hand.

The formulas are those of `models/attention/`. A module's arithmetic is next to nothing; its time
goes into passes over the feature map. TensorFlow makes one pass for each operation, forward and
backward, and keeps every result in between for the gradient. Here XLA fuses the operations into as
few passes as possible, and of all maps the gradient keeps only the input, and the output if a
rectifier is fused. With f = x g the map after the channel gate g, y = f s the output, and z' the
gradient of z:

    forward   g = sigmoid(mlp(pools of x over positions))
              s = sigmoid(conv(pools of f over channels))
    backward  s' = sum of y' f over channels; from s', through the convolution, the gradients of the
                   pools of f; from both, f' = y' s + each value's share of those gradients
              g' = sum of f' x over positions; from g', through the MLP, the gradients of the pools
                   of x; from both, x' = f' g + each value's share of those gradients

All values share the gradient of a mean, and those equal to a maximum share its gradient, as in
TensorFlow.

Maps and their gradients are in float32 or in bfloat16. Everything that is computed from them is in
float32: XLA converts a value where it is read, and a result where it is written.

The pass that writes y also adds the shortcut of a residual block and applies its rectifier
(`with_epilogue`). For modules without a form of their own that is all that is fused (`product`).
The passes that read x also compute a batch normalization before attention (`maps.py`).
"""

import functools
import math
import typing

import numpy as np
import tensorflow as tf

from .maps import Stored
from .reductions import float32, over_channels, over_positions

WIDEST = 80  # the widest map whose convolution is folded: its work grows with the width

_compiled = functools.partial(tf.function, jit_compile=True)


class Options(typing.NamedTuple):
    """How the gates of a module are computed.

    Attributes:
        pools: tuple of `"avg"` and `"max"`, over positions.
        descriptor: tuple of `"avg"` and `"max"`, over channels, one for each of the maps that the
            spatial convolution sees. Defaults to none.
        gain: float, factor of the sigmoids. Defaults to 1.
    """

    pools: tuple[str, ...]
    descriptor: tuple[str, ...] = ()
    gain: float = 1.0


def cbam(source, weights, kernel, options, normalize=None, scale=()):
    """Computes `models.attention.combined.cbam.CBAM` with `order="channel_first"`.

    Args:
        source: `Stored` or `Normalized` map.
        weights: list of tensors or variables, the MLP's `[kernel, bias, kernel, bias]`.
        kernel: tensor or variable `(size, size, maps, 1)` of the spatial convolution.
        options: an `Options`.
        normalize: function of the convolution's output and of the tensors in `scale` that returns
            the normalized output and a tuple of statistics.
        scale: tuple of tensors or variables.

    Returns:
        A function as `with_epilogue` returns it, and the statistics.
    """
    weights, scale = ([tf.convert_to_tensor(w) for w in some] for some in (weights, scale))
    kernel = tf.convert_to_tensor(kernel)
    # one cluster starts sooner than several; but a convolution that is not folded takes XLA three
    # times as long as TensorFlow, and the statistics have to be computed once for all epilogues
    if normalize is None and source.x.shape[2] <= WIDEST:
        return _cbam_in_one_cluster(source, weights, kernel, options), ()
    pooled, gate, maps = _descriptor_maps(source, weights, options)
    with tf.GradientTape(persistent=True) as tape:  # a caller may ask for several gradients
        tape.watch([maps, kernel, *scale])
        logits, statistics = convolve(maps, kernel), ()
        if normalize is not None:
            logits, statistics = normalize(logits, *scale)
        spatial = options.gain * tf.sigmoid(logits)

    def spatial_backward(dspatial):
        return tape.gradient(spatial, [maps, kernel, *scale], dspatial)

    def backward(dy):
        kept = (pooled, gate, maps, spatial)
        return _cbam_gradients(dy, source, weights, options, kept, spatial_backward)

    def forward(shortcuts, rectified):
        return gated_with_epilogue(source, (gate, spatial), shortcuts, rectified), backward

    return with_epilogue(forward, [*source.inputs(), *weights, kernel, *scale]), statistics


def _cbam_in_one_cluster(source, weights, kernel, options):
    """`cbam` as one cluster of XLA forward and one backward."""

    def forward(shortcuts, rectified):
        y, kept = _cbam_forward(source, weights, kernel, shortcuts, rectified, options)

        def backward(dy):
            return _cbam_backward(dy, source, weights, kernel, kept, options)

        return y, backward

    return with_epilogue(forward, [*source.inputs(), *weights, kernel])


@_compiled
def _cbam_forward(source, weights, kernel, shortcuts, rectified, options):
    pooled, gate, maps = _descriptor_maps(source, weights, options)
    spatial = options.gain * tf.sigmoid(convolve(maps, kernel))
    y = gated_with_epilogue(source, (gate, spatial), shortcuts, rectified)
    return y, (pooled, gate, maps, spatial)


@_compiled
def _cbam_backward(dy, source, weights, kernel, kept, options):
    *_, maps, spatial = kept

    def spatial_backward(dspatial):
        with tf.GradientTape() as tape:
            tape.watch([maps, kernel])
            logits = convolve(maps, kernel)
        dlogits = dspatial * (spatial * (1 - spatial / options.gain))
        return tape.gradient(logits, [maps, kernel], dlogits)

    return _cbam_gradients(dy, source, weights, options, kept, spatial_backward)


def _cbam_gradients(dy, source, weights, options, kept, spatial_backward):
    """The gradients of all inputs.

    `spatial_backward` returns those of the descriptor's maps and of the other tensors that the
    spatial gate is computed from, from the gate's own.
    """
    _, gate, maps, _ = kept
    dspatial, ties = _spatial_gate_gradient(dy, source, gate, maps, options.descriptor)
    dmaps, *dothers = spatial_backward(dspatial)
    dsource, dweights = _cbam_input_gradients(dy, source, weights, options, kept, dmaps, ties)
    return *dsource, *dweights, *dothers


def channel_attention(source, weights, options):
    """Computes `ChannelAttention`; the arguments are those of `cbam`.

    Returns:
        A function as `with_epilogue` returns it.
    """
    weights = [tf.convert_to_tensor(w) for w in weights]

    def forward(shortcuts, rectified):
        y, pooled, gate = _channel_forward(source, weights, shortcuts, rectified, options)

        def backward(dy):
            dsource, dweights = _channel_backward(dy, source, weights, options, pooled, gate)
            return *dsource, *dweights

        return y, backward

    return with_epilogue(forward, [*source.inputs(), *weights])


@_compiled
def _channel_forward(source, weights, shortcuts, rectified, options):
    pooled, gate = _channel_gate(source, weights, options)
    return gated_with_epilogue(source, (gate,), shortcuts, rectified), pooled, gate


@_compiled
def _channel_backward(dy, source, weights, options, pooled, gate):
    return _channel_gradients(lambda x, dy: dy, (dy,), source, weights, options, pooled, gate)


def product(x, *gates):
    """Computes a feature map times gates.

    Args:
        x: float32 or bfloat16 tensor `(batch, height, width, channels)`.
        *gates: tensors that broadcast to it, in the same dtype or in float32.

    Returns:
        A function as `with_epilogue` returns it.
    """

    def backward(dy):
        return _factor_gradients(dy, x, *gates)

    def forward(shortcuts, rectified):
        return gated_with_epilogue(Stored(x), gates, shortcuts, rectified), backward

    return with_epilogue(forward, [x, *gates])


def with_epilogue(forward, inputs):
    """Computes a map in one pass with what a residual block does to it, its epilogue.

    Args:
        forward: function of a tuple of shortcuts and of `rectified` that returns the map plus the
            shortcuts, with zero in the place of negative values if `rectified`; and a function
            from the gradient of the sum to those of `inputs`.
        inputs: list of the tensors that the map is computed from.

    Returns:
        A function `(*shortcuts, rectified=False)` that returns the tensor, with its gradient.
    """

    def fused(*shortcuts, rectified=False):
        @tf.custom_gradient
        def computed(*_):
            y, backward = forward(shortcuts, rectified)

            def gradient(dy):
                dy = tf.raw_ops.ReluGrad(gradients=dy, features=y) if rectified else dy
                return *backward(dy), *(dy for _ in shortcuts)

            return y, gradient

        return computed(*inputs, *shortcuts)

    return fused


def convolve(maps, kernel):
    """A convolution from a few maps to one, of stride 1 and as large as the input.

    A convolution of so few channels leaves most of a vector unit idle. Here the width is folded
    into the channels, `(height, width, maps)` as `(height, 1, width * maps)`, and a convolution of
    `size` x 1 from `width * maps` channels to `width` gives the same; the rows of its kernel are
    those of the old kernel in Toeplitz form. It has `width / size` times the multiplications, and
    takes half of the time for 32x32.

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
def _descriptor_maps(source, weights, options):
    pooled, gate = _channel_gate(source, weights, options)
    f = source.values(source.x) * gate
    maps = over_channels(options.descriptor, [f for _ in options.descriptor])
    return pooled, gate, tf.stack(maps, axis=-1)


def _channel_gate(source, weights, options):
    pooled = source.pool(options.pools)
    return pooled, _mlp(source.pooled_values(options.pools, pooled), weights, options.gain)


@_compiled
def gated_with_epilogue(source, gates, shortcuts, rectified):
    """Computes a map times gates, plus shortcuts, with zero for negative values if `rectified`."""
    y = math.prod(map(float32, gates), start=source.values(source.x))
    for shortcut in shortcuts:
        y += float32(shortcut)
    y = tf.nn.relu(y) if rectified else y
    return tf.cast(y, source.x.dtype)


@_compiled
def _factor_gradients(dy, *factors):
    """The gradients of the factors of a product, each summed to the shape of its factor."""
    gradients = []
    for i, factor in enumerate(factors):
        terms = [float32(term) for term in (dy, *factors[:i], *factors[i + 1 :])]
        axes = [axis for axis in (1, 2, 3) if factor.shape[axis] < dy.shape[axis]]
        if axes == [1, 2]:
            gradient = over_positions("sum", lambda *terms: math.prod(terms), *terms)
            gradient = gradient[:, None, None]
        elif axes == [3]:
            gradient = over_channels(["sum"], [math.prod(terms)])[0][..., None]
        else:
            gradient = tf.reduce_sum(math.prod(terms), axes, keepdims=True)
        gradients.append(tf.cast(gradient, factor.dtype))
    return gradients


@_compiled
def _spatial_gate_gradient(dy, source, gate, maps, descriptor):
    """The gradient of the spatial gate, and how many channels share a position's maximum."""
    f = source.values(source.x) * gate
    terms = [float32(dy) * f]
    if "max" in descriptor:
        terms.append(_where_equal(f, maps[..., descriptor.index("max")][..., None]))
    dspatial, *ties = (a[..., None] for a in over_channels(["sum" for _ in terms], terms))
    # none may be found, if the maximum was rounded differently where it was computed
    return dspatial, tf.maximum(ties[0], 1.0) if ties else tf.ones_like(dspatial)


@_compiled
def _cbam_input_gradients(dy, source, weights, options, kept, dmaps, ties):
    """The gradients of the module's input and of the MLP's weights."""
    pooled, gate, maps, spatial = kept
    shares = []
    for i, kind in enumerate(options.descriptor):
        highest, share = (a[..., i : i + 1] for a in (maps, dmaps))
        shares += [highest, share / (ties if kind == "max" else source.x.shape[3])]

    def gradient(x, dy, spatial, gate, *shares):
        total = dy * spatial
        for kind, highest, share in zip(options.descriptor, shares[::2], shares[1::2], strict=True):
            equal = _where_equal(source.values(x) * gate, highest) if kind == "max" else 1.0
            total += share * equal
        return total

    arguments = (dy, spatial, gate, *shares)
    return _channel_gradients(gradient, arguments, source, weights, options, pooled, gate)


def _channel_gradients(gradient, arguments, source, weights, options, pooled, gate):
    """The gradients of the source and of the MLP's weights.

    `gradient` is an elementwise function of the source's `x` and of the arguments, all in float32,
    that returns the gradient of the map after the channel gate.
    """
    sums = source.sums(gradient, *arguments)
    values = source.pooled_values(options.pools, pooled)
    dpooled, dweights = _mlp_gradients(values, weights, options.gain, source.gate_gradient(sums))
    through_pools = _pools_share(source, pooled, dpooled, options.pools)
    dvalues = gradient(*map(float32, (source.x, *arguments))) * gate + through_pools
    return source.gradients(dvalues, gate, sums, options.pools, pooled, dpooled), dweights


def _mlp(pooled, weights, gain):
    """The channel gate `(batch, 1, 1, channels)` from the pools `(batch, pools, channels)`."""
    first, first_bias, second, second_bias = weights
    # the pools of all images as the rows of one matrix, for one multiplication
    hidden = tf.nn.relu(tf.reshape(pooled, (-1, pooled.shape[2])) @ first + first_bias)
    logits = tf.reshape(hidden @ second + second_bias, (-1, *pooled.shape[1:]))
    return gain * tf.sigmoid(tf.reduce_sum(logits, axis=1))[:, None, None]


def _mlp_gradients(pooled, weights, gain, dgate):
    with tf.GradientTape() as tape:
        tape.watch([pooled, weights])
        gate = _mlp(pooled, weights, gain)
    return tape.gradient(gate, [pooled, weights], dgate[:, None, None])


def _pools_share(source, pooled, dpooled, pools):
    """Each value's share of the gradients of the pools over positions."""

    def equal(x, highest):
        return _where_equal(source.sort_key(x), highest)

    share = 0.0
    for i, kind in enumerate(pools):
        gradient, highest = (a[:, i][:, None, None] for a in (dpooled, pooled))
        if kind == "max":
            ties = over_positions("sum", equal, source.x, highest)[:, None, None]
            share += equal(source.x, highest) * (gradient / ties)
        else:
            share += gradient / (source.x.shape[1] * source.x.shape[2])
    return share


def _where_equal(x, value):
    return tf.cast(x == value, tf.float32)
