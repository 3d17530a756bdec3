"""A run and a `.keras` file of an earlier version still evaluate, explain, export, resume and load.

`old_run/run` was made by version 0.1.0 as it was before `utils` became packages, on TensorFlow:
`main.py train --dataset digits --depth 8 --attention cbam_block --ratio 4 --epochs 3 --batch-size
64 --checkpoint-every 5`, stopped in the middle of epoch 2. `old_run/identity_start.keras` is a
small network with `add_attention`, its weights moved away from their start. All numbers below are
what that version gave.
"""

import csv
import json
import shutil
from pathlib import Path

import keras
import numpy as np
import pytest

from main import main
from models import load_model

OLD = Path(__file__).parent / "old_run"

pytestmark = pytest.mark.once


@pytest.fixture
def run(tmp_path):
    return shutil.copytree(OLD / "run", tmp_path / "run")


@pytest.mark.once
def test_evaluates(run):
    main(["evaluate", str(run)])
    found = json.loads((run / "evaluation.json").read_text())
    assert found["test_accuracy"] == pytest.approx(0.4194444, abs=1.01 / 360)  # one image
    assert found["test_loss"] == pytest.approx(2.0389, abs=1e-3)
    assert list(found["class_accuracy"]) == list("0123456789")


@pytest.mark.once
def test_explains(run):
    main(["explain", str(run), "--images", "0", "--faithfulness", "2"])
    report = json.loads((run / "explanation.json").read_text())
    assert [image["name"] for image in report["images"]] == ["test 0"]
    assert 0.1 < report["networks"]["run"]["probability"][0] < 1
    for name in ("explanation.png", "faithfulness.png"):
        assert (run / name).stat().st_size > 10_000


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="others cannot export to it")
def test_exports(run):
    main(["export", str(run), "--format", "savedmodel", "--rounds", "0"])
    assert (run / "best.savedmodel" / "saved_model.pb").is_file()
    assert json.loads((run / "best.savedmodel.json").read_text())["difference"] <= 1e-4


@pytest.mark.once
def test_resumes_to_its_end(run):
    """Order, augmentation, optimizer and schedule go on as the earlier version had them.

    With another backend or number of threads, the losses were within 2e-5 of those below. Each of
    these moved one of them by more than 2e-3: crops from another column of the draws, no crops, the
    order of another epoch, a penalty on the biases too, and velocities that start at zero again.
    """
    main(["train", "--resume", str(run), "--force", "--backend", keras.backend.backend()])
    with open(run / "metrics.csv", newline="") as file:
        first, second, third = (
            {name: float(value) for name, value in row.items()} for row in csv.DictReader(file)
        )
    assert first["loss"] == 2.0284111499786377  # as it was written
    assert second["loss"] == pytest.approx(0.7552905, abs=5e-4)
    assert second["val_loss"] == pytest.approx(0.5714127, abs=5e-4)
    assert third["loss"] == pytest.approx(0.3128084, abs=5e-4)
    assert third["val_loss"] == pytest.approx(0.2198326, abs=5e-4)
    # up to one image, whose two best classes may change places
    assert second["accuracy"] == pytest.approx(0.7617188, abs=1.01 / 1280)
    assert second["val_accuracy"] == pytest.approx(0.8263889, abs=1.01 / 144)
    assert third["val_accuracy"] == pytest.approx(0.9305556, abs=1.01 / 144)
    # of the last of 60 steps, half a step before the end of the fall; that version wrote the next's
    assert third["learning_rate"] == pytest.approx(0.2 * 0.5 / 60 / 0.8, rel=1e-5)
    summary = json.loads((run / "summary.json").read_text())
    assert (summary["best_epoch"], summary["epochs"], summary["seed"]) == (3, 3, 0)
    assert summary["test_accuracy"] == pytest.approx(0.9472222, abs=1.01 / 360)


def test_attention_that_was_added_computes_the_same():
    """What the attention has learned since its start is 7e-4 of these probabilities, or more."""
    model = load_model(OLD / "identity_start.keras")
    images = np.load(OLD / "identity_start_images.npy")
    expected = [
        [0.30813559889793396, 0.5477845072746277, 0.14407984912395477],
        [0.3012145757675171, 0.5436907410621643, 0.15509463846683502],
    ]
    np.testing.assert_allclose(model.predict(images, verbose=0), expected, atol=1e-6)
