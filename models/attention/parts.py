"""What several attention layers are made of: layouts, precision, convolutions, normalization."""

import keras
from keras import layers, ops

from .hooks import announce
from .starts import PUBLISHED, variance_scaling


def to_channels_last(x, data_format):
    """Returns a map with its channels last, as the convolutions inside the layers take it."""
    return ops.moveaxis(x, 1, -1) if data_format == "channels_first" else x


def from_channels_last(x, data_format):
    """Returns a channels-last map in the data format of the layer's input."""
    return ops.moveaxis(x, -1, 1) if data_format == "channels_first" else x


def per_channel(values, channels, data_format, rank=4):
    """Returns a value for each channel as a map of one position, in the layer's data format."""
    ones = (1,) * (rank - 2)
    return from_channels_last(ops.reshape(values, (-1, *ones, channels)), data_format)


def at_least_float32(x):
    """Returns a tensor in float32, or as it is in float64.

    Half precision has few digits for small weights, and overflows in sums over a large map.
    """
    return x if keras.backend.standardize_dtype(x.dtype) == "float64" else ops.cast(x, "float32")


def batch_norm(
    owner,
    channels,
    name,
    dtype,
    gamma_initializer="ones",
    rank=4,
    momentum=0.9,
    epsilon=1e-5,
):
    """Returns a built batch normalization of channels-last maps.

    Args:
        owner: the `AttentionLayer` that it belongs to, and is frozen with.
        channels: int.
        name: string, the layer's name.
        dtype: dtype policy.
        gamma_initializer: initial scale. Defaults to `"ones"`.
        rank: int, of the maps with their batch, 2 for vectors. Defaults to 4.
        momentum: float. Defaults to 0.9, PyTorch's default (0.1 in its convention).
        epsilon: float. Defaults to 1e-5, PyTorch's default.
    """
    layer = layers.BatchNormalization(
        momentum=momentum,
        epsilon=epsilon,
        gamma_initializer=gamma_initializer,
        name=name,
        dtype=dtype,
        trainable=owner.trainable,
    )
    layer.build((*[None] * (rank - 1), channels))
    # for the one channel of a gate, a fast form gains nothing
    return announce(layer) if channels > 1 else layer


def group_norm(owner, channels, groups, name, dtype, gamma_initializer="ones"):
    """Returns a built group normalization of channels-last maps or strips, as PyTorch's.

    Args:
        owner: the `AttentionLayer` that it belongs to, and is frozen with.
        channels: int.
        groups: int, divides the channels; as many as there are channels for one group each.
        name: string, the layer's name.
        dtype: dtype policy.
        gamma_initializer: initial scale. Defaults to `"ones"`.
    """
    layer = GroupNormalization(
        groups,
        epsilon=1e-5,
        gamma_initializer=gamma_initializer,
        name=name,
        dtype=dtype,
        trainable=owner.trainable,
    )
    layer.build((None, None, None, channels))
    return layer


def layer_norm(owner, channels, name, dtype, gamma_initializer="ones"):
    """Returns a built layer normalization over the channels, which come last, as PyTorch's.

    Args:
        owner: the `AttentionLayer` that it belongs to, and is frozen with.
        channels: int.
        name: string, the layer's name.
        dtype: dtype policy.
        gamma_initializer: initial scale. Defaults to `"ones"`.
    """
    layer = layers.LayerNormalization(
        epsilon=1e-5,
        gamma_initializer=gamma_initializer,
        name=name,
        dtype=dtype,
        trainable=owner.trainable,
    )
    layer.build((None, channels))
    return layer


def standardized(x, axes, epsilon):
    """Returns a tensor less its mean over `axes`, divided by its deviation there.

    Args:
        x: tensor.
        axes: int or tuple of ints.
        epsilon: float, is added to the variance.
    """
    centered = x - ops.mean(x, axis=axes, keepdims=True)
    variance = ops.mean(ops.square(centered), axis=axes, keepdims=True)
    return centered / ops.sqrt(variance + epsilon)


def deviation(x, axes):
    """Returns the unbiased deviation over the two axes of a map, which are kept with length 1.

    It is at least Keras's epsilon, 1e-7, also that of a map of one position, as the root has no
    gradient at zero.
    """
    variance = ops.mean(
        ops.square(x - ops.mean(x, axis=axes, keepdims=True)), axis=axes, keepdims=True
    )
    height, width = (ops.shape(x)[axis] for axis in axes)
    count = ops.cast(height * width, x.dtype)
    variance = variance * count / ops.maximum(count - 1, 1)  # of one position: 0
    return ops.sqrt(ops.maximum(variance, keras.config.epsilon() ** 2))


def softmax(x, axes):
    """Returns a softmax over one axis or several, also over an axis of length 1.

    Keras warns of such an axis, which is what a map of few channels, or of one position, has.
    """
    return ops.exp(x - ops.logsumexp(x, axis=axes, keepdims=True))


CONVOLUTIONS = {3: layers.Conv1D, 4: layers.Conv2D, 5: layers.Conv3D}  # by the rank of a map


def conv(owner, inputs, filters, kernel_size, name, dtype, rank=4, **options):
    """Returns a built convolution of channels-last maps, which keeps their size.

    Args:
        owner: the `AttentionLayer` that it belongs to, and is frozen with, whose user may have
            given initializers and a regularizer.
        inputs: int, channels of the map.
        filters: int.
        kernel_size: int or tuple of ints.
        name: string, the layer's name.
        dtype: dtype policy.
        rank: int, of the map with its batch: 3, 4 or 5. Defaults to 4.
        **options: further options of `keras.layers.Conv2D`, which stand over He's initial kernel.
    """
    options = _with_owners_options(owner, {"kernel_initializer": "he_normal", **options})
    layer = CONVOLUTIONS[rank](
        filters,
        kernel_size,
        data_format="channels_last",
        name=name,
        dtype=dtype,
        **{"padding": "same", **options},
    )
    layer.build((*[None] * (rank - 1), inputs))
    return announce(layer)


def conv2d(owner, inputs, filters, kernel_size, name, dtype, **options):
    """Returns a built convolution of maps with a height and a width; see `conv`."""
    return conv(owner, inputs, filters, kernel_size, name, dtype, **options)


def depthwise_conv2d(owner, channels, kernel_size, name, dtype, **options):
    """Returns a built convolution of each channel by itself, otherwise as `conv`."""
    # He's, but the fan-in would count all channels, though every output depends on one
    initializer = variance_scaling(2.0, "fan_out", "truncated_normal")
    options = {"depthwise_initializer": initializer, **options}
    options = _with_owners_options(owner, options, "depthwise")
    layer = layers.DepthwiseConv2D(
        kernel_size,
        data_format="channels_last",
        name=name,
        dtype=dtype,
        **{"padding": "same", **options},
    )
    layer.build((None, None, None, channels))
    return announce(layer)


def gate_conv(owner, inputs, kernel_size, name, dtype, rank=4, **options):
    """Returns a built convolution to one channel without a bias, otherwise as `conv`."""
    options = {"kernel_initializer": "he_normal", "use_bias": False, **options}
    if rank != 4:
        return conv(owner, inputs, 1, kernel_size, name, dtype, rank, **options)
    layer = SingleFilterConv2D(
        1,
        kernel_size,
        padding="same",
        data_format="channels_last",
        name=name,
        dtype=dtype,
        **_with_owners_options(owner, options),
    )
    layer.build((None, None, None, inputs))
    return layer


def dense(owner, inputs, units, name, dtype, **options):
    """Returns a built dense layer, otherwise as `conv`."""
    options = _with_owners_options(owner, {"kernel_initializer": "he_normal", **options})
    layer = layers.Dense(units, name=name, dtype=dtype, **options)
    layer.build((None, inputs))
    return layer


def _with_owners_options(owner, options, kernel="kernel"):
    """Options of a layer with what the attention layer, or its user, has for all of them.

    A kernel that starts at zero does so for a reason, such as a gate that changes nothing at first,
    and keeps that, with its bias.
    """
    given = owner.weight_options
    options = {"trainable": owner.trainable, **options}
    starts_at_zero = options.get(f"{kernel}_initializer") == "zeros"
    if not starts_at_zero and "kernel_initializer" in given:
        options[f"{kernel}_initializer"] = given["kernel_initializer"]
    if not starts_at_zero and "bias_initializer" in given:
        options["bias_initializer"] = given["bias_initializer"]
    if "kernel_regularizer" in given:
        options[f"{kernel}_regularizer"] = given["kernel_regularizer"]
    return options


def bottleneck(owner, channels, hidden, dtype, use_bias=True, start=PUBLISHED, activation="relu"):
    """Returns two built dense layers, `"reduce"` with an activation and `"expand"`.

    Args:
        owner: the `AttentionLayer` that they belong to.
        channels: int, of the inputs and the outputs.
        hidden: int, units between them.
        dtype: dtype policy.
        use_bias: bool. Defaults to `True`.
        start: a `Start`, the initial kernels. Defaults to He's.
        activation: activation of the hidden units. Defaults to `"relu"`.
    """
    reduce = dense(
        owner, channels, hidden, "reduce", dtype, use_bias=use_bias, activation=activation,
        kernel_initializer=start.hidden,
    )  # fmt: skip
    expand = dense(
        owner, hidden, channels, "expand", dtype, use_bias=use_bias, kernel_initializer=start.dense
    )
    return reduce, expand


def averaging(size, new_size, dtype):
    """Returns the matrix of an adaptive average pooling along one axis, `(new_size, size)`.

    Each new position is the average of those it covers, also in part, as PyTorch's
    `adaptive_avg_pool2d`; where `new_size` is the larger, positions are repeated.

    Args:
        size: int or integer tensor, length of the axis.
        new_size: int or integer tensor.
        dtype: string.
    """
    old = ops.arange(size, dtype="int32")[None, :]
    new = ops.arange(new_size, dtype="int32")[:, None]
    first = new * size // new_size
    last = ((new + 1) * size - 1) // new_size
    covered = ops.cast(ops.logical_and(first <= old, old <= last), dtype)
    return covered / ops.cast(last - first + 1, dtype)


def flatten_positions(x):
    """Returns a channels-last map as a list of its positions, `(batch, positions, channels)`."""
    return ops.reshape(x, (ops.shape(x)[0], -1, x.shape[-1]))


def groups_as_images(x, groups):
    """Returns the groups of channels of a channels-last map as images of their own.

    Args:
        x: tensor `(batch, height, width, channels)`.
        groups: int, divides the channels.

    Returns:
        A tensor `(batch * groups, height, width, channels / groups)`.
    """
    height, width = ops.shape(x)[1:3]
    x = ops.reshape(x, (-1, height, width, groups, x.shape[-1] // groups))
    x = ops.transpose(x, (0, 3, 1, 2, 4))
    return ops.reshape(x, (-1, height, width, x.shape[-1]))


def images_as_groups(x, groups):
    """Returns what `groups_as_images` took apart as one map again."""
    height, width = ops.shape(x)[1:3]
    x = ops.transpose(ops.reshape(x, (-1, groups, height, width, x.shape[-1])), (0, 2, 3, 1, 4))
    return ops.reshape(x, (-1, height, width, groups * x.shape[-1]))


class GroupNormalization(layers.GroupNormalization):
    """Keras's, of channels that come last, with a variance that is never negative.

    On PyTorch, Keras takes the mean square less the square of the mean, which rounding makes
    negative where a map is almost constant.
    """

    def call(self, inputs):
        x = at_least_float32(inputs)
        shape, channels = ops.shape(x), x.shape[-1]
        x = ops.reshape(x, (-1, *shape[1:-1], self.groups, channels // self.groups))
        axes = (*range(1, len(shape) - 1), len(shape))
        x = ops.reshape(standardized(x, axes, self.epsilon), shape)
        x = x * ops.cast(self.gamma, x.dtype) + ops.cast(self.beta, x.dtype)
        return ops.cast(x, self.compute_dtype)


class SingleFilterConv2D(layers.Conv2D):
    """A `Conv2D` of one filter that trains in every dtype on PyTorch's CPU.

    PyTorch takes such a kernel, transposed from Keras's order, for one in the order channels last,
    and its convolution in other dtypes than float32 refuses to return a gradient in that order.
    """

    def convolution_op(self, inputs, kernel):
        if self.compute_dtype != "float32":
            kernel = ops.transpose(kernel, (3, 2, 0, 1))
            shape = kernel.shape
            # flat and back: the values lie in PyTorch's own order in memory
            kernel = ops.reshape(ops.reshape(kernel, (-1,)), shape)
            kernel = ops.transpose(kernel, (2, 3, 1, 0))
        return super().convolution_op(inputs, kernel)


def largest_divisor(number, most):
    """Returns the largest divisor of `number` that is at most `most`, at least 1."""
    return next((n for n in range(min(number, most), 1, -1) if number % n == 0), 1)


def divisible(width, divisor, least_share=0.0):
    """Returns the multiple of `divisor` that is nearest to a width, as timm rounds widths.

    Args:
        width: float.
        divisor: int, also the least result.
        least_share: float, share of the width that the result may not be below.
    """
    nearest = max(divisor, int(width + divisor / 2) // divisor * divisor)
    return nearest + divisor * (nearest < least_share * width)
