"""Fast forms of layers: the same numbers in less time.

The only folder of `models/` that knows a backend. A fast form takes the place of a method and is
chosen anew at every call; where it does not apply, the layer's own method runs. The layer stays
what it is: its class, configuration and weights, and with them everything that is saved, do not
change.
"""

import collections
import functools
import operator

import keras
from keras import layers, ops

from ..private_api import calls, is_functional, operation_of
from . import conditions
from .keras_forms import (
    FusedBatchNormalization,
    GroupedConvolution,
    JoinedAddition,
    JoinedRectifier,
    move_averages,
    open_to_joining,
    source_of,
)


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
        _leave_to_attention(layer)
    elif keras.backend.backend() != "tensorflow":
        pass
    elif type(layer) is layers.BatchNormalization:
        layer.call = FusedBatchNormalization(layer)
    elif type(layer) is layers.Conv2D and layer.groups > 1 and conditions.is_tensorflow_on_cpu():
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
    if not (_suits_channels(layer) and conditions.passes_join(inputs)):
        return None
    from .compiled_attention import attend_to_channels

    join = attend_to_channels(source_of(inputs), _mlp_weights(layer), layer.pools)
    return open_to_joining(join(), join)


def joined_cbam(layer, inputs, training):
    """The fast form of `CBAM`."""
    if not (_suits_cbam(layer) and conditions.passes_join(inputs)):
        return None
    from .compiled_attention import attend

    channel, spatial, norm = layer.channel, layer.spatial, layer.spatial.norm
    pools, descriptor = channel.pools, spatial.descriptor
    arguments = (source_of(inputs), _mlp_weights(channel), pools, spatial.conv.kernel, descriptor)
    if norm is None:
        join, _ = attend(*arguments)
        return open_to_joining(join(), join)
    learns = training and norm.trainable
    join, statistics = attend(
        *arguments,
        lambda x, gamma, beta: _normalized(norm, x, gamma, beta, learns),
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
    if not conditions.passes_join(x) or any(
        (gate.dtype, gate.shape[0]) != (x.dtype, x.shape[0]) for gate in gates
    ):
        return outputs
    from .compiled_attention import product

    return open_to_joining(outputs, product(x, *gates))


def _leave_to_attention(model):
    """Lets normalizations be computed in the attention that follows them, and nothing else does."""
    if not is_functional(model):
        return
    followers = collections.defaultdict(list)
    for node in calls(model):
        for tensor in node.input_tensors:
            followers[operation_of(tensor)].append(node.operation)
    for layer, following in followers.items():
        if isinstance(layer.call, FusedBatchNormalization):
            layer.call.only_attention_follows = all(map(_takes_normalization, following))


def _takes_normalization(operation):
    form = getattr(getattr(operation, "attend", None), "fast_form", None)
    suits = {joined_channels: _suits_channels, joined_cbam: _suits_cbam}
    return form in suits and suits[form](operation)


def _suits_channels(layer):
    return _suits(layer, layer.pools)


def _suits_cbam(layer):
    norm = layer.spatial.norm
    return (
        layer.order == "channel_first"
        and _suits(layer, {*layer.channel.pools, *layer.spatial.descriptor})
        and not (norm is not None and norm.synchronized)  # moments of several devices' maps
    )


def _suits(layer, pools):
    return (
        set(pools) <= {"avg", "max"}
        and layer.data_format == "channels_last"
        and layer.compute_dtype == layer.variable_dtype
    )


def _mlp_weights(layer):
    weights = []
    for dense in (layer.reduce, layer.expand):
        bias = dense.bias if dense.use_bias else ops.zeros(dense.units)
        weights += [dense.kernel, bias]
    return weights


def _normalized(norm, x, gamma, beta, learns):
    mean, variance = map(ops.convert_to_tensor, (norm.moving_mean, norm.moving_variance))
    if learns:
        mean, variance = ops.moments(x, axes=(0, 1, 2))
    y = ops.batch_normalization(x, mean, variance, -1, beta, gamma, norm.epsilon)
    return y, (mean, variance)
