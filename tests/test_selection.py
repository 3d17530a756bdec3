"""Which epoch's network a run keeps: the best on images that it was not trained on."""

import json

import pytest

from main import main
from utils.config.settings import TrainSettings
from utils.data.datasets import load_dataset
from utils.training import callbacks
from utils.training.setup import make_setup
from utils.training.train import with_defaults

pytestmark = pytest.mark.once

SMALL = ["--depth", "8", "--attention", "none", "--epochs", "4", "--batch-size", "90",
         "--learning-rate", "0.05"]  # fmt: skip


def test_the_network_of_the_best_validation_accuracy_is_kept(cifar10_dir, tmp_path, monkeypatch):
    """Not that of the best training accuracy, of the least loss or of the last epoch."""
    run, kept, original = tmp_path / "run", [], callbacks.CountSteps.on_epoch_end

    def on_epoch_end(self, epoch, logs=None):
        kept.append((run / "best.keras").read_bytes() if epoch else None)  # of the epochs before
        losses = {"loss": 4.0 - epoch, "val_loss": 4.0 - epoch}
        logs.update(losses, accuracy=0.2 * epoch, val_accuracy=[0.3, 0.6, 0.6, 0.5][epoch])
        original(self, epoch, logs)

    monkeypatch.setattr(callbacks.CountSteps, "on_epoch_end", on_epoch_end)
    main([*SMALL, "--data-dir", str(cifar10_dir), "--run-dir", str(run)])
    summary = json.loads((run / "summary.json").read_text())
    assert (summary["best_epoch"], summary["best_val_accuracy"]) == (2, 0.6)
    first, second, third = kept[1:]
    assert first != second
    assert second == third == (run / "best.keras").read_bytes()


def test_no_image_is_both_trained_on_and_validated_on():
    data = load_dataset("digits")
    options = {"dataset": "digits", "depth": 8, "attention": "none", "validation_split": 0.2}
    setup = make_setup(with_defaults(TrainSettings(**options), data), data)
    trained = set()
    for epoch in range(3):
        setup.batches.epoch = epoch
        for number in range(len(setup.batches)):
            trained |= set(setup.batches[number][0]["index"].tolist())
    batches = [setup.validation[number] for number in range(len(setup.validation))]
    validated = [index for images, _ in batches for index in images["index"].tolist()]
    assert len(set(validated)) == len(validated) == pytest.approx(0.2 * len(data.y_train), abs=1)
    assert len(trained) > 0.7 * len(data.y_train)
    assert not trained & set(validated)
    labels = [label for _, labels in batches for label in labels.tolist()]
    assert labels == data.y_train[validated].tolist()
