"""The command `explain`: Grad-CAM, attention maps and faithfulness of trained networks."""

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from models.class_activation import grad_cam

from ..config.command_settings import ExplainSettings
from ..data.batch_sizes import images_per_batch
from ..data.data_format import in_data_format
from ..data.dataset import Dataset
from ..runs.predictions import in_batches
from ..runs.run_folder import load_run_dataset
from ..system.errors import UserError
from ..system.files import write_json
from .explanation_plots import plot_explanations, plot_faithfulness
from .explanations import Explanation, explain_images
from .faithfulness import LARGEST_BATCH, Faithfulness, area_under_curves, faithfulness
from .loading import (
    display_names,
    load_explainable_network,
    read_common_config,
    without_images,
)
from .selection import SelectedImage, sample_photographs, select_images


def explain(
    settings: ExplainSettings, announce: Callable[[str], None] = print
) -> tuple[Path, dict[str, Any]]:
    """Explains how the best networks of runs classify images, and scores the explanations.

    Writes `explanation.png`, `faithfulness.png` and `explanation.json` into the folder
    `settings.output`. By default that is the run's folder or, for several runs, the innermost
    folder that holds them all; in that of a comparison, which has an `explanation.png` of its own,
    it is the subfolder `explained`.

    Args:
        settings: an `ExplainSettings`.
        announce: function that takes a line of text. Defaults to `print`.

    Returns:
        The path of the folder and the content of `explanation.json`.

    Raises:
        UserError: a folder is not a run, the runs have different data sets or no common folder, an
            image cannot be read, or a network has no such layer.
    """
    runs = list(map(Path, settings.runs))
    config, scored = read_common_config(runs, settings.data_dir), settings.faithfulness
    sources: Sequence[str] = settings.images or ()
    try:
        dataset = load_run_dataset(runs[0], config, settings.data_dir, announce)
    except UserError as error:
        if settings.data_dir or any(source.isdigit() for source in sources):
            raise
        announce(f"no test images: {error}")
        dataset, scored = without_images(config, runs[0]), 0
        sources = sources or sample_photographs()
    images = select_images(sources, dataset, announce)
    output = _output_folder(settings.output, runs)
    names = display_names(runs)
    explanations: list[Explanation] = []
    scores: dict[str, Faithfulness] = {}
    for name, run in zip(names, runs, strict=True):
        network = load_explainable_network(run, dataset, settings.layer)
        explanations.append(explain_images(network, name, images, settings.layer))
        if scored:
            announce(f"{name}: deleting and inserting pixels")
            scores[name] = _score(network, dataset, settings)
    _make(output)
    plot_explanations(output / "explanation.png", images, explanations, dataset.class_names)
    if scores:
        plot_faithfulness(output / "faithfulness.png", scores)
    report = _report(images, explanations, scores, dataset)
    write_json(output / "explanation.json", report)
    return output, report


def draw_explanations(path: Path, runs: Mapping[str, Path], dataset: Dataset) -> None:
    """Draws how the best networks of runs classify one test image of each of six classes.

    Args:
        path: path of the PNG file.
        runs: dictionary from names to run folders.
        dataset: a `Dataset`; its training images are not needed.

    Raises:
        UserError: a network cannot be loaded, or does not fit the data.
    """
    images = select_images((), dataset)
    explanations = [
        explain_images(load_explainable_network(run, dataset), name, images)
        for name, run in runs.items()
    ]
    plot_explanations(path, images, explanations, dataset.class_names)


def _output_folder(output: str | None, runs: Sequence[Path]) -> Path:
    if not output:
        folder = runs[0] if len(runs) == 1 else _common_folder(runs)
        if (folder / "comparison.csv").exists():
            folder = folder / "explained"
    else:
        folder = Path(output)
    # at once: to explain networks can take minutes
    there = next(path for path in (folder, *folder.parents) if os.path.exists(path))
    if not there.is_dir():
        raise UserError(f"output must be a folder; {str(folder)!r}: {there} is a file")
    return folder


def _make(folder: Path) -> None:
    """Makes the folder of the output, right before its first file: a mistake leaves none."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"output must be a folder; {str(folder)!r}: {error.strerror}") from None


def _common_folder(runs: Sequence[Path]) -> Path:
    try:
        return Path(os.path.commonpath([run.resolve().parent for run in runs]))
    except ValueError:  # they are on several drives of Windows
        raise UserError(
            f"no folder holds all of {', '.join(map(str, runs))}; name one with --output"
        ) from None


def _score(network: keras.Model, dataset: Dataset, settings: ExplainSettings) -> Faithfulness:
    """The faithfulness of Grad-CAM on a random sample of the test images."""
    rng = np.random.default_rng(settings.seed)
    count = min(settings.faithfulness, len(dataset.x_test))
    sample = np.sort(rng.choice(len(dataset.x_test), count, replace=False))
    images = dataset.x_test[sample]
    batch_size = images_per_batch(images.shape[1:], LARGEST_BATCH)

    def predict(images: np.ndarray) -> np.ndarray:
        return in_batches(network.predict_on_batch, in_data_format(images), batch_size)

    classes = predict(images).argmax(axis=-1)
    saliency = grad_cam(network, in_data_format(images), classes, settings.layer)
    return faithfulness(predict, images, saliency, classes, settings.seed)


def _report(
    images: Sequence[SelectedImage],
    explanations: Sequence[Explanation],
    scores: Mapping[str, Faithfulness],
    dataset: Dataset,
) -> dict[str, Any]:
    names = dataset.class_names
    return {
        "images": [
            {"name": i.name, "label": None if i.label is None else names[i.label]} for i in images
        ],
        "networks": {
            e.name: {
                "predicted": [names[c] for c in e.predicted],
                "probability": [round(float(p), 4) for p in e.probabilities.max(axis=-1)],
                **({"faithfulness": _summary(scores[e.name])} if e.name in scores else {}),
            }
            for e in explanations
        },
    }


def _summary(score: Faithfulness) -> dict[str, Any]:
    summary: dict[str, Any] = {"images": len(score.deletion)}
    for kind in ("deletion", "insertion"):
        gain, error = score.gain(kind)
        summary[kind] = {
            "area": float(area_under_curves(getattr(score, kind)).mean()),
            "random_area": float(area_under_curves(getattr(score, f"random_{kind}")).mean()),
            "gain": gain,
            "standard_error": error,
        }
    return summary
