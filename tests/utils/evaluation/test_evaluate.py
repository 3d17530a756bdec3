"""The files that an evaluation writes."""

import csv

import keras
import numpy as np
import pytest

from utils.evaluation.confusion import confusion_text, write_confusion
from utils.evaluation.evaluate import with_mirror_images

pytestmark = pytest.mark.once


def test_no_name_of_a_class_breaks_the_table(tmp_path):
    """Commas and quotes stay in their cells, and spreadsheets compute no name."""
    names = ('a "b", c', "=HYPERLINK(A1)", "@sum", "-1", "+1", "café")
    confusion = np.arange(36).reshape(6, 6)
    write_confusion(tmp_path / "x.csv", confusion, names)
    with open(tmp_path / "x.csv", newline="", encoding="utf-8") as file:
        header, *rows = csv.reader(file)
    assert header == ['a "b", c', "'=HYPERLINK(A1)", "'@sum", "'-1", "'+1", "café"]
    np.testing.assert_array_equal(np.array(rows, int), confusion)


def test_as_text_every_class_has_a_row_and_many_their_worst():
    few = confusion_text(np.diag([3, 12]), ("cat", "a long name of a class"))
    assert [line.split() for line in few.splitlines()[1:]] == [
        ["0", "1"], ["0", "cat", "3", "0"], ["1", "a", "long", "name", "0", "12"]
    ]  # fmt: skip
    many = np.eye(30, dtype=int)
    many[4, 7], many[9, 2] = 2, 5
    names = [f"c{number}" for number in range(30)]
    assert confusion_text(many, names).splitlines()[1:] == ["     5  c9 as c2", "     2  c4 as c7"]
    assert confusion_text(np.eye(30, dtype=int), names) == "none is confused"


@pytest.mark.parametrize(
    ("data_format", "shape", "width"),
    [("channels_last", (2, 5, 4, 3), 2), ("channels_first", (2, 3, 5, 4), 3)],
)
def test_mirror_images_are_left_for_right(data_format, shape, width, rng):
    keras.config.set_image_data_format(data_format)
    network = keras.Sequential([keras.Input(shape[1:]), keras.layers.Flatten(),
                                keras.layers.Dense(4, activation="softmax")])  # fmt: skip
    x = rng.normal(size=shape).astype("float32")
    expected = (network.predict_on_batch(x) + network.predict_on_batch(np.flip(x, width))) / 2
    np.testing.assert_allclose(with_mirror_images(network).predict_on_batch(x), expected, rtol=1e-5)
