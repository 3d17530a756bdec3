"""A comparison that nobody trained: folders with figures that can be counted on fingers."""

import csv

import numpy as np

from utils.compare.compare import record_jobs
from utils.compare.planning import Variant, plan_runs
from utils.config.settings import CompareSettings
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


# right answers among ten test images, as the places that are wrong, by variant and seed
WRONG = {
    "none": {0: [0, 1, 2], 1: [0, 1], 2: [0, 1, 2, 3]},
    "se_block": {0: [0, 1], 1: [0, 9], 2: [0, 1, 2]},
}


COSTS = {Variant("none"): (1000, 2_000_000), Variant("se_block"): (1100, 2_500_000)}


def settings_of(**options):
    return CompareSettings(**{"attention": "none,se_block", "depth": 8, "epochs": 2, **options})


def fake(run, wrong=(), speed=100.0):
    """Fills a run's folder as training does."""
    run.folder.mkdir(parents=True)
    write_json(run.folder / "config.json", run.settings.config())
    write_json(run.folder / "summary.json", {"images_per_second": speed})
    rows = ["epoch,loss,accuracy,val_loss,val_accuracy", "1,2.5,0.5,3.5,0.25", "2,1.5,0.75,2,0.5"]
    (run.folder / "metrics.csv").write_text("\n".join(rows))
    said = LABELS.copy()
    said[list(wrong)] = 1 - said[list(wrong)]
    write_predictions(run.folder, Predictions(np.eye(2, dtype="float32")[said], LABELS))


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
