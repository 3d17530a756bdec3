"""What a network makes of one image, to be asked again and again while a person chooses."""

import dataclasses

import numpy as np

from ..data.data_format import in_data_format
from ..explain.attention_maps import AttentionMaps, AttentionReader
from ..explain.grad_cam import GradCAM, stages
from ..explain.selection import SelectedImage


@dataclasses.dataclass(frozen=True, eq=False)
class Query:
    """What a network is asked to explain.

    Args:
        image: a `SelectedImage`.
        target: int, the class that Grad-CAM explains; `None` for what each network predicts.
        stage: tuple of ints, height and width of the feature maps that are looked at.
    """

    image: SelectedImage
    target: int | None
    stage: tuple[int, int]

    def same(self, other):
        """Whether another query shows the same."""
        return (
            (self.image.name, self.target, self.stage)
            == (other.image.name, other.target, other.stage)
        ) and np.array_equal(self.image.pixels, other.image.pixels)


@dataclasses.dataclass(frozen=True, eq=False)
class Explanation:
    """What a network makes of a query.

    Args:
        name: string, the network's.
        query: the `Query`.
        probabilities: float array `(classes,)`.
        target: int, the class that Grad-CAM explains.
        cam: float array `(height, width)` from 0 to 1, Grad-CAM as a share of its highest value;
            `None` where the network has no such stage.
        attention: `AttentionMaps` of that stage, or `None`.
    """

    name: str
    query: Query
    probabilities: np.ndarray
    target: int
    cam: np.ndarray | None
    attention: AttentionMaps | None

    @property
    def predicted(self):
        return int(self.probabilities.argmax())


class Explainer:
    """A network that explains one query after the other: only the first of a stage takes long.

    Args:
        name: string, what to call it.
        network: Keras model from raw pixels to class probabilities.
    """

    def __init__(self, name, network):
        self.name = name
        self.network = network
        self.layers = stages(network)
        self._maps = AttentionReader(network)
        self._cams = {}

    def explain(self, query):
        """Returns the `Explanation` of a `Query`."""
        pixels = in_data_format(query.image.pixels[None])
        probabilities = np.asarray(self.network.predict_on_batch(pixels)[0], "float64")
        target = int(probabilities.argmax()) if query.target is None else query.target
        maps = {maps.size: maps for maps in self._maps(pixels)}
        cam = self._cam(pixels, target, query.stage)
        return Explanation(self.name, query, probabilities, target, cam, maps.get(query.stage))

    def _cam(self, pixels, target, stage):
        if stage not in self.layers:
            return None
        if stage not in self._cams:
            self._cams[stage] = GradCAM(self.network, self.layers[stage])
        cam = self._cams[stage](pixels, np.array([target]))[0]
        return cam / max(float(cam.max()), 1e-12)
