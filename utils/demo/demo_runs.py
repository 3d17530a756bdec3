"""The content of the demo: the networks of runs, and images from the test set or from files."""

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import keras

from ..config.command_settings import DemoSettings
from ..data.dataset import Dataset
from ..data.images.decoding import read_image
from ..explain.loading import display_names, load_explainable_network, read_common_config
from ..explain.selection import SelectedImage, numbered_image
from ..predict.trained_network import fixed_image_shape, in_precision_of_run
from ..runs.run_folder import load_run_dataset, read_class_names, read_config
from ..system.errors import UserError
from .explainer import Explainer, ImageExplanation, Query
from .rendering import render


@dataclasses.dataclass(frozen=True)
class DemoRuns:
    """The networks of the demo and the images that they can explain.

    Args:
        explainers: list of `Explainer`s, one for each run.
        shape: tuple of ints, height, width and channels of the images.
        class_names: sequence of strings.
        dataset: the `Dataset` with the test images; `None` if it cannot be loaded.
        no_dataset: string, why it cannot be loaded.
    """

    explainers: list[Explainer]
    shape: tuple[int, int, int]
    class_names: tuple[str, ...]
    dataset: Dataset | None
    no_dataset: str = ""

    @property
    def stages(self) -> list[tuple[int, int]]:
        """Height and width of the feature maps of every stage of any network, largest first."""
        sizes = {size for explainer in self.explainers for size in explainer.layers}
        return sorted(sizes, reverse=True)

    def test_image(self, number: float) -> SelectedImage:
        """Returns a test image.

        Args:
            number: its number, from 0 on.

        Returns:
            A `SelectedImage` with its true class.

        Raises:
            UserError: there is no image with that number.
        """
        if self.dataset is None:
            raise UserError(self.no_dataset)
        return numbered_image(self.dataset, number, "test image")

    def uploaded_image(self, path: str | Path) -> SelectedImage:
        """Reads an image file.

        Args:
            path: path of the file.

        Returns:
            A `SelectedImage` of the networks' size, whose true class is unknown.

        Raises:
            UserError: it cannot be read. The message names the file without its folder, which is
                the server's own.
        """
        path = Path(path)
        try:
            return SelectedImage(path.name, read_image(path, self.shape), None)
        except UserError as error:
            raise UserError(str(error).replace(str(path), path.name)) from None

    def explain(self, query: Query) -> list[ImageExplanation]:
        """Has every network explain a query.

        Args:
            query: a `Query`.

        Returns:
            A list of `ImageExplanation`s, one for each network.
        """
        return [explainer.explain(query) for explainer in self.explainers]

    def render(
        self,
        explanations: Sequence[ImageExplanation],
        previous: Sequence[ImageExplanation | None] | None = None,
    ) -> str:
        """Renders explanations as HTML, each compared with a reference.

        Args:
            explanations: list of `ImageExplanation`s, one for each network.
            previous: list of each network's `ImageExplanation` of another query, or `None`, to
                compare it with. By default all networks are compared with the first one.
        """
        if previous is not None:
            return render(explanations, previous, "the previous result", self.class_names)
        first, *others = explanations
        references = [None, *[first for _ in others]]
        return render(explanations, references, f"network {first.name}", self.class_names)


def load_demo_runs(settings: DemoSettings, announce: Callable[[str], None] = print) -> DemoRuns:
    """Loads the networks of a demo and, if they are on this machine, the test images.

    Args:
        settings: a `DemoSettings`.
        announce: function that takes a line of text. Defaults to `print`.

    Returns:
        A `DemoRuns`.

    Raises:
        UserError: a folder is not a run, the runs do not fit together, or `settings.data_dir` does
            not hold the data.
    """
    runs = list(map(Path, settings.runs))
    config = read_common_config(runs, settings.data_dir)
    dataset, reason = None, ""
    try:
        dataset = _load_local_dataset(runs[0], config, settings.data_dir)
    except UserError as error:
        if settings.data_dir:
            raise
        reason = str(error)
        announce(f"no test images: {reason}")
    networks = [_network(run, dataset, settings.precision) for run in runs]
    shape, classes = _common_shape_and_classes(runs, networks)
    names = dataset.class_names if dataset else read_class_names(runs[0], classes)
    explainers = [Explainer(*pair) for pair in zip(display_names(runs), networks, strict=True)]
    return DemoRuns(explainers, shape, names, dataset, reason)


def _network(run: Path, dataset: Dataset | None, precision: str) -> keras.Model:
    network = load_explainable_network(run, dataset)
    return in_precision_of_run(network, read_config(run), precision)


def _load_local_dataset(run: Path, config: dict[str, Any], data_dir: str | None) -> Dataset:
    """Loads the data set that a run was trained on, without downloading it."""
    return load_run_dataset(run, config, data_dir, announce=lambda line: None, download=False)


def _common_shape_and_classes(
    runs: Sequence[Path], networks: Sequence[keras.Model]
) -> tuple[tuple[int, int, int], int]:
    """The images' height, width and channels, and the number of classes, of all networks."""
    found = list(dict.fromkeys(map(_shape_and_classes, runs, networks)))
    if len(found) > 1:
        raise UserError(
            "the runs must have the same image size and number of classes; received "
            + " and ".join(f"{shape} with {classes} classes" for shape, classes in found)
        )
    return found[0]


def _shape_and_classes(run: Path, network: keras.Model) -> tuple[tuple[int, int, int], int]:
    return fixed_image_shape(network, f"{run}/best.keras"), network.output_shape[-1]
