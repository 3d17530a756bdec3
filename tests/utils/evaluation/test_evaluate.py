"""The files that an evaluation writes, and when it writes the predictions of a run."""

import csv

import keras
import numpy as np
import pytest

from models.saving import load_model, save_model
from tests.commands import refused
from tests.run_folders import write_run
from utils.data.dataset import Dataset
from utils.evaluation import evaluate as module
from utils.evaluation.confusion import confused_pairs, confusion_text, write_confusion
from utils.evaluation.evaluate import evaluate_run, with_mirror_images
from utils.runs.predictions import Predictions, read_predictions, write_predictions
from utils.system.errors import RunError, UserError
from utils.system.files import write_json

pytestmark = pytest.mark.once

LABELS = np.arange(6) % 3


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


def test_pairs_that_are_confused_most_often():
    """In order, of equal ones that of the first classes first, and none that never happens."""
    confusion = np.array([[9, 2, 0], [4, 9, 2], [0, 0, 9]])
    assert confused_pairs(confusion, 3) == [(1, 0, 4), (0, 1, 2), (1, 2, 2)]
    assert confused_pairs(confusion, 9) == confused_pairs(confusion, 3)
    assert confused_pairs(confusion, 1) == [(1, 0, 4)]
    assert confusion[0, 0] == 9  # left as it was


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


@pytest.fixture
def run(tmp_path, rng, monkeypatch):
    """A run that says that it was trained in bfloat16; the tests evaluate it in float32."""
    images = rng.integers(0, 256, (6, 8, 8, 3)).astype("uint8")
    data = Dataset("cifar10", images, LABELS, images, LABELS, ("a", "b", "c"), 0, flips=True)
    monkeypatch.setattr(module, "load_run_dataset", lambda run, config, data_dir: data)
    options = {"attention": "none", "precision": "mixed_bfloat16", "data_dir": str(tmp_path)}
    return write_run(tmp_path / "run", data, **options)


def as_of(labels):
    return Predictions(np.full((len(labels), 3), 1 / 3, "float32"), labels)


def is_written_again(run, *arguments, **options):
    before = (run / "predictions.npz").read_bytes()
    evaluate_run(run, *arguments, precision="float32", **options)
    return (run / "predictions.npz").read_bytes() != before


def test_predictions_that_nobody_can_use_are_written_again(run):
    """Those of mirror images never, as they are not what the run predicts."""
    for content in (b"damaged", b""):
        (run / "predictions.npz").write_bytes(content)
        assert not is_written_again(run, flip=True)
        assert is_written_again(run, str(run.parent / "other"))
        np.testing.assert_array_equal(read_predictions(run).labels, LABELS)


def test_predictions_of_other_labels_are_written_again_for_the_runs_own_data(run):
    for data_dir, again in ((run.parent / "other", False), (None, True), (run.parent, True)):
        write_predictions(run, as_of(LABELS[::-1]))
        assert not is_written_again(run, data_dir, flip=True)
        assert is_written_again(run, data_dir) == again


def test_predictions_of_the_training_stay(run):
    write_predictions(run, as_of(LABELS))
    assert not is_written_again(run)
    assert not is_written_again(run, run.parent / "other")


@pytest.mark.parametrize("error", [RunError, UserError])
def test_images_that_cannot_be_read_are_not_blamed_on_the_network(error, run, monkeypatch):
    def fail(*arguments):
        raise error("x.png is no image that can be read")

    monkeypatch.setattr(module, "evaluate", fail)
    with pytest.raises(error, match=r"^x\.png is no image"):
        evaluate_run(run)
    assert not (run / "evaluation.json").exists()


@pytest.mark.parametrize(
    ("precision", "advice"),
    [("float32", "train again"), ("mixed_bfloat16", "evaluate with --precision float32")],
)
def test_outputs_that_are_not_finite_leave_the_run_as_it_was(precision, advice, run, capsys):
    network = load_model(run / "best.keras")
    network.get_layer("logits").bias.assign([0, np.nan, 0])
    save_model(network, run / "best.keras")
    write_predictions(run, as_of(LABELS))
    before = contents(run)
    said = refused(capsys, "evaluate", run, "--precision", precision)
    assert f"best.keras are not finite in {precision}; {advice}\n" in said
    assert contents(run) == before


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_images_that_are_not_those_of_the_training_are_named(run, capsys):
    """Some that are test images now may have been trained on; a folder that is named is new."""
    data = module.load_run_dataset(run, {}, None)
    for recorded, said in ((data.fingerprint(), False), ("another", True), (None, False)):
        write_json(run / "summary.json", {"data": recorded})
        for folder in (None, run.parent, run.parent / "other"):
            evaluate_run(run, folder, "float32")
            named = "are not those of the training any more" in capsys.readouterr().out
            assert named == (said and folder != run.parent / "other")
