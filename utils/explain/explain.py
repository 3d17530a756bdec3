"""What trained networks look at, side by side: Grad-CAM, attention maps, and a score."""

import dataclasses
import itertools
import os
from pathlib import Path

import numpy as np

from ..data.data_format import in_data_format
from ..evaluation.networks import load_network
from ..runs.predictions import in_batches
from ..runs.run_folder import load_run_dataset, read_config
from ..system.errors import UserError
from ..system.files import write_json
from .attention_maps import AttentionMaps, attention_maps
from .explanation_plots import plot_explanations, plot_faithfulness
from .faithfulness import BATCH_SIZE, area, faithfulness
from .grad_cam import GradCAM, grad_cam
from .selection import select_images


@dataclasses.dataclass(frozen=True)
class Explanation:
    """What a network makes of some images.

    Args:
        name: string, the run's name.
        probabilities: float array `(n, classes)`.
        of_true_class: list of float arrays `(height, width)`, Grad-CAM of the true class; `None`
            where that is not known.
        of_prediction: float array `(n, height, width)`, Grad-CAM of the predicted class.
        attention: list of `AttentionMaps`.
    """

    name: str
    probabilities: np.ndarray
    of_true_class: list
    of_prediction: np.ndarray
    attention: list[AttentionMaps]

    @property
    def predicted(self):
        return self.probabilities.argmax(axis=-1)


def explain(settings, announce=print):
    """Explains what the best networks of runs make of images, and how faithful that is.

    Writes `explanation.png`, `faithfulness.png` and `explanation.json`: into the run's folder if
    there is one run, and into the folder that holds them all if there are several.

    Args:
        settings: an `ExplainSettings`.
        announce: function that takes a line of text.

    Returns:
        The path of the folder that was written to, and the content of `explanation.json`.

    Raises:
        UserError: a folder that is no run, runs of different data, or images that cannot be had.
    """
    runs = list(map(Path, settings.runs))
    dataset = load_run_dataset(common_config(runs), settings.data_dir, announce)
    images = select_images(settings.images or (), dataset)
    output = Path(settings.output) if settings.output else _common_folder(runs)
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"output must be a folder; {str(output)!r}: {error.strerror}") from None
    names = names_of(runs)
    explanations, scores = [], {}
    for name, run in zip(names, runs, strict=True):
        network = explainable_network(run, dataset)
        explanations.append(explained(network, name, images))
        if settings.faithfulness:
            announce(f"{name}: deleting and inserting pixels")
            scores[name] = _score(network, dataset, settings)
    plot_explanations(output / "explanation.png", images, explanations, dataset.class_names)
    if scores:
        plot_faithfulness(output / "faithfulness.png", scores)
    report = _report(images, explanations, scores, dataset)
    write_json(output / "explanation.json", report)
    return output, report


def draw_explanations(path, runs, dataset):
    """Draws what the best networks of runs make of one test image of each of six classes.

    Args:
        path: path of the PNG file.
        runs: dictionary from names to run folders.
        dataset: a `Dataset`; its training images are not needed.

    Raises:
        UserError: a network that cannot be loaded, or does not fit the data.
    """
    images = select_images((), dataset)
    found = [
        explained(explainable_network(run, dataset), name, images) for name, run in runs.items()
    ]
    plot_explanations(path, images, found, dataset.class_names)


def explained(network, name, images):
    """Explains what a network makes of images.

    Args:
        network: Keras model from raw pixels to class probabilities.
        name: string, what to call it.
        images: list of `SelectedImage`s.

    Returns:
        An `Explanation`.
    """
    pixels = in_data_format(np.stack([image.pixels for image in images]))
    probabilities = network.predict_on_batch(pixels)
    predicted = probabilities.argmax(axis=-1)
    labels = [image.label for image in images]
    known = np.array([label is not None for label in labels])
    cam = GradCAM(network)
    of_true_class = cam(pixels, np.where(known, labels, predicted).astype("int64"))
    return Explanation(
        name,
        probabilities,
        [heat if there else None for heat, there in zip(of_true_class, known, strict=True)],
        cam(pixels, predicted),
        attention_maps(network, pixels),
    )


def _score(network, dataset, settings):
    rng = np.random.default_rng(settings.seed)
    count = min(settings.faithfulness, len(dataset.x_test))
    chosen = np.sort(rng.choice(len(dataset.x_test), count, replace=False))
    images = dataset.x_test[chosen]

    def probabilities(images):
        return in_batches(network.predict_on_batch, in_data_format(images), BATCH_SIZE)

    classes = probabilities(images).argmax(axis=-1)
    saliency = grad_cam(network, in_data_format(images), classes)
    return faithfulness(probabilities, images, saliency, classes, settings.seed)


def common_config(runs):
    """Reads the `config.json` of runs that are to be compared, and returns the first.

    Raises:
        UserError: a folder that is no run, or runs of different data sets.
    """
    configs = [read_config(run) for run in runs]
    names = list(dict.fromkeys(config["dataset"] for config in configs))
    if len(names) > 1:
        raise UserError(f"the runs must be of one data set; received {', '.join(names)}")
    return configs[0]


def explainable_network(run, dataset=None):
    """Loads the best network of a run, as `load_network` does, if Grad-CAM can explain it.

    Raises:
        UserError: it cannot be loaded or explained, or does not fit the data.
    """
    try:
        network = load_network(run, dataset)
        network.get_layer("logits")
    except ValueError as error:
        raise UserError(f"{run}/best.keras cannot be explained: {error}") from error
    return network


def _common_folder(runs):
    if len(runs) == 1:
        return runs[0]
    return Path(os.path.commonpath([run.resolve().parent for run in runs]))


def names_of(runs):
    """Returns what to call runs side by side: their folders' names, or where they differ.

    Args:
        runs: list of paths.
    """
    names = [run.resolve().name for run in runs]
    return short_names(names if len(set(names)) == len(names) else list(map(str, runs)))


def short_names(names):
    """Returns names without the parts between hyphens that all of them begin or end with.

    Args:
        names: list of strings. Where that leaves nothing of one, all stay as they are.
    """
    parts = [name.split("-") for name in names]
    first = _shared(parts)
    last = _shared([part[::-1] for part in parts])
    short = ["-".join(part[first : len(part) - last]) for part in parts]
    return short if all(short) and len(set(short)) == len(short) else names


def _shared(parts):
    """How many parts all begin with."""
    columns = zip(*parts, strict=False)
    return len(list(itertools.takewhile(lambda column: len(set(column)) == 1, columns)))


def _report(images, explanations, scores, dataset):
    names = dataset.class_names
    return {
        "images": [
            {"name": i.name, "label": None if i.label is None else names[i.label]} for i in images
        ],
        "networks": {
            e.name: {
                "predicted": [names[c] for c in e.predicted],
                "probability": [round(float(p), 4) for p in e.probabilities.max(axis=-1)],
                **({"faithfulness": _figures(scores[e.name])} if e.name in scores else {}),
            }
            for e in explanations
        },
    }


def _figures(score):
    found = {"images": len(score.deletion)}
    for kind in ("deletion", "insertion"):
        gain, error = score.gain(kind)
        found[kind] = {
            "area": float(area(getattr(score, kind)).mean()),
            "random_area": float(area(getattr(score, f"random_{kind}")).mean()),
            "gain": gain,
            "standard_error": error,
        }
    return found
