"""The predictions of a run: written, read, checked."""

import numpy as np
import pytest

from utils.runs.predictions import Predictions, in_batches, read_predictions, write_predictions
from utils.system.errors import UserError

pytestmark = pytest.mark.once

PROBABILITIES = np.float32([[0.7, 0.3], [0.2, 0.8], [0.6, 0.4]])
LABELS = np.int64([0, 1, 1])


def test_reads_what_was_written(tmp_path):
    write_predictions(tmp_path, Predictions(PROBABILITIES, LABELS))
    found = read_predictions(tmp_path)
    np.testing.assert_array_equal(found.probabilities, PROBABILITIES)
    np.testing.assert_array_equal(found.labels, LABELS)
    assert found.correct.tolist() == [True, True, False]


def test_confusion_has_a_row_per_true_class_even_without_images():
    probabilities = np.eye(3, dtype="float32")[[0, 1, 1, 2]]
    confusion = Predictions(probabilities, np.int64([0, 0, 1, 1])).confusion
    assert confusion.tolist() == [[1, 1, 0], [0, 1, 1], [0, 0, 0]]


def test_missing_predictions_say_how_to_get_them(tmp_path):
    with pytest.raises(UserError, match=f"main.py evaluate {tmp_path}"):
        read_predictions(tmp_path)


@pytest.mark.parametrize(
    ("probabilities", "labels", "reason"),
    [
        (PROBABILITIES.astype("float64"), LABELS, "float64"),
        (PROBABILITIES[0], LABELS, r"\(2,\)"),
        (PROBABILITIES[:0], LABELS[:0], r"\(0, 2\)"),
        (PROBABILITIES, LABELS[:2], r"labels are int64 \(2,\)"),
        (PROBABILITIES, LABELS + 1, "a label is not in 0 to 1"),
        (PROBABILITIES * np.float32(np.nan), LABELS, "not finite"),
        (PROBABILITIES, LABELS.astype(object), "pickle"),
    ],
)
def test_damaged_predictions_are_refused(tmp_path, probabilities, labels, reason):
    np.savez(tmp_path / "predictions.npz", probabilities=probabilities, labels=labels)
    with pytest.raises(UserError, match=reason):
        read_predictions(tmp_path)


def test_other_files_and_compressed_ones_are_refused(tmp_path):
    (tmp_path / "predictions.npz").write_bytes(b"nonsense")
    with pytest.raises(UserError, match="damaged"):
        read_predictions(tmp_path)
    np.savez_compressed(tmp_path / "predictions.npz", probabilities=PROBABILITIES, labels=LABELS)
    with pytest.raises(UserError, match="compressed"):
        read_predictions(tmp_path)


@pytest.mark.parametrize(("size", "sizes"), [(2, [2, 2, 1]), (5, [5]), (9, [5])])
def test_all_images_in_batches(size, sizes):
    images, received = np.arange(15).reshape(5, 3), []

    def predict(batch):
        received.append(len(batch))
        return 2 * batch

    np.testing.assert_array_equal(in_batches(predict, images, size), 2 * images)
    assert received == sizes
