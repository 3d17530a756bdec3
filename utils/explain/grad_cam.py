"""Grad-CAM: which parts of an image raise the score of a class."""

import keras
import numpy as np
from keras import ops

from models.graphs import deep_graphs
from models.private_api import calls, node_of
from models.sites import as_graph, stage_ends

from ..system.backend import gradient

BATCH_SIZE = 100


def grad_cam(
    network: keras.Model, images: np.ndarray, classes: np.ndarray, layer: str | None = None
) -> np.ndarray:
    """Computes Grad-CAM: a weighted sum of a layer's feature maps, without its negative part.

    The weight of a feature map is the gradient of the class's logit with respect to it, averaged
    over the positions. Where the sum is negative, the image speaks for other classes.

    Args:
        network: Functional or built Sequential Keras model from images to class probabilities.
            The logits are the output of its layer `"logits"`, or else what its last layer computes
            before its activation.
        images: array `(n, ...)` in Keras's `image_data_format`.
        classes: int array `(n,)`, the class to explain for each image.
        layer: string, the layer's name. Defaults to the last layer whose output is a feature map,
            which may be a model inside the network.

    Returns:
        A float32 array `(n, height, width)` of the images' size, with no negative value.

    Raises:
        ValueError: the network has no such layer, or the logits do not depend on the image through
            that layer alone.

    Reference:

    - [Grad-CAM](https://arxiv.org/abs/1610.02391), equations 1 and 2
    """
    return GradCAM(network, layer)(images, classes)


class GradCAM:
    """Computes Grad-CAM as `grad_cam` does, for any number of batches.

    The backend compiles the network at the first batch; later ones are faster.

    Args:
        network, layer: as in `grad_cam`.

    Raises:
        ValueError: as in `grad_cam`.
    """

    def __init__(self, network: keras.Model, layer: str | None = None) -> None:
        with deep_graphs():
            network = as_graph(network)
            features = _feature_map(network, layer)
            self._body = keras.Model(network.inputs, features)
            try:
                self._head = keras.Model(features, _logits(network))
            except ValueError as error:
                raise ValueError(
                    f"the logits depend on more than the output of layer {layer!r}: {error}"
                ) from None

    def __call__(self, images: np.ndarray, classes: np.ndarray) -> np.ndarray:
        size = images.shape[1:3] if _channels_last() else images.shape[2:4]
        cams = [np.zeros((0, *size), "float32")]
        for start in range(0, len(images), BATCH_SIZE):
            batch = slice(start, start + BATCH_SIZE)
            cams.append(self._of_batch(images[batch], classes[batch], size))
        return np.concatenate(cams)

    def _of_batch(
        self, images: np.ndarray, classes: np.ndarray, size: tuple[int, ...]
    ) -> np.ndarray:
        one_hot = ops.one_hot(classes, self._head.output_shape[-1])
        maps = self._body.predict_on_batch(images)
        gradients = gradient(lambda x: self._head(x, training=False) * one_hot, maps)
        return _resized(_weighted_sum(maps, gradients), size)


def stage_layers(network: keras.Model) -> dict[tuple[int, int], str]:
    """Finds the last layer of each stage of a network, which Grad-CAM can explain.

    Args:
        network: Functional Keras model.

    Returns:
        A dictionary from height and width of a stage's feature maps to the layer's name, the
        largest first.
    """
    spatial_axes = slice(1, 3) if _channels_last() else slice(2, 4)
    ends = stage_ends(network)
    return {tuple(end.outputs[0].shape[spatial_axes]): end.operation.name for end in ends}


def _feature_map(network: keras.Model, layer: str | None) -> keras.KerasTensor:
    """The output of a layer, or the last of rank 4; of a model inside the network, as called."""
    outputs = {node.operation.name: node.outputs[0] for node in calls(network)}
    if layer is None:
        return [output for output in outputs.values() if len(output.shape) == 4][-1]
    if layer not in outputs:
        raise ValueError(
            f"no layer of {network.name!r} is called {layer!r}; it has {', '.join(outputs)}"
        )
    return outputs[layer]


def _logits(network: keras.Model) -> keras.KerasTensor:
    """The scores of the classes before the activation that makes them probabilities."""
    for node in calls(network):
        if node.operation.name == "logits":
            return node.outputs[0]
    node = node_of(network.outputs[0])
    last, inputs = node.operation, node.input_tensors[0]
    if isinstance(last, keras.layers.Activation | keras.layers.Softmax):
        return inputs
    if getattr(last, "activation", None) in (None, keras.activations.linear):
        return network.outputs[0]
    config = {**last.get_config(), "activation": "linear", "name": "logits"}
    linear = type(last).from_config(config)
    logits = linear(inputs)
    linear.set_weights(last.get_weights())
    return logits


def _weighted_sum(maps: np.ndarray, gradients: np.ndarray) -> np.ndarray:
    if not _channels_last():
        maps, gradients = (x.transpose(0, 2, 3, 1) for x in (maps, gradients))
    weights = gradients.mean(axis=(1, 2), keepdims=True)
    return np.maximum((weights * maps).sum(axis=-1), 0).astype("float32")


def _resized(maps: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    resized = ops.image.resize(
        maps[..., None], size, interpolation="bilinear", data_format="channels_last"
    )
    return ops.convert_to_numpy(resized)[..., 0]


def _channels_last() -> bool:
    return keras.config.image_data_format() == "channels_last"
