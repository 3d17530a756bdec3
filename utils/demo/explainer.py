"""One network of the demo, which explains one image after the other."""

import dataclasses

import keras
import numpy as np

from models.class_activation import GradCAM, stage_layers

from ..data.data_format import in_data_format
from ..explain.attention_maps import AttentionMapExtractor, AttentionMaps
from ..explain.selection import SelectedImage


@dataclasses.dataclass(frozen=True, eq=False)
class Query:
    """What to explain.

    Args:
        image: a `SelectedImage`.
        target: int, the class that Grad-CAM explains; `None` for the one that a network predicts.
        stage: tuple of ints, height and width of the stage's feature maps.
    """

    image: SelectedImage
    target: int | None
    stage: tuple[int, int]

    def same_as(self, other: "Query") -> bool:
        """Whether both ask for the same explanation."""
        return (
            (self.image.name, self.target, self.stage)
            == (other.image.name, other.target, other.stage)
        ) and np.array_equal(self.image.pixels, other.image.pixels)


@dataclasses.dataclass(frozen=True, eq=False)
class ImageExplanation:
    """A network's prediction for the image of a query, with its maps at the query's stage.

    Args:
        name: string, the network's name.
        query: the `Query`.
        probabilities: float array `(classes,)`.
        target: int, the class that Grad-CAM explains.
        cam: float array `(height, width)`, Grad-CAM divided by its maximum; `None` if the network
            has no such stage.
        attention: the stage's `AttentionMaps`; `None` if it has no attention.
    """

    name: str
    query: Query
    probabilities: np.ndarray
    target: int
    cam: np.ndarray | None
    attention: AttentionMaps | None

    @property
    def predicted(self) -> int:
        """The class that the network predicts."""
        return int(self.probabilities.argmax())


class Explainer:
    """A network that answers queries, each stage's first one slowly and later ones fast.

    Args:
        name: string, the network's name.
        network: Keras model from raw pixels to class probabilities.
    """

    def __init__(self, name: str, network: keras.Model) -> None:
        self.name = name
        self.layers = stage_layers(network)
        self._network = network
        self._extract_maps = AttentionMapExtractor(network)
        self._cams: dict[tuple[int, int], GradCAM] = {}

    def explain(self, query: Query) -> ImageExplanation:
        """Explains how the network classifies an image.

        Args:
            query: a `Query`.

        Returns:
            An `ImageExplanation`, without maps of a stage that the network does not have.
        """
        pixels = in_data_format(query.image.pixels[None])
        probabilities = np.asarray(self._network.predict_on_batch(pixels)[0], "float64")
        target = int(probabilities.argmax()) if query.target is None else query.target
        maps = {maps.size: maps for maps in self._extract_maps(pixels)}
        cam = self._cam(pixels, target, query.stage)
        attention = maps.get(query.stage)
        return ImageExplanation(self.name, query, probabilities, target, cam, attention)

    def _cam(self, pixels: np.ndarray, target: int, stage: tuple[int, int]) -> np.ndarray | None:
        if stage not in self.layers:
            return None
        if stage not in self._cams:
            self._cams[stage] = GradCAM(self._network, self.layers[stage])
        cam = self._cams[stage](pixels, np.array([target]))[0]
        return cam / max(float(cam.max()), 1e-12)
