"""A comparison without training: run folders with results that are easy to check by hand."""

import csv

import numpy as np

from models.attention.specification import AttentionSpec
from utils.compare.missing_runs import record_jobs
from utils.compare.planning import Variant, plan_runs
from utils.config.compare_settings import CompareSettings
from utils.data.dataset import Dataset
from utils.runs.predictions import Predictions, write_predictions
from utils.system.files import write_json

LABELS = np.arange(10) % 2

DATA = Dataset(
    name="cifar10",
    x_train=np.zeros((0, 32, 32, 3), "uint8"),
    y_train=np.zeros(0, "int64"),
    x_test=np.zeros((10, 32, 32, 3), "uint8"),
    y_test=LABELS,
    class_names=("a", "b"),
    crop_padding=4,
    flips=True,
)

# by variant and seed, the indices of the test images, of ten, that the run gets wrong
WRONG = {
    "none": {0: [0, 1, 2], 1: [0, 1], 2: [0, 1, 2, 3]},
    "se_block": {0: [0, 1], 1: [0, 9], 2: [0, 1, 2]},
}


COSTS = {
    Variant(AttentionSpec()): (1000, 2_000_000),
    Variant(AttentionSpec("se_block")): (1100, 2_500_000),
}


def settings_of(**options):
    return CompareSettings(**{"attention": "none,se_block", "depth": 8, "epochs": 2, **options})


def fake(run, wrong=(), speed=100.0):
    """Writes the folder of a finished run."""
    run.folder.mkdir(parents=True)
    write_json(run.folder / "config.json", run.settings.config())
    write_json(run.folder / "summary.json", {"images_per_second": speed})
    rows = ["epoch,loss,accuracy,val_loss,val_accuracy", "1,2.5,0.5,3.5,0.25", "2,1.5,0.75,2,0.5"]
    (run.folder / "metrics.csv").write_text("\n".join(rows))
    predicted = LABELS.copy()
    predicted[list(wrong)] = 1 - predicted[list(wrong)]
    write_predictions(run.folder, Predictions(np.eye(2, dtype="float32")[predicted], LABELS))


def fake_comparison(folder, **options):
    runs = plan_runs(settings_of(**options), DATA, folder)
    for run in runs:
        seed = run.settings.seed
        fake(run, WRONG[run.variant.name][seed], 100 if run.variant.name == "none" else 80 + seed)
        record_jobs(folder, run, 1)
    return runs


def table(folder):
    with open(folder / "comparison.csv", newline="") as file:
        return {row["variant"]: row for row in csv.DictReader(file)}
