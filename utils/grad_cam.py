"""Grad-CAM: which parts of an image speak for a class."""

import keras
import numpy as np
from keras import ops

from models.saving import deep_graphs

from .backend import gradient

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
    features = network.get_layer(layer).output if layer else last_feature_map(network)
    with deep_graphs():
        body = keras.Model(network.inputs, features)
        try:
            head = keras.Model(features, network.get_layer("logits").output)
        except ValueError as error:
            raise ValueError(f"not everything goes through layer {layer!r}: {error}") from None
    size = images.shape[1:3] if _channels_last() else images.shape[2:4]
    cams = [np.zeros((0, *size), "float32")]
    for start in range(0, len(images), BATCH_SIZE):
        batch = slice(start, start + BATCH_SIZE)
        chosen = ops.one_hot(classes[batch], head.output_shape[-1])
        maps = body.predict_on_batch(images[batch])
        slopes = gradient(lambda x, chosen=chosen: head(x, training=False) * chosen, maps)
        cams.append(_resized(_weighted_sum(maps, slopes), size))
    return np.concatenate(cams)


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
