"""The folder of a run: made once, filled epoch by epoch, every file whole at any instant."""

import csv
import dataclasses
import time
from pathlib import Path

import keras
from tqdm import tqdm

from .errors import UserError
from .files import replacing, write_json
from .plotting import plot_curves

COLUMNS = ("loss", "accuracy", "val_loss", "val_accuracy", "learning_rate", "seconds",
           "images_per_second")  # fmt: skip


def default_run_dir(settings, dataset_name):
    """Returns the folder that a run goes to when none is named, below `runs/`."""
    options = settings.architecture_options()
    depth = [str(options.pop("depth"))] if "depth" in options else []
    others = [f"{name}{value}" for name, value in options.items()]
    network = [settings.model, *depth, *others, settings.attention]
    parts = [dataset_name, *network, f"seed{settings.seed}"]
    return Path("runs") / "-".join(parts)


def check_run_dir(path):
    """Refuses a folder that a run could not have to itself.

    Raises:
        UserError: it holds a run or anything else, or is no folder.
    """
    path = Path(path)
    if (path / "config.json").exists():
        raise UserError(
            f"{path} already holds a run; name another folder with --run-dir, or remove this one"
        )
    if path.exists() and not path.is_dir():
        raise UserError(f"{path} is no folder; name another with --run-dir")
    if path.is_dir() and any(path.iterdir()):
        raise UserError(f"{path} is not empty; name another folder with --run-dir")


def create_run_dir(path, settings):
    """Makes the folder of a run and writes its `config.json`.

    Args:
        path: path of the folder.
        settings: `TrainSettings` with every default filled in.
    """
    check_run_dir(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{path} cannot be made: {error.strerror}") from None
    config = dataclasses.asdict(settings)
    del config["run_dir"]  # with it, `--config` could only ever run into the same folder
    write_json(path / "config.json", config)


class RunRecorder(keras.callbacks.Callback):
    """Writes `metrics.csv`, `curves.png` and `best.keras` after every epoch, and says how it goes.

    Args:
        path: path of the run's folder.
        network: Keras model to save, from raw pixels to probabilities.
        images_per_epoch: int, training images in an epoch.
    """

    def __init__(self, path, network, images_per_epoch):
        super().__init__()
        self.path = path
        self.network = network
        self.images_per_epoch = images_per_epoch
        self.history = []
        self.best = None

    def on_train_begin(self, logs=None):
        epochs, steps = self.params["epochs"], self.params["steps"]
        # no bar in a log file; the line per epoch is there all the same
        self.bar = tqdm(total=epochs * steps, unit="step", leave=False, disable=None)

    def on_train_end(self, logs=None):
        self.bar.close()

    def on_epoch_begin(self, epoch, logs=None):
        self.bar.set_description(f"epoch {epoch + 1}/{self.params['epochs']}")
        self.started = time.perf_counter()
        self.trained = None

    def on_train_batch_end(self, batch, logs=None):
        done = len(self.history) * self.params["steps"] + batch + 1
        self.bar.update(done - self.bar.n)

    def on_test_begin(self, logs=None):
        self.trained = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        now = time.perf_counter()
        training_seconds = (self.trained or now) - self.started
        row = {
            "epoch": epoch + 1,
            **{name: float(value) for name, value in logs.items()},
            "learning_rate": float(self.model.optimizer.learning_rate),
            "seconds": now - self.started,
            "images_per_second": self.images_per_epoch / training_seconds,
        }
        self.history.append(row)
        self.bar.write(_line(row, self.params["epochs"]))
        self._write_metrics()
        plot_curves(self.path / "curves.png", self.history, self.path.name)
        self._keep_best(row)

    def _write_metrics(self):
        columns = ["epoch", *(name for name in COLUMNS if name in self.history[0])]
        with replacing(self.path / "metrics.csv") as path, open(path, "w", newline="") as file:
            writer = csv.DictWriter(file, columns, extrasaction="ignore")
            writer.writeheader()
            writer.writerows(self.history)

    def _keep_best(self, row):
        """Saves the network if it is the best on the validation split, or if there is none."""
        selecting = self.best is not None and "val_accuracy" in row
        if selecting and row["val_accuracy"] <= self.best["val_accuracy"]:
            return
        self.best = row
        with replacing(self.path / "best.keras") as temporary:
            self.network.save(temporary)


def _line(row, epochs):
    parts = [f"epoch {row['epoch']}/{epochs}", f"loss {row['loss']:.4f}"]
    parts.append(f"accuracy {row['accuracy']:.4f}")
    if "val_loss" in row:
        parts.append(f"val_loss {row['val_loss']:.4f} val_accuracy {row['val_accuracy']:.4f}")
    parts.append(f"learning_rate {row['learning_rate']:.5f}")
    parts.append(f"{row['seconds']:.1f} s")
    return "  ".join(parts)
