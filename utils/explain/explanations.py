"""The explanation of a network's predictions: Grad-CAM and attention maps of some images."""

import dataclasses
from collections.abc import Sequence

import keras
import numpy as np

from models.class_activation import GradCAM

from ..data.data_format import in_data_format
from .attention_maps import AttentionMaps, attention_maps
from .selection import SelectedImage


@dataclasses.dataclass(frozen=True)
class Explanation:
    """A network's predictions for some images, with Grad-CAM and attention maps.

    Args:
        name: string, the network's name.
        probabilities: float array `(n, classes)`.
        true_class_cams: list of float arrays `(height, width)`, Grad-CAM of the true class; `None`
            for an image whose class is unknown.
        predicted_class_cams: float array `(n, height, width)`, Grad-CAM of the predicted class.
        attention: list of `AttentionMaps`.
    """

    name: str
    probabilities: np.ndarray
    true_class_cams: list[np.ndarray | None]
    predicted_class_cams: np.ndarray
    attention: list[AttentionMaps]

    @property
    def predicted(self) -> np.ndarray:
        """The class that the network predicts for each image, an int array `(n,)`."""
        return self.probabilities.argmax(axis=-1)


def explain_images(
    network: keras.Model, name: str, images: Sequence[SelectedImage], layer: str | None = None
) -> Explanation:
    """Explains how a network classifies images.

    Args:
        network: Keras model from raw pixels to class probabilities.
        name: string, the network's name.
        images: list of `SelectedImage`s.
        layer: string, the layer of Grad-CAM. Defaults to the last feature map.

    Returns:
        An `Explanation`.
    """
    pixels = in_data_format(np.stack([image.pixels for image in images]))
    probabilities = network.predict_on_batch(pixels)
    predicted = probabilities.argmax(axis=-1)
    labels = [image.label for image in images]
    pairs = zip(labels, predicted, strict=True)
    # the predicted class stands in for an unknown one, so that all images make one batch
    classes = np.array([guess if label is None else label for label, guess in pairs], "int64")
    cam = GradCAM(network, layer)
    true_class_cams = zip(labels, cam(pixels, classes), strict=True)
    return Explanation(
        name,
        probabilities,
        [None if label is None else each for label, each in true_class_cams],
        cam(pixels, predicted),
        attention_maps(network, pixels),
    )
