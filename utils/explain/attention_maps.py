"""The attention maps of a network: how strongly it weighs each position and each channel."""

import dataclasses
from collections.abc import Iterator

import keras
import numpy as np
from keras import ops

from models.attention_module import AttentionLayer, IdentityStart
from models.graphs import as_graph, deep_graphs
from models.private_api import Node, calls

# names of maps that attention layers return, of what weighs positions
BY_POSITION = ("spatial", "height", "width", "channel_height", "channel_width")


@dataclasses.dataclass(frozen=True)
class AttentionMaps:
    """The maps of one attention layer for a batch of images.

    Args:
        layer: string, the layer's name.
        size: tuple of ints, height and width of the layer's feature map.
        spatial: float array `(n, height, width)`, a weight for each position; `None` if the layer
            has none.
        channel: float array `(n, channels)`, a weight for each channel; `None` if the layer has
            none, or several.
        branches: dictionary from the names of a layer's branches, such as `"branch1"`, to float
            arrays `(n, channels)`, the share that each channel takes from it; empty for a layer
            without branches.
    """

    layer: str
    size: tuple[int, int]
    spatial: np.ndarray | None
    channel: np.ndarray | None
    branches: dict[str, np.ndarray]


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
            inputs = [node.input_tensors[0] for node, _ in self._layers.values()]
            with deep_graphs():
                self._layer_inputs = keras.Model(network.inputs, inputs)

    def __call__(self, images: np.ndarray) -> list[AttentionMaps]:
        if not self._layers:
            return []
        inputs = self._layer_inputs.predict_on_batch(images)
        inputs = inputs if isinstance(inputs, list) else [inputs]
        pairs = zip(self._layers.items(), inputs, strict=True)
        return [
            AttentionMaps(node.operation.name, size, *_by_kind(attention, x))
            for (size, (node, attention)), x in pairs
        ]


def attention_calls(network: keras.Model) -> Iterator[tuple[Node, AttentionLayer]]:
    """Yields the calls of layers with attention, each with the layer that it calls or wraps.

    Args:
        network: Functional or built Sequential Keras model.
    """
    for node in calls(as_graph(network)):
        layer = node.operation
        attention = layer.module if isinstance(layer, IdentityStart) else layer
        if isinstance(attention, AttentionLayer):
            yield node, attention


def _last_of_each_size(
    network: keras.Model,
) -> dict[tuple[int, int], tuple[Node, AttentionLayer]]:
    """The last call of attention at each size, and the attention layer that it calls or wraps."""
    last = {}
    for node, attention in attention_calls(network):
        height, width = (node.outputs[0].shape[axis] for axis in attention.spatial_axes)
        last[height, width] = (node, attention)
    return last


def _by_kind(
    attention: AttentionLayer, x: np.ndarray
) -> tuple[np.ndarray | None, np.ndarray | None, dict[str, np.ndarray]]:
    """The maps of a layer for its inputs: by position, by channel, and by branch and channel."""
    _, found = attention(ops.convert_to_tensor(x), training=False, return_maps=True)
    maps = {kind: ops.convert_to_numpy(ops.cast(m, "float32")) for kind, m in found.items()}
    if attention.data_format == "channels_first":
        maps = {kind: m.transpose(0, 2, 3, 1) for kind, m in maps.items()}
    by_position = [m for kind, m in maps.items() if _is_by_position(kind, m)]
    spatial = None
    if by_position:
        # coordinate attention has two: a weight for each row and one for each column
        product = np.prod(np.broadcast_arrays(*by_position), axis=0)
        spatial = product.mean(axis=-1)
    others = {kind: m[:, 0, 0] for kind, m in maps.items() if not _is_by_position(kind, m)}
    if len(others) > 1:
        return spatial, None, others
    return spatial, next(iter(others.values()), None), {}


def _is_by_position(kind: str, values: np.ndarray) -> bool:
    """Whether a map weighs positions; if there is one position alone, its name says so."""
    return kind in BY_POSITION or values.shape[1:3] != (1, 1)
