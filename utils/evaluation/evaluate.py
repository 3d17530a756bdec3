"""A trained network against the test set."""

import dataclasses
from pathlib import Path

import numpy as np

from models.saving import load_model

from ..config.settings import TrainSettings
from ..data.datasets import load_dataset
from ..feeding.sources import source_of
from ..plots.plotting import plot_confusion_matrix
from ..runs.predictions import Predictions, write_predictions
from ..system.errors import UserError
from ..system.files import read_json, replacing, write_json

DATA_SETTINGS = ("dataset", "data_dir", "image_size", "corrupt")


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """What a network makes of the test set.

    Args:
        accuracy: float in [0, 1].
        loss: float, mean cross-entropy in nats.
        confusion: int array `(classes, classes)`, rows the true class, columns the predicted one.
        class_names: tuple of strings.
        predictions: a `Predictions`, of every test image.
    """

    accuracy: float
    loss: float
    confusion: np.ndarray
    class_names: tuple
    predictions: Predictions

    @property
    def class_accuracies(self):
        """Dictionary from class name to accuracy; `None` for a class without test images."""
        totals = self.confusion.sum(axis=1)
        hits = np.diag(self.confusion)
        return {
            name: float(hit / total) if total else None
            for name, hit, total in zip(self.class_names, hits, totals, strict=True)
        }


def evaluate(network, dataset):
    """Evaluates a network on a test set.

    Args:
        network: Keras model from raw pixels to class probabilities.
        dataset: a `utils.data.datasets.Dataset`.

    Returns:
        An `Evaluation`.
    """
    probabilities = np.asarray(source_of(dataset).predict(network), "float64")
    predicted = probabilities.argmax(axis=-1)
    of_truth = probabilities[np.arange(len(predicted)), dataset.y_test]
    predictions = Predictions(probabilities.astype("float32"), dataset.y_test.astype("int64"))
    return Evaluation(
        accuracy=float(np.mean(predicted == dataset.y_test)),
        loss=float(np.mean(-np.log(np.maximum(of_truth, 1e-7)))),
        confusion=predictions.confusion,
        class_names=dataset.class_names,
        predictions=predictions,
    )


def evaluate_run(run, data_dir=None):
    """Evaluates the best network of a run and writes what was found into the run's folder.

    Writes `evaluation.json`, `predictions.npz`, `confusion_matrix.csv` and `confusion_matrix.png`.

    Args:
        run: path of a run folder.
        data_dir: path of the folder with the data; the run's own by default.

    Returns:
        An `Evaluation`.

    Raises:
        UserError: the folder is no run, its data set cannot be had, or its network does not fit.
    """
    run = Path(run)
    config = read_config(run)
    dataset = dataset_of(config, data_dir)
    try:
        network = load_model(run / "best.keras")
        classes = network.output_shape[-1]
        if classes != dataset.classes:
            raise ValueError(f"it has {classes} classes, {dataset.name} has {dataset.classes}")
        result = evaluate(network, dataset)
    except Exception as error:  # a file from anywhere can hold any network
        raise UserError(f"{run}/best.keras cannot be evaluated: {error}") from error
    write_json(
        run / "evaluation.json",
        {
            "test_accuracy": result.accuracy,
            "test_loss": result.loss,
            "class_accuracy": result.class_accuracies,
        },
    )
    write_predictions(run, result.predictions)
    with replacing(run / "confusion_matrix.csv") as temporary:
        header = ",".join(result.class_names)
        np.savetxt(temporary, result.confusion, "%d", ",", header=header, comments="")
    title = f"{run.name}: test accuracy {result.accuracy:.2%}"
    plot_confusion_matrix(run / "confusion_matrix.png", result.confusion, result.class_names, title)
    return result


def dataset_of(config, data_dir=None, announce=print):
    """Loads the data set of a run.

    Args:
        config: dictionary, what `read_config` returns.
        data_dir: path of the folder with the data; the run's own by default.
        announce: function that takes a line of text.

    Returns:
        A `Dataset`.

    Raises:
        UserError: it cannot be had.
    """
    return load_dataset(
        config["dataset"],
        data_dir or config.get("data_dir"),
        announce,
        config.get("image_size"),
        config.get("corrupt"),
    )


def read_config(run):
    """Reads the `config.json` of a run folder.

    Raises:
        UserError: the folder is no run, or the file says nothing usable about its data.
    """
    path = Path(run) / "config.json"
    if not path.is_file():
        raise UserError(f"{run} is no run folder: it has no config.json")
    config = read_json(path)
    if not isinstance(config, dict) or "dataset" not in config:
        raise UserError(f"{path} is not the configuration of a run")
    try:
        TrainSettings(**{name: config[name] for name in DATA_SETTINGS if name in config})
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    return config


def read_class_names(run, count):
    """Reads what a run calls its classes, for where its data set is not at hand.

    Args:
        run: path of a run folder.
        count: int, how many classes there are.

    Returns:
        A tuple of strings; numbers where the run has not ended, or says nothing usable.
    """
    path = Path(run) / "summary.json"
    summary = read_json(path) if path.is_file() else {}
    names = summary.get("class_names") if isinstance(summary, dict) else None
    if isinstance(names, list) and len(names) == len(set(map(str, names))) == count:
        return tuple(map(str, names))
    return tuple(f"class {n}" for n in range(count))
