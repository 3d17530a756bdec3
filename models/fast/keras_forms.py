"""Fast forms of Keras's own layers on TensorFlow."""

import functools

import keras
import numpy as np
from keras import backend, ops

from .conditions import can_fuse, is_large, is_tensorflow_on_cpu
from .fusion import fused_of, with_fused, with_source
from .methods import method_of

GROUPS_WIDTH = 32  # channels, at most, of the groups that share one dense convolution
VECTOR = 16  # channels that TensorFlow's normalization trains on at a time
LEAST_NORMALIZED = 16384  # values of a map; compiling takes as long for less, and saves less


def normalization(layer, inputs, training=None, mask=None):
    """The fast form of `BatchNormalization`: TensorFlow's fused kernel.

    Keras composes a batch normalization from moments and arithmetic, each a pass over the map. The
    kernel's variance is the unbiased one, n / (n - 1) times the one that Keras averages; the factor
    is divided out again.
    """
    if not _is_plain_map(inputs, mask):
        return None
    trains = training and layer.trainable
    # the kernel computes in float32 from either, and float16 has a kernel on GPUs only
    takes_half = inputs.dtype == "bfloat16" and not (trains and _is_slow_in_bfloat16(inputs))
    x = inputs if takes_half else ops.cast(inputs, "float32")
    if trains:
        y, mean, variance = _fused_kernel(layer, x, is_training=True)
        count = ops.cast(ops.size(x) // x.shape[-1], "float32")
        update_moving_averages(layer, mean, variance * (ops.maximum(count - 1, 1) / count))
    else:
        mean, variance = map(ops.convert_to_tensor, (layer.moving_mean, layer.moving_variance))
        y, _, _ = _fused_kernel(layer, x, is_training=False, mean=mean, variance=variance)
    return ops.cast(y, layer.compute_dtype)


def normalization_for_attention(layer, inputs, training=None, mask=None):
    """The fast form of a `BatchNormalization` in training that only attention layers follow.

    They compute the normalized values themselves, from the map before the normalization. The
    kernel's output is returned for any layer that does not, and otherwise not computed.
    """
    if not (training and layer.trainable and _is_plain_map(inputs, mask) and can_fuse(inputs)):
        return None
    method = method_of(layer)
    if method is None or method.is_output or not method.followers:
        return None
    if not all(map(_fuses_normalization, method.followers)):
        return None
    from .maps import normalize

    y, _, _ = _fused_kernel(layer, inputs, is_training=True)
    gamma, beta = _scale_and_offset(layer)
    source, moments = normalize(inputs, gamma, beta, layer.epsilon)
    update_moving_averages(layer, *moments)
    return ops.cast(with_source(y, source), layer.compute_dtype)


def compiled_normalization(layer, inputs, training=None, mask=None):
    """The fast form of a `BatchNormalization` in training whose channels are no multiple of 16."""
    if not (training and layer.trainable and _is_plain_map(inputs, mask) and can_fuse(inputs)):
        return None
    if inputs.shape[-1] % VECTOR == 0 or not is_large(inputs, LEAST_NORMALIZED):
        return None
    from .compiled_normalization import normalization
    from .maps import normalize

    gamma, beta = _scale_and_offset(layer)
    source, moments = normalize(inputs, gamma, beta, layer.epsilon)
    update_moving_averages(layer, *moments)
    fused = normalization(source)
    return with_fused(fused(), fused)


def suits_normalization(layer):
    return (
        layer.axis in (-1, 3)
        and not (layer.renorm or layer.synchronized)
        and backend.standardize_dtype(layer.variable_dtype) == "float32"
    )


def _is_plain_map(inputs, mask):
    dtype = backend.standardize_dtype(inputs.dtype)
    return len(inputs.shape) == 4 and mask is None and dtype != "float64"


def _is_slow_in_bfloat16(x):
    """Whether the kernel of a CPU trains several times as long on a map in bfloat16."""
    return is_tensorflow_on_cpu() and x.shape[-1] % VECTOR != 0


def _fuses_normalization(operation):
    method = method_of(operation)
    return method is not None and any(f.fuses_normalization for f in method.usable_forms())


def _fused_kernel(layer, x, **options):
    import tensorflow as tf

    return tf.compat.v1.nn.fused_batch_norm(
        x, *_scale_and_offset(layer), epsilon=layer.epsilon, **options
    )


def _scale_and_offset(layer):
    channels = layer.moving_mean.shape
    gamma = ops.convert_to_tensor(layer.gamma) if layer.scale else ops.ones(channels)
    beta = ops.convert_to_tensor(layer.beta) if layer.center else ops.zeros(channels)
    return gamma, beta


def update_moving_averages(norm, mean, variance):
    """Moves the averages of a batch normalization towards the moments of a batch, as Keras does."""
    for moving, new in ((norm.moving_mean, mean), (norm.moving_variance, variance)):
        moving.assign(moving * norm.momentum + new * (1.0 - norm.momentum))


def addition(layer, inputs):
    """The fast form of `Add` of two maps, one of which can be computed together with the sum."""
    for outputs, *others in (inputs, inputs[::-1]):
        fused = fused_of(outputs)
        if fused is not None and len(others) == 1 and _are_alike(outputs, *others):
            fused = functools.partial(fused, *others)
            return with_fused(fused(), fused)
    return None


def _are_alike(first, second):
    return (first.shape, first.dtype) == (second.shape, second.dtype)


def rectifier(layer, inputs):
    """The fast form of `Activation("relu")` of a map that can be computed together with it."""
    fused = fused_of(inputs)
    return None if fused is None else fused(rectified=True)


def is_rectifier(layer):
    return layer.activation is keras.activations.relu


def grouped_convolution(layer, inputs, kernel):
    """The fast form of a grouped `Conv2D` on a CPU: several dense convolutions.

    Keras has XLA compile a grouped convolution on TensorFlow's CPU backend, and a training step
    then takes tens to hundreds of times as long. Small groups share a convolution whose kernel is
    zero between them: a call costs more than the multiplications by zero.
    """
    shared = _groups_per_convolution(kernel, layer.groups)
    parts = layer.groups // shared
    channels = zip(
        ops.split(inputs, parts, axis=-1), ops.split(kernel, parts, axis=-1), strict=True
    )
    maps = [
        ops.conv(
            x,
            _block_diagonal(part, shared),
            layer.strides,
            layer.padding,
            layer.data_format,
            layer.dilation_rate,
        )
        for x, part in channels
    ]
    return ops.concatenate(maps, axis=-1)


def suits_grouped_convolution(layer):
    return layer.groups > 1 and layer.data_format == "channels_last" and is_tensorflow_on_cpu()


def depthwise_convolution(layer, inputs):
    """The fast form of `DepthwiseConv2D` on a CPU, in half precision.

    In bfloat16, the gradients of a strided convolution are computed in float32: TensorFlow takes 3
    to 10 times as long for them otherwise. In float16, all is: with a kernel of 1x21 on a map of
    32x32, TensorFlow did not return on a processor with AVX512-FP16.
    """
    if inputs.dtype != "float16" and not (inputs.dtype == "bfloat16" and max(layer.strides) > 1):
        return None
    convolve = functools.partial(
        ops.depthwise_conv,
        strides=layer.strides,
        padding=layer.padding,
        data_format=layer.data_format,
        dilation_rate=layer.dilation_rate,
    )
    kernel = ops.convert_to_tensor(layer.kernel)
    if inputs.dtype == "float16":
        wide = convolve(ops.cast(inputs, "float32"), ops.cast(kernel, "float32"))
        y = ops.cast(wide, "float16")
    else:
        y = _with_float32_gradients(convolve, inputs, kernel)
    if layer.use_bias:
        y = y + layer.bias
    return y if layer.activation is None else layer.activation(y)


def suits_depthwise_convolution(layer):
    return layer.data_format == "channels_last" and is_tensorflow_on_cpu()


def _with_float32_gradients(function, *inputs):
    import tensorflow as tf

    @tf.custom_gradient
    def computed(*inputs):
        def gradient(dy):
            wide = [tf.cast(x, "float32") for x in inputs]
            with tf.GradientTape() as tape:
                tape.watch(wide)
                y = function(*wide)
            gradients = tape.gradient(y, wide, tf.cast(dy, "float32"))
            return [tf.cast(g, x.dtype) for g, x in zip(gradients, inputs, strict=True)]

        return function(*inputs), gradient

    # as tensors: outside a graph, TensorFlow wants gradients of variables in another argument
    return computed(*map(tf.convert_to_tensor, inputs))


def _groups_per_convolution(kernel, groups):
    width = max(kernel.shape[-2], kernel.shape[-1] // groups)
    fitting = [n for n in range(1, groups + 1) if groups % n == 0]
    return max([n for n in fitting if n * width <= GROUPS_WIDTH], default=1)


def _block_diagonal(kernel, groups):
    """The kernel of `groups` groups as that of one dense convolution."""
    if groups == 1:
        return kernel
    inputs, outputs = kernel.shape[-2], kernel.shape[-1] // groups
    own = np.kron(np.eye(groups), np.ones((inputs, outputs)))
    return ops.tile(kernel, (1, 1, groups, 1)) * ops.cast(own, kernel.dtype)
