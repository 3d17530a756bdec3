"""A network's predictions for every test image, saved so that statistics need no new run."""

import dataclasses
import zipfile
from collections.abc import Callable
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from ..data.dataset import Dataset, Images
from ..system.errors import UserError
from ..system.files import replacing
from ..system.terminal import shell_word

PREDICTIONS = "predictions.npz"


@dataclasses.dataclass(frozen=True)
class Predictions:
    """A network's probabilities for the images of a test set, in the set's order.

    Args:
        probabilities: float32 array `(n, classes)`.
        labels: int64 array `(n,)`, the true classes.
    """

    probabilities: np.ndarray
    labels: np.ndarray

    @property
    def correct(self) -> np.ndarray:
        """Boolean array `(n,)`: which images are classified correctly."""
        return self.probabilities.argmax(axis=-1) == self.labels

    @property
    def confusion(self) -> np.ndarray:
        """Int array `(classes, classes)`: a row per true class, a column per predicted class."""
        from sklearn.metrics import confusion_matrix

        classes = np.arange(self.probabilities.shape[1])
        return confusion_matrix(self.labels, self.probabilities.argmax(axis=-1), labels=classes)

    def are_of(self, dataset: Dataset) -> bool:
        """Whether they are of a data set's test images, as far as classes and labels tell.

        Args:
            dataset: a `Dataset`.
        """
        same_classes = self.probabilities.shape[1] == dataset.classes
        return same_classes and np.array_equal(self.labels, dataset.y_test)


def in_batches(predict: Callable[[Any], np.ndarray], images: Images, batch_size: int) -> np.ndarray:
    """Predicts images that are in memory, batch by batch.

    Unlike Keras's `predict` it does not go through `tf.data` on TensorFlow, which can wait for
    seconds at the end of a data set; see `utils.system.backend_batches`.

    Args:
        predict: function from a batch to an array `(batch, ...)`, such as a network's
            `predict_on_batch`.
        images: array `(n, ...)`, `n` at least 1.
        batch_size: int, images per batch.

    Returns:
        An array `(n, ...)`.
    """
    starts = range(0, len(images), batch_size)
    return np.concatenate([predict(images[start : start + batch_size]) for start in starts])


def write_predictions(run: str | PathLike[str], predictions: Predictions) -> None:
    """Writes `predictions.npz` into a run's folder; the same predictions give the same bytes.

    Args:
        run: path of the run's folder.
        predictions: a `Predictions`.
    """
    with replacing(Path(run) / PREDICTIONS) as temporary:
        np.savez(temporary, probabilities=predictions.probabilities, labels=predictions.labels)


def read_predictions(run: str | PathLike[str]) -> Predictions:
    """Reads and checks the `predictions.npz` of a run's folder.

    Args:
        run: path of the run's folder.

    Returns:
        A `Predictions`.

    Raises:
        UserError: the file is missing, or does not hold predictions.
    """
    path = Path(run) / PREDICTIONS
    if not path.is_file():
        raise UserError(
            f"{path} does not exist; 'python main.py evaluate {shell_word(run)}' writes it"
        )
    try:
        with zipfile.ZipFile(path) as archive:
            if any(member.compress_type != zipfile.ZIP_STORED for member in archive.infolist()):
                # a small compressed file could expand until the memory is full
                raise ValueError("it is compressed")
        with np.load(path, allow_pickle=False) as archive:
            found = Predictions(archive["probabilities"], archive["labels"])
        _check(found)
    except Exception as error:  # a damaged file can fail in any way
        raise UserError(
            f"{path} is damaged ({error or type(error).__name__}); "
            f"'python main.py evaluate {shell_word(run)}' writes it again"
        ) from error
    return found


def _check(found: Predictions) -> None:
    probabilities, labels = found.probabilities, found.labels
    if probabilities.dtype != "float32" or probabilities.ndim != 2 or not probabilities.size:
        raise ValueError(f"probabilities are {probabilities.dtype} {probabilities.shape}")
    if labels.dtype != "int64" or labels.shape != probabilities.shape[:1]:
        raise ValueError(f"labels are {labels.dtype} {labels.shape}")
    if not np.isfinite(probabilities).all():
        raise ValueError("a probability is not finite")
    if labels.min() < 0 or labels.max() >= probabilities.shape[1]:
        raise ValueError(f"a label is not in 0 to {probabilities.shape[1] - 1}")
