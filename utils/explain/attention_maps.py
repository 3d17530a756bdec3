"""What the attention layers of a network do to an image: where they look, and at which channels."""

import dataclasses

import keras
import numpy as np
from keras import ops

from models.attention_module import AttentionLayer, IdentityStart
from models.saving import deep_graphs


@dataclasses.dataclass(frozen=True)
class AttentionMaps:
    """The maps of one attention layer.

    Args:
        layer: string, its name.
        size: tuple of ints, height and width of the feature map that it attends to.
        spatial: float array `(n, height, width)`, or `None` where it treats all positions alike.
        channel: float array `(n, channels)`, a factor for each channel wherever it is, or `None`.
    """

    layer: str
    size: tuple[int, int]
    spatial: np.ndarray | None
    channel: np.ndarray | None


def attention_maps(network, images):
    """Computes the maps of the last attention layer at each size of the feature maps.

    Those are the ends of the stages, whatever the architecture.

    Args:
        network: Functional Keras model.
        images: array `(n, ...)`, as the network takes them.

    Returns:
        A list of `AttentionMaps`, the largest feature map first; empty without attention.
    """
    return AttentionReader(network)(images)


class AttentionReader:
    """Computes the maps of one network, to be asked more than once: see `attention_maps`."""

    def __init__(self, network):
        self.layers = _last_of_each_size(network)
        if self.layers:
            with deep_graphs():
                inputs = [layer.input for layer in self.layers.values()]
                self.inputs = keras.Model(network.inputs, inputs)

    def __call__(self, images):
        if not self.layers:
            return []
        seen = self.inputs.predict_on_batch(images)
        seen = seen if isinstance(seen, list) else [seen]
        pairs = zip(self.layers.items(), seen, strict=True)
        return [_maps_of(layer, size, x) for (size, layer), x in pairs]


def attending(layer):
    """Returns the attention layer that a layer of a network is or holds, or `None`."""
    inner = layer.module if isinstance(layer, IdentityStart) else layer
    return inner if isinstance(inner, AttentionLayer) else None


def _last_of_each_size(network):
    last = {}
    for layer in network.layers:
        attention = attending(layer)
        if attention is not None:
            last[tuple(layer.output.shape[axis] for axis in attention.spatial_axes)] = layer
    return last


def _maps_of(layer, size, x):
    attention = attending(layer)
    _, maps = attention(ops.convert_to_tensor(x), training=False, return_maps=True)
    maps = [ops.convert_to_numpy(ops.cast(m, "float32")) for m in maps.values()]
    if attention.data_format == "channels_first":
        maps = [m.transpose(0, 2, 3, 1) for m in maps]
    by_place = [m for m in maps if m.shape[1:3] != (1, 1)]
    by_channel = [m for m in maps if m.shape[1:3] == (1, 1)]
    spatial = None
    if by_place:
        # several, such as a factor for the row and one for the column, multiply the map together
        product = np.prod(np.broadcast_arrays(*by_place), axis=0)
        spatial = product.mean(axis=-1)
    channel = by_channel[0][:, 0, 0] if by_channel else None
    return AttentionMaps(layer.name, size, spatial, channel)
