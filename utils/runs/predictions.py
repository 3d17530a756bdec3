"""What a network said of every test image, kept so that statistics need no training again."""

import dataclasses
import zipfile
from pathlib import Path

import numpy as np

from ..system.errors import UserError
from ..system.files import replacing

FILE = "predictions.npz"


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
    def hits(self):
        """Boolean array `(n,)`: which images were told right."""
        return self.probabilities.argmax(axis=-1) == self.labels

    @property
    def confusion(self):
        """Int array `(classes, classes)`: rows the true class, columns the predicted one."""
        from sklearn.metrics import confusion_matrix

        classes = np.arange(self.probabilities.shape[1])
        return confusion_matrix(self.labels, self.probabilities.argmax(axis=-1), labels=classes)


def in_batches(predict, images, batch_size):
    """Predicts images that are in memory.

    Keras's `predict` would do, but for what it costs on TensorFlow; see `backend_batches`.

    Args:
        predict: function from a batch to an array `(batch, ...)`, such as a network's
            `predict_on_batch`.
        images: array `(n, ...)`, `n` at least 1.
        batch_size: int.

    Returns:
        An array `(n, ...)`.
    """
    starts = range(0, len(images), batch_size)
    return np.concatenate([predict(images[start : start + batch_size]) for start in starts])


def write_predictions(run, predictions):
    """Writes `predictions.npz` into a run's folder; the same predictions give the same bytes."""
    with replacing(Path(run) / FILE) as temporary:
        np.savez(temporary, probabilities=predictions.probabilities, labels=predictions.labels)


def read_predictions(run):
    """Reads the `predictions.npz` of a run's folder, which may hold anything.

    Returns:
        A `Predictions`.

    Raises:
        UserError: there is no such file, or it does not hold predictions.
    """
    path = Path(run) / FILE
    if not path.is_file():
        raise UserError(f"{path} is not there; 'python main.py evaluate {run}' writes it")
    try:
        with zipfile.ZipFile(path) as archive:
            if any(member.compress_type != zipfile.ZIP_STORED for member in archive.infolist()):
                raise ValueError("it is compressed")  # perhaps to fill the memory
        with np.load(path, allow_pickle=False) as archive:
            found = Predictions(archive["probabilities"], archive["labels"])
        _check(found)
    except Exception as error:  # a damaged file can fail in any way
        raise UserError(
            f"{path} is damaged ({error or type(error).__name__}); "
            f"'python main.py evaluate {run}' writes it anew"
        ) from error
    return found


def _check(found):
    probabilities, labels = found.probabilities, found.labels
    if probabilities.dtype != "float32" or probabilities.ndim != 2 or not probabilities.size:
        raise ValueError(f"probabilities are {probabilities.dtype} {probabilities.shape}")
    if labels.dtype != "int64" or labels.shape != probabilities.shape[:1]:
        raise ValueError(f"labels are {labels.dtype} {labels.shape}")
    if not np.isfinite(probabilities).all():
        raise ValueError("a probability is not finite")
    if labels.min() < 0 or labels.max() >= probabilities.shape[1]:
        raise ValueError("a label is of no class")
