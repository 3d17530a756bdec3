"""Fast forms of layers: the same numbers in less time.

The only file of `models/`, with `fast_layers.py` and `fast_attention.py` behind it, that knows a
backend. A fast form takes the place of a method and is chosen anew at every call; where it does not
apply, the layer's own method runs. The layer stays what it is: its class, configuration and
weights, and with them everything that is saved, do not change.
"""

import functools
import math
import operator

import keras
from keras import layers, ops

from .fast_layers import (
    FusedBatchNormalization,
    GroupedConvolution,
    JoinedAddition,
    JoinedRectifier,
    move_averages,
    open_to_joining,
)

# of a feature map: for less, passes cost as little apart, or compiling costs more than it saves
LEAST_POSITIONS = 16
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
    elif keras.backend.backend() != "tensorflow":
        pass
    elif type(layer) is layers.BatchNormalization:
        layer.call = FusedBatchNormalization(layer)
    elif type(layer) is layers.Conv2D and layer.groups > 1 and _is_tensorflow_on_cpu():
        layer.convolution_op = GroupedConvolution(layer)
    elif type(layer) is layers.Add:
        layer.call = JoinedAddition(layer)
    elif type(layer) is layers.Activation and layer.activation is keras.activations.relu:
        layer.call = JoinedRectifier(layer)
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


def joined_channels(layer, inputs, training):
    """The fast form of `ChannelAttention`."""
    if not _is_joined(layer, inputs, layer.pools):
        return None
    from .fast_attention import attend_to_channels

    join = attend_to_channels(inputs, _mlp_weights(layer), layer.pools)
    return open_to_joining(join(), join)


def joined_cbam(layer, inputs, training):
    """The fast form of `CBAM`."""
    channel, spatial, norm = layer.channel, layer.spatial, layer.spatial.norm
    if (
        layer.order != "channel_first"
        or not _is_joined(layer, inputs, {*channel.pools, *spatial.descriptor})
        or (norm is not None and norm.synchronized)  # its moments are of several devices' maps
    ):
        return None
    from .fast_attention import attend

    pools, descriptor = channel.pools, spatial.descriptor
    arguments = (inputs, _mlp_weights(channel), pools, spatial.conv.kernel, descriptor)
    if norm is None:
        join, _ = attend(*arguments)
        return open_to_joining(join(), join)
    learns = training and norm.trainable
    join, statistics = attend(
        *arguments,
        lambda x, gamma, beta: _normalised(norm, x, gamma, beta, learns),
        (norm.gamma, norm.beta),
    )
    if learns:
        move_averages(norm, *statistics)
    return open_to_joining(join(), join)


def gated(x, *gates):
    """A feature map times gates, which an addition and a rectifier after it may join.

    Args:
        x: tensor of rank 4.
        *gates: tensors of rank 4 that broadcast to the shape of `x`.

    Returns:
        A tensor of the shape of `x`.
    """
    outputs = functools.reduce(operator.mul, gates, x)
    if not _passes_join(x) or any(
        (gate.dtype, gate.shape[0]) != (x.dtype, x.shape[0]) for gate in gates
    ):
        return outputs
    from .fast_attention import product

    return open_to_joining(outputs, product(x, *gates))


def _is_joined(layer, inputs, pools):
    """Whether a layer with pools over positions and channels takes its fast form."""
    return (
        set(pools) <= {"avg", "max"}
        and layer.data_format == "channels_last"
        and layer.compute_dtype == layer.variable_dtype
        and _passes_join(inputs)
    )


def _passes_join(x):
    """Whether several passes over a map can be joined to one, and it is worth it."""
    return (
        _is_tensorflow_on_cpu()
        and x.dtype == "float32"
        and None not in x.shape[1:]
        and math.prod(x.shape[1:3]) >= LEAST_POSITIONS
        and math.prod(x.shape[1:]) >= LEAST_VALUES
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


def _is_tensorflow_on_cpu():
    if keras.backend.backend() != "tensorflow":
        return False
    import tensorflow as tf

    return not tf.config.list_physical_devices("GPU")
