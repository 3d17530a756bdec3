"""The attention maps of a network: how strongly it weighs each position and each channel."""

import dataclasses

import keras
import numpy as np
from keras import ops

from models.attention_module import AttentionLayer, IdentityStart
from models.graphs import deep_graphs


@dataclasses.dataclass(frozen=True)
class AttentionMaps:
    """The maps of one attention layer for a batch of images.

    Args:
        layer: string, the layer's name.
        size: tuple of ints, height and width of the layer's feature map.
        spatial: float array `(n, height, width)`, a weight for each position; `None` if the layer
            has none.
        channel: float array `(n, channels)`, a weight for each channel; `None` if the layer has
            none.
    """

    layer: str
    size: tuple[int, int]
    spatial: np.ndarray | None
    channel: np.ndarray | None


def attention_maps(network: keras.Model, images: np.ndarray) -> list[AttentionMaps]:
    """Computes the maps of the last attention layer at each size of the feature maps.

    In every architecture these are the last attention layers of the stages.

    Args:
        network: Functional Keras model.
        images: array `(n, ...)` in Keras's `image_data_format`.

    Returns:
        A list of `AttentionMaps`, the largest feature map first; empty for a network without
        attention.
    """
    return AttentionMapExtractor(network)(images)


class AttentionMapExtractor:
    """Computes attention maps as `attention_maps` does, for any number of batches.

    Args:
        network: Functional Keras model.
    """

    def __init__(self, network: keras.Model) -> None:
        self._layers = _last_of_each_size(network)
        if self._layers:
            inputs = [layer.input for layer, _ in self._layers.values()]
            with deep_graphs():
                self._layer_inputs = keras.Model(network.inputs, inputs)

    def __call__(self, images: np.ndarray) -> list[AttentionMaps]:
        if not self._layers:
            return []
        inputs = self._layer_inputs.predict_on_batch(images)
        inputs = inputs if isinstance(inputs, list) else [inputs]
        pairs = zip(self._layers.items(), inputs, strict=True)
        return [
            AttentionMaps(layer.name, size, *_spatial_and_channel(attention, x))
            for (size, (layer, attention)), x in pairs
        ]


def _last_of_each_size(
    network: keras.Model,
) -> dict[tuple[int, int], tuple[keras.layers.Layer, AttentionLayer]]:
    """The last layer with attention at each size, and the attention layer that it is or wraps."""
    last = {}
    for layer in network.layers:
        attention = layer.module if isinstance(layer, IdentityStart) else layer
        if isinstance(attention, AttentionLayer):
            height, width = (layer.output.shape[axis] for axis in attention.spatial_axes)
            last[height, width] = (layer, attention)
    return last


def _spatial_and_channel(
    attention: AttentionLayer, x: np.ndarray
) -> tuple[np.ndarray | None, np.ndarray | None]:
    _, maps = attention(ops.convert_to_tensor(x), training=False, return_maps=True)
    maps = [ops.convert_to_numpy(ops.cast(m, "float32")) for m in maps.values()]
    if attention.data_format == "channels_first":
        maps = [m.transpose(0, 2, 3, 1) for m in maps]
    spatial_maps = [m for m in maps if m.shape[1:3] != (1, 1)]
    channel_maps = [m for m in maps if m.shape[1:3] == (1, 1)]
    spatial = None
    if spatial_maps:
        # coordinate attention has two: a weight for each row and one for each column
        product = np.prod(np.broadcast_arrays(*spatial_maps), axis=0)
        spatial = product.mean(axis=-1)
    channel = channel_maps[0][:, 0, 0] if channel_maps else None
    return spatial, channel
