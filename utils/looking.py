"""What a network makes of one image, to be asked again and again while a person chooses."""

import dataclasses

import numpy as np

from .attention_maps import AttentionMaps, AttentionReader
from .data import in_data_format
from .grad_cam import GradCAM, stages
from .shown_images import ShownImage


@dataclasses.dataclass(frozen=True, eq=False)
class Choice:
    """What is looked at.

    Args:
        image: a `ShownImage`.
        target: int, the class that Grad-CAM explains; `None` for what each network predicts.
        stage: tuple of ints, height and width of the feature maps that are looked at.
    """

    image: ShownImage
    target: int | None
    stage: tuple[int, int]

    def same(self, other):
        """Whether another choice shows the same."""
        return (
            (self.image.name, self.target, self.stage)
            == (other.image.name, other.target, other.stage)
        ) and np.array_equal(self.image.pixels, other.image.pixels)


@dataclasses.dataclass(frozen=True, eq=False)
class Look:
    """What a network makes of a choice.

    Args:
        name: string, the network's.
        choice: the `Choice`.
        probabilities: float array `(classes,)`.
        target: int, the class that Grad-CAM explains.
        cam: float array `(height, width)` from 0 to 1, Grad-CAM as a share of its highest value;
            `None` where the network has no such stage.
        attention: `AttentionMaps` of that stage, or `None`.
    """

    name: str
    choice: Choice
    probabilities: np.ndarray
    target: int
    cam: np.ndarray | None
    attention: AttentionMaps | None

    @property
    def predicted(self):
        return int(self.probabilities.argmax())


class Looker:
    """A network to look with, again and again: only the first look at a stage takes long.

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

    def look(self, choice):
        """Returns the `Look` at a `Choice`."""
        pixels = in_data_format(choice.image.pixels[None])
        probabilities = np.asarray(self.network.predict_on_batch(pixels)[0], "float64")
        target = int(probabilities.argmax()) if choice.target is None else choice.target
        maps = {maps.size: maps for maps in self._maps(pixels)}
        cam = self._cam(pixels, target, choice.stage)
        return Look(self.name, choice, probabilities, target, cam, maps.get(choice.stage))

    def _cam(self, pixels, target, stage):
        if stage not in self.layers:
            return None
        if stage not in self._cams:
            self._cams[stage] = GradCAM(self.network, self.layers[stage])
        cam = self._cams[stage](pixels, np.array([target]))[0]
        return cam / max(float(cam.max()), 1e-12)
