"""The evaluation of a trained network on the test set."""

import dataclasses
from collections.abc import Callable
from os import PathLike
from pathlib import Path

import keras
import numpy as np
from keras import ops

from models.precision import in_precision, precision_of
from models.saving import load_model

from ..data.dataset import Dataset
from ..feeding.sources import image_source
from ..plots.confusion_matrix import plot_confusion_matrix
from ..runs.predictions import Predictions, read_predictions, write_predictions
from ..runs.run_folder import load_run_dataset, read_config, read_summary
from ..system.backend_precision import precision_of_run
from ..system.errors import RunError, UserError
from ..system.files import write_json
from .confusion import write_confusion


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """The results of a network on the test set.

    Args:
        accuracy: float in [0, 1].
        loss: float, mean cross-entropy in nats.
        confusion: int array `(classes, classes)`, a row per true class, a column per predicted
            class.
        class_names: tuple of strings.
        predictions: a `Predictions` of all test images.
        precision: string, the dtype policy that the network computed in.
    """

    accuracy: float
    loss: float
    confusion: np.ndarray
    class_names: tuple[str, ...]
    predictions: Predictions
    precision: str

    @property
    def class_accuracies(self) -> dict[str, float | None]:
        """Dictionary from class names to accuracies; `None` for a class without test images."""
        totals = self.confusion.sum(axis=1)
        hits = np.diag(self.confusion)
        return {
            name: float(hit / total) if total else None
            for name, hit, total in zip(self.class_names, hits, totals, strict=True)
        }


def with_mirror_images(network: keras.Model) -> keras.Model:
    """Returns a network that averages a network's outputs for an image and for its mirror image.

    Args:
        network: Keras model of images in Keras's data format.

    Returns:
        A Keras model, with the weights of `network`.
    """
    images = keras.Input(network.input_shape[1:])
    width = 2 if keras.config.image_data_format() == "channels_last" else 3
    mirror_images = ops.flip(images, axis=width)
    return keras.Model(images, (network(images) + network(mirror_images)) / 2)


def evaluate(network: keras.Model, dataset: Dataset, flip: bool = False) -> Evaluation:
    """Evaluates a network on a test set.

    Args:
        network: Keras model from raw pixels to class probabilities.
        dataset: a `Dataset`.
        flip: bool, whether the probabilities are means over each image and its mirror image.
            Defaults to `False`.

    Returns:
        An `Evaluation`.
    """
    evaluated = with_mirror_images(network) if flip else network
    probabilities = np.asarray(image_source(dataset).predict(evaluated), "float64")
    predicted = probabilities.argmax(axis=-1)
    of_true_class = probabilities[np.arange(len(predicted)), dataset.y_test]
    predictions = Predictions(probabilities.astype("float32"), dataset.y_test.astype("int64"))
    return Evaluation(
        accuracy=float(np.mean(predicted == dataset.y_test)),
        loss=float(np.mean(-np.log(np.maximum(of_true_class, 1e-7)))),
        confusion=predictions.confusion,
        class_names=dataset.class_names,
        predictions=predictions,
        precision=precision_of(network),
    )


def evaluate_run(
    run: str | PathLike[str],
    data_dir: str | PathLike[str] | None = None,
    precision: str = "auto",
    flip: bool = False,
    announce: Callable[[str], object] = print,
) -> Evaluation:
    """Evaluates the best network of a run, and writes the results into the run's folder.

    Writes `evaluation.json`, `confusion_matrix.csv` and `confusion_matrix.png`. It writes
    `predictions.npz`, which a comparison reads, only as the training wrote it: of the run's own
    data, in its precision, without mirror images. It leaves that of the training alone otherwise,
    unless that is missing, damaged, or of other labels than the run's own data have now.

    Args:
        run: path of the run's folder.
        data_dir: path of the folder with the data. Defaults to the run's own.
        precision: string, the dtype policy to compute in, or `"auto"`, that of the training where
            this device has units for it. Defaults to `"auto"`.
        flip: bool, whether the probabilities are means over each image and its mirror image.
            Defaults to `False`.
        announce: function that takes a line of text. Defaults to `print`.

    Returns:
        An `Evaluation`.

    Raises:
        UserError: the folder is not that of a run, its data set cannot be loaded or has other
            classes, a mirror image has another class there, or its network cannot be loaded, does
            not fit the data or has outputs that are not finite.
        RunError: a test image cannot be read.
    """
    run = Path(run)
    config = read_config(run)
    dataset = load_run_dataset(run, config, data_dir)
    if flip and not dataset.flips:
        raise UserError(
            f"--flip: a mirror image of {dataset.name} does not belong to the same class; "
            "evaluate without --flip"
        )
    trained_in = config.get("precision", "float32")
    precision = precision_of_run(precision, trained_in)
    result = _evaluate_best(run, dataset, precision, flip)
    _check_finite(run, result)
    own_data = data_dir is None or _is_same_place(data_dir, config.get("data_dir"))
    if own_data and _has_changed(run, dataset):
        announce(
            f"the images are not those of the training any more: {run} may have been trained on "
            "some that are test images now; name a folder of new images with --data-dir"
        )
    as_trained = own_data and precision == trained_in
    if not flip and (as_trained or not _has_predictions(run, dataset if own_data else None)):
        write_predictions(run, result.predictions)
    _write_results(run, result, flip)
    return result


def _evaluate_best(run: Path, dataset: Dataset, precision: str, flip: bool) -> Evaluation:
    try:
        network = load_model(run / "best.keras")
        classes = network.output_shape[-1]
        if classes != dataset.classes:
            raise ValueError(f"it has {classes} classes, {dataset.name} has {dataset.classes}")
        return evaluate(in_precision(network, precision), dataset, flip)
    except (UserError, RunError):  # of the images
        raise
    except Exception as error:  # the file can hold any network, which can raise any error
        raise UserError(f"{run}/best.keras cannot be evaluated: {error}") from error


def _check_finite(run: Path, result: Evaluation) -> None:
    """Refuses probabilities that no file of results can hold, before any is written."""
    if np.isfinite(result.predictions.probabilities).all():
        return
    advice = "train again" if result.precision == "float32" else "evaluate with --precision float32"
    raise UserError(
        f"the outputs of {run}/best.keras are not finite in {result.precision}; {advice}"
    )


def _has_changed(run: Path, dataset: Dataset) -> bool:
    recorded = read_summary(run).get("data")
    return recorded not in (None, dataset.fingerprint())


def _is_same_place(data_dir: str | PathLike[str], other: str | None) -> bool:
    return other is not None and Path(data_dir).resolve() == Path(other).resolve()


def _has_predictions(run: Path, dataset: Dataset | None) -> bool:
    """Whether a run has predictions that can be read and, with a data set, are of its images."""
    try:
        found = read_predictions(run)
    except UserError:
        return False
    return dataset is None or found.are_of(dataset)


def _write_results(run: Path, result: Evaluation, flip: bool) -> None:
    write_json(
        run / "evaluation.json",
        {
            "test_accuracy": result.accuracy,
            "test_loss": result.loss,
            "class_accuracy": result.class_accuracies,
            "precision": result.precision,
            "flip": flip,
        },
    )
    write_confusion(run / "confusion_matrix.csv", result.confusion, result.class_names)
    views = ", with mirror images" if flip else ""
    title = f"{run.name}: test accuracy {result.accuracy:.2%}{views}"
    plot_confusion_matrix(run / "confusion_matrix.png", result.confusion, result.class_names, title)
