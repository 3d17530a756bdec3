"""Fast forms of layers: the same numbers in less time.

The only file of `models/`, with `fast_attention.py` behind it, that knows a backend. A fast form
takes the place of a method and is chosen anew at every call; where it does not apply, the layer's
own method runs. The layer stays what it is: its class, configuration and weights, and with them
everything that is saved, do not change.
"""

import math

import keras
import numpy as np
from keras import layers, ops

JOINED_CHANNELS = 32  # of a dense convolution that several groups share
# of a feature map: for less, passes cost as little apart, or compiling costs more than it saves
LEAST_POSITIONS = 64
LEAST_VALUES = 4096
# what Keras's trainer calls the functions it traces; what another traces may be exported, and then
# should hold nothing of XLA
KERAS_STEPS = {
    "one_step_on_data",
    "one_step_on_data_distributed",
    "multi_step_on_data",
    "multi_step_on_iterator",
}


def speed_up(layer):
    """Gives a layer its fast form on the present backend, if there is one.

    Args:
        layer: a Keras layer; the layers inside a model are reached too.

    Returns:
        The same layer.
    """
    if isinstance(layer, keras.Model):
        for inner in layer.layers:
            speed_up(inner)
    elif type(layer) is layers.BatchNormalization and keras.backend.backend() == "tensorflow":
        layer.call = _FusedBatchNormalization(layer)
    elif type(layer) is layers.Conv2D and layer.groups > 1 and _is_tensorflow_on_cpu():
        layer.convolution_op = _GroupedConvolution(layer)
    return layer


def with_fast_form(form):
    """Decorates the `attend` of an attention layer that has a fast form.

    Args:
        form: function of the layer, its inputs and `training`, that returns the outputs; or `None`
            where it does not apply.
    """

    def decorate(attend):
        attend.fast_form = form
        return attend

    return decorate


def cbam(layer, inputs, training):
    """The fast form of `CBAM`."""
    channel, spatial = layer.channel, layer.spatial
    if layer.order != "channel_first" or spatial.descriptor == "conv":
        return None
    if not _joins(layer, inputs, channel.pools + spatial.descriptor):
        return None
    from .fast_attention import attend

    kernel, norm = spatial.conv.kernel, spatial.norm
    if norm is not None and norm.synchronized:
        return None  # its moments are of several devices' maps
    arguments = (inputs, _mlp_weights(channel), channel.pools, kernel, spatial.descriptor)
    if norm is None:
        return attend(*arguments)[0]
    learns = training and norm.trainable
    outputs, statistics = attend(
        *arguments,
        lambda x, gamma, beta: _normalised(norm, x, gamma, beta, learns),
        (norm.gamma, norm.beta),
    )
    if learns:
        _move_averages(norm, *statistics)
    return outputs


def _joins(layer, inputs, pools):
    """Whether a layer's passes over its inputs can be joined, and it is worth it."""
    return (
        set(pools) <= {"avg", "max"}
        and layer.data_format == "channels_last"
        and layer.compute_dtype == layer.variable_dtype == inputs.dtype == "float32"
        and None not in inputs.shape[1:]
        and math.prod(inputs.shape[1:3]) >= LEAST_POSITIONS
        and math.prod(inputs.shape[1:]) >= LEAST_VALUES
        and _is_tensorflow_on_cpu()
        and _in_a_step_of_keras()
    )


def _in_a_step_of_keras():
    import tensorflow as tf

    graph, names = tf.compat.v1.get_default_graph(), set()
    while hasattr(graph, "outer_graph"):
        names.add(graph.name)
        graph = graph.outer_graph
    return bool(names & KERAS_STEPS)


def _mlp_weights(layer):
    weights = []
    for dense in (layer.reduce, layer.expand):
        bias = dense.bias if dense.use_bias else ops.zeros(dense.units)
        weights += [dense.kernel, bias]
    return weights


def _normalised(norm, x, gamma, beta, learns):
    mean, variance = map(ops.convert_to_tensor, (norm.moving_mean, norm.moving_variance))
    if learns:
        mean, variance = ops.moments(x, axes=(0, 1, 2))
    y = ops.batch_normalization(x, mean, variance, -1, beta, gamma, norm.epsilon)
    return y, (mean, variance)


def _move_averages(norm, mean, variance):
    for moving, new in ((norm.moving_mean, mean), (norm.moving_variance, variance)):
        moving.assign(moving * norm.momentum + new * (1.0 - norm.momentum))


def _is_tensorflow_on_cpu():
    if keras.backend.backend() != "tensorflow":
        return False
    import tensorflow as tf

    return not tf.config.list_physical_devices("GPU")


class _FusedBatchNormalization:
    """Batch normalisation in TensorFlow's fused kernel.

    Keras composes it from moments and arithmetic, each a pass over the map of its own. The kernel's
    variance is the unbiased one, n / (n - 1) times Keras's, which enters the moving average; that
    is undone.
    """

    def __init__(self, layer):
        self.layer = layer

    def __call__(self, inputs, training=None, mask=None):
        if not self._applies(inputs, mask):
            return type(self.layer).call(self.layer, inputs, training=training, mask=mask)
        layer = self.layer
        x = ops.cast(inputs, "float32")
        if training and layer.trainable:
            y, mean, variance = self._kernel(x, is_training=True)
            count = ops.cast(ops.size(x) // x.shape[-1], "float32")
            variance = variance * (ops.maximum(count - 1, 1) / count)
            _move_averages(layer, mean, variance)
        else:
            mean, variance = map(ops.convert_to_tensor, (layer.moving_mean, layer.moving_variance))
            y, _, _ = self._kernel(x, is_training=False, mean=mean, variance=variance)
        return ops.cast(y, layer.compute_dtype)

    def _applies(self, inputs, mask):
        layer = self.layer
        return (
            len(inputs.shape) == 4
            and layer.axis in (-1, 3)
            and mask is None
            and not (layer.renorm or layer.synchronized)
            and keras.backend.standardize_dtype(layer.variable_dtype) == "float32"
            and keras.backend.standardize_dtype(inputs.dtype) != "float64"
        )

    def _kernel(self, x, **options):
        import tensorflow as tf

        layer, channels = self.layer, x.shape[-1]
        gamma = ops.convert_to_tensor(layer.gamma) if layer.scale else ops.ones(channels)
        beta = ops.convert_to_tensor(layer.beta) if layer.center else ops.zeros(channels)
        return tf.compat.v1.nn.fused_batch_norm(x, gamma, beta, epsilon=layer.epsilon, **options)


class _GroupedConvolution:
    """A grouped convolution as several dense ones.

    On TensorFlow's CPU backend Keras has XLA compile the whole, and a training step takes tens to
    hundreds of times as long. Small groups share a convolution whose kernel is zero between them:
    a call costs more than the multiplications by zero.
    """

    def __init__(self, layer):
        self.layer = layer

    def __call__(self, inputs, kernel):
        layer = self.layer
        if layer.data_format != "channels_last":
            return type(layer).convolution_op(layer, inputs, kernel)
        joined = self._groups_per_convolution(kernel)
        parts = layer.groups // joined
        channels = zip(
            ops.split(inputs, parts, axis=-1), ops.split(kernel, parts, axis=-1), strict=True
        )
        maps = [
            ops.conv(
                x,
                _block_diagonal(part, joined),
                layer.strides,
                layer.padding,
                layer.data_format,
                layer.dilation_rate,
            )
            for x, part in channels
        ]
        return ops.concatenate(maps, axis=-1)

    def _groups_per_convolution(self, kernel):
        groups = self.layer.groups
        width = max(kernel.shape[-2], kernel.shape[-1] // groups)
        fitting = [n for n in range(1, groups + 1) if groups % n == 0]
        return max([n for n in fitting if n * width <= JOINED_CHANNELS], default=1)


def _block_diagonal(kernel, groups):
    """The kernel of `groups` groups as that of one dense convolution."""
    if groups == 1:
        return kernel
    inputs, outputs = kernel.shape[-2], kernel.shape[-1] // groups
    own = np.kron(np.eye(groups), np.ones((inputs, outputs)))
    return ops.tile(kernel, (1, 1, groups, 1)) * ops.cast(own, kernel.dtype)
