"""The files that an evaluation writes."""

import csv

import numpy as np
import pytest

from utils.evaluation.evaluate import Evaluation, _write_confusion
from utils.runs.predictions import Predictions

pytestmark = pytest.mark.once


def test_no_name_of_a_class_breaks_the_table(tmp_path):
    """Commas and quotes stay in their cells, and spreadsheets compute no name."""
    names = ('a "b", c', "=HYPERLINK(A1)", "@sum", "-1", "+1", "café")
    predictions = Predictions(np.eye(6, dtype="float32"), np.arange(6))
    confusion = np.arange(36).reshape(6, 6)
    _write_confusion(
        tmp_path / "x.csv", Evaluation(1.0, 0.0, confusion, names, predictions, "float32")
    )
    with open(tmp_path / "x.csv", newline="", encoding="utf-8") as file:
        header, *rows = csv.reader(file)
    assert header == ['a "b", c', "'=HYPERLINK(A1)", "'@sum", "'-1", "'+1", "café"]
    np.testing.assert_array_equal(np.array(rows, int), confusion)
