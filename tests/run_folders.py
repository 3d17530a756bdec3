"""Folders of runs: without a training, what they hold, and checksums of what was changed."""

import csv
import hashlib
import json
from pathlib import Path

import keras

from models.saving import save_model
from utils.config.settings import TrainSettings
from utils.data.pixel_statistics import pixel_statistics
from utils.runs.checkpoint import newest_checkpoint
from utils.system.files import write_json
from utils.training.setup import build_network


def write_run(folder, dataset, data_dir=None, **options):
    """A run's folder as `explain` and `demo` need it, with a network that was not trained."""
    settings = TrainSettings(
        **{"dataset": dataset.name, "data_dir": data_dir, "depth": 8, **options}
    )
    folder.mkdir(parents=True)
    write_json(folder / "config.json", settings.config())
    keras.utils.set_random_seed(0)  # a fixture of a module comes before that of a test
    network = build_network(settings, dataset, *pixel_statistics(dataset.x_train))
    save_model(network, folder / "best.keras")
    return folder


def write_checksums(checkpoint):
    """Makes the checksums of a checkpoint right again, as who tampers with a file could."""
    files = [file for file in sorted(checkpoint.iterdir()) if file.name != "SHA256SUMS"]
    sums = [f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.name}\n" for file in files]
    (checkpoint / "SHA256SUMS").write_text("".join(sums))


def variables(run):
    """What a run ended with, bit for bit."""
    values = newest_checkpoint(run / "last").variables
    return {name: value.tobytes() for name, value in values.items()}


OF_THE_MOMENT = ("seconds", "images_per_second", "date", "command")


def contents(run):
    """Everything in a run's folder but times and pictures, by file."""
    found = {str(path.relative_to(run)): path.read_bytes() for path in run.rglob("*")
             if path.is_file()}  # fmt: skip
    with open(run / "metrics.csv", newline="") as file:
        found["metrics.csv"] = [without_times(row) for row in csv.DictReader(file)]
    found["summary.json"] = without_times(json.loads(found["summary.json"]))
    for name in [name for name in found if name.endswith("state.json")]:
        state = json.loads(found[name])
        state["progress"] = without_times(state["progress"])
        state["progress"]["history"] = list(map(without_times, state["progress"]["history"]))
        found[name] = state
    return {name: content for name, content in found.items()
            if Path(name).name not in ("SHA256SUMS", "curves.png")}  # fmt: skip


def without_times(row):
    return {k: v for k, v in row.items() if k not in OF_THE_MOMENT}
