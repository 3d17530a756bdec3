"""Fast forms of attention layers, on TensorFlow's CPU backend."""

import keras
from keras import ops

from ..attention.channel.squeeze_excitation import ChannelAttention
from ..attention.spatial.spatial import SpatialAttention
from ..private_api import stored_value
from .conditions import can_fuse
from .fusion import source_of, with_fused
from .keras_forms import update_moving_averages


def channel_attention(layer, inputs, training=None, return_maps=False):
    """The fast form of `ChannelAttention`."""
    if return_maps or not can_fuse(inputs):
        return None
    from .compiled_attention import Options, channel_attention

    options = Options(layer.pools, gain=layer.starting.gain)
    fused = channel_attention(source_of(inputs), _mlp_weights(layer), options)
    return with_fused(fused(), fused)


def suits_channel_attention(layer):
    return _suits(layer, layer.pools) and _has_plain_mlp(layer)


def cbam(layer, inputs, training=None, return_maps=False):
    """The fast form of `CBAM`."""
    if return_maps or not can_fuse(inputs):
        return None
    from .compiled_attention import Options, cbam

    channel, spatial, norm = layer.channel, layer.spatial, layer.spatial.norm
    arguments = (
        source_of(inputs),
        _mlp_weights(channel),
        stored_value(spatial.conv.kernel),
        Options(channel.pools, spatial.descriptor, channel.starting.gain),
    )
    if norm is None:
        fused, _ = cbam(*arguments)
        return with_fused(fused(), fused)
    learns = training and norm.trainable
    fused, statistics = cbam(
        *arguments,
        lambda x, gamma, beta: _normalized(norm, x, gamma, beta, learns),
        (norm.gamma, norm.beta),
    )
    if learns:
        update_moving_averages(norm, *statistics)
    return with_fused(fused(), fused)


def suits_cbam(layer):
    norm = layer.spatial.norm
    return (
        # a subclass may have halves of its own
        (type(layer.channel), type(layer.spatial)) == (ChannelAttention, SpatialAttention)
        and layer.order == "channel_first"
        and _has_plain_mlp(layer.channel)
        and not layer.spatial.conv.lora_enabled
        and _suits(layer, {*layer.channel.pools, *layer.spatial.descriptor})
        # synchronized, the moments are those of several devices' maps
        and not (norm is not None and norm.synchronized)
    )


def gated(layer, x, *gates):
    """The fast form of `AttentionLayer.gated`, for attention layers that have no other."""
    if not can_fuse(x) or any(
        gate.shape[0] != x.shape[0] or gate.dtype not in (x.dtype, "float32") for gate in gates
    ):
        return None
    from .compiled_attention import product

    return with_fused(type(layer).gated(layer, x, *gates), product(x, *gates))


def _suits(layer, pools):
    return (
        set(pools) <= {"avg", "max"}
        and layer.data_format == "channels_last"
        and layer.variable_dtype == "float32"
    )


def _has_plain_mlp(layer):
    """Whether the MLP has a rectifier, and float kernels without adapters (LoRA)."""
    return layer.activation is keras.activations.relu and not any(
        dense.quantization_mode or dense.lora_enabled for dense in (layer.reduce, layer.expand)
    )


def _mlp_weights(layer):
    weights = []
    for dense in (layer.reduce, layer.expand):
        bias = stored_value(dense.bias) if dense.use_bias else ops.zeros(dense.units, "float32")
        weights += [stored_value(dense.kernel), bias]
    return weights


def _normalized(norm, x, gamma, beta, learns):
    mean, variance = map(ops.convert_to_tensor, (norm.moving_mean, norm.moving_variance))
    if learns:
        mean, variance = ops.moments(x, axes=(0, 1, 2))
    y = ops.batch_normalization(x, mean, variance, -1, beta, gamma, norm.epsilon)
    return y, (mean, variance)
