"""Grad-CAM: which parts of an image speak for a class."""

import keras
import numpy as np
from keras import ops

from models.saving import deep_graphs
from models.sites import stage_ends

from ..system.backend import gradient

BATCH_SIZE = 100


def grad_cam(network, images, classes, layer=None):
    """Computes Grad-CAM: the feature maps of a layer, weighted by their gradient and summed.

    The weight of a map is the mean over its positions of the gradient of the class's logit; what is
    negative in the sum speaks for other classes and becomes zero.

    Args:
        network: Keras model from images to class probabilities whose `"logits"` layer comes before
            its softmax, as this project's networks.
        images: array `(n, ...)`, as the network takes them.
        classes: int array `(n,)`, the class of each image that is explained.
        layer: string, name of the layer; by default the last whose output is a feature map.

    Returns:
        A float array `(n, height, width)`, of the image's size, not below zero.

    Raises:
        ValueError: no such layer, or a layer that not everything goes through.

    Reference:

    - [Grad-CAM](https://arxiv.org/abs/1610.02391), equations 1 and 2
    """
    return GradCAM(network, layer)(images, classes)


class GradCAM:
    """Grad-CAM of one network and layer, to be asked more than once: see `grad_cam`.

    The first time, the backend compiles the network.
    """

    def __init__(self, network, layer=None):
        features = network.get_layer(layer).output if layer else last_feature_map(network)
        with deep_graphs():
            self.body = keras.Model(network.inputs, features)
            try:
                self.head = keras.Model(features, network.get_layer("logits").output)
            except ValueError as error:
                raise ValueError(f"not everything goes through layer {layer!r}: {error}") from None

    def __call__(self, images, classes):
        size = images.shape[1:3] if _channels_last() else images.shape[2:4]
        cams = [np.zeros((0, *size), "float32")]
        for start in range(0, len(images), BATCH_SIZE):
            batch = slice(start, start + BATCH_SIZE)
            cams.append(self._of_batch(images[batch], classes[batch], size))
        return np.concatenate(cams)

    def _of_batch(self, images, classes, size):
        chosen = ops.one_hot(classes, self.head.output_shape[-1])
        maps = self.body.predict_on_batch(images)
        slopes = gradient(lambda x: self.head(x, training=False) * chosen, maps)
        return _resized(_weighted_sum(maps, slopes), size)


def stages(network):
    """Finds the layers that the stages of a network end with: what Grad-CAM can be asked about.

    Args:
        network: Functional Keras model.

    Returns:
        A dictionary from the height and width of a stage's feature maps to the layer's name, the
        largest first.
    """
    rows = slice(1, 3) if _channels_last() else slice(2, 4)
    ends = stage_ends(network)
    return {tuple(end.outputs[0].shape[rows]): end.operation.name for end in ends}


def last_feature_map(network):
    """Returns the last output of rank 4 in a network, a Keras tensor."""
    maps = [layer.output for layer in network.layers if len(layer.output.shape) == 4]
    return maps[-1]


def _weighted_sum(maps, slopes):
    if not _channels_last():
        maps, slopes = (x.transpose(0, 2, 3, 1) for x in (maps, slopes))
    weights = slopes.mean(axis=(1, 2), keepdims=True)
    return np.maximum((weights * maps).sum(axis=-1), 0).astype("float32")


def _resized(maps, size):
    larger = ops.image.resize(
        maps[..., None], size, interpolation="bilinear", data_format="channels_last"
    )
    return ops.convert_to_numpy(larger)[..., 0]


def _channels_last():
    return keras.config.image_data_format() == "channels_last"
