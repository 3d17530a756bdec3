"""What the demo works with: networks of runs, test images if there are any, and uploaded ones."""

import dataclasses
from pathlib import Path

import keras

from ..data.dataset import Dataset
from ..data.decoding import read_image
from ..explain.explain import common_config, explainable_network, names_of
from ..explain.selection import SelectedImage
from ..runs.run_folder import load_run_dataset, read_class_names
from ..system.errors import UserError
from .explainer import Explainer
from .rendering import render


@dataclasses.dataclass(frozen=True)
class DemoRuns:
    """Everything that the page has to show.

    Args:
        explainers: list of `Explainer`s.
        shape: tuple of ints, height, width and channels of the images.
        class_names: sequence of strings.
        dataset: the `Dataset` with the test images, or `None` where it cannot be had.
        lacks: string, why it cannot be had.
    """

    explainers: list[Explainer]
    shape: tuple[int, int, int]
    class_names: tuple
    dataset: Dataset | None
    lacks: str = ""

    @property
    def stages(self):
        """The sizes of the feature maps of all networks, the largest first."""
        sizes = {size for explainer in self.explainers for size in explainer.layers}
        return sorted(sizes, reverse=True)

    def picked(self, number):
        """Returns a test image by its number."""
        count = len(self.dataset.x_test)
        if not 0 <= number < count or number != int(number):
            raise UserError(f"test images have the numbers 0 to {count - 1}; received {number:g}")
        number = int(number)
        pixels, label = self.dataset.x_test[number], self.dataset.y_test[number]
        return SelectedImage(f"test image {number}", pixels, int(label))

    def uploaded(self, path):
        """Returns the image in a file; what is wrong with it is said without its folder."""
        path = Path(path)
        try:
            return SelectedImage(path.name, read_image(path, self.shape), None)
        except UserError as error:
            raise UserError(str(error).replace(str(path), path.name)) from None

    def explanations(self, query):
        """Returns a list of what each network makes of a `Query`."""
        return [explainer.explain(query) for explainer in self.explainers]

    def compared(self, explanations, before=None):
        """Renders explanations beside those before or, without them, the first network's.

        Args:
            explanations: list of `Explanation`s, one of each network.
            before: as many `Explanation`s at something else, or `None`.
        """
        if before is not None:
            return render(explanations, before, "what was shown before", self.class_names)
        references = [None, *explanations[:1] * (len(explanations) - 1)]
        return render(explanations, references, explanations[0].name, self.class_names)


def prepare(settings, announce=print):
    """Loads the networks of a demo and, if they are on this machine, the test images.

    Args:
        settings: a `DemoSettings`.
        announce: function that takes a line of text.

    Returns:
        A `DemoRuns`.

    Raises:
        UserError: a folder that is no run, runs that do not fit one another, or data that were
            asked for and cannot be had.
    """
    runs = list(map(Path, settings.runs))
    config = common_config(runs)
    dataset, lacks = None, ""
    try:
        dataset = _data_at_hand(config, settings.data_dir)
    except UserError as error:
        if settings.data_dir:
            raise
        lacks = str(error)
        announce(f"no test images to pick from: {lacks}")
    networks = [explainable_network(run, dataset) for run in runs]
    shape, classes = _common_form(runs, networks)
    names = dataset.class_names if dataset else read_class_names(runs[0], classes)
    explainers = [Explainer(*pair) for pair in zip(names_of(runs), networks, strict=True)]
    return DemoRuns(explainers, shape, names, dataset, lacks)


def _data_at_hand(config, data_dir):
    """Loads the data set that a run was trained on, without downloading it."""
    return load_run_dataset(config, data_dir, announce=lambda line: None, download=False)


def _common_form(runs, networks):
    """The height, width and channels of the images that all networks take, and the classes."""
    forms = list(dict.fromkeys(map(_form, runs, networks)))
    if len(forms) > 1:
        raise UserError(
            "the runs must take images of one size and tell as many classes; received "
            + " and ".join(f"{shape} with {classes} classes" for shape, classes in forms)
        )
    return forms[0]


def _form(run, network):
    _, *shape = network.input_shape
    if keras.config.image_data_format() == "channels_first":
        shape = [*shape[1:], *shape[:1]]
    if len(shape) != 3 or None in shape or shape[-1] not in (1, 3):
        raise UserError(f"{run}/best.keras takes {network.input_shape}, no images of one size")
    return tuple(shape), network.output_shape[-1]
