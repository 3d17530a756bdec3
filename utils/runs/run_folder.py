"""The folder of a run: made once, filled epoch by epoch, every file whole at any instant."""

import contextlib
import csv
import math
import time
from pathlib import Path

import filelock
import keras
from tqdm import tqdm

from models.saving import save_model

from ..plots.plotting import plot_curves
from ..system.errors import UserError
from ..system.files import replacing, write_json

LOCK = "lock"
COLUMNS = ("loss", "accuracy", "val_loss", "val_accuracy", "learning_rate", "seconds",
           "images_per_second")  # fmt: skip


def default_run_dir(settings, dataset_name):
    """Returns the folder that a run goes to when none is named, below `runs/`."""
    parts = [dataset_name, network_name(settings), settings.attention, f"seed{settings.seed}"]
    return Path("runs") / "-".join(parts)


def network_name(settings):
    """Returns what `ArchitectureSettings` say, such as `resnet_v1-20`, for the name of a folder."""
    options = settings.architecture_options()
    depth = [str(options.pop("depth"))] if "depth" in options else []
    others = [f"{name}{value}" for name, value in options.items()]
    return "-".join([settings.model, *depth, *others])


def check_run_dir(path):
    """Refuses a folder that a new run could not have to itself.

    Raises:
        UserError: it holds a run or anything else, or is no folder.
    """
    path = Path(path)
    if (path / "config.json").exists():
        raise UserError(
            f"{path} already holds a run; go on with it by --resume {path}, name another folder "
            "with --run-dir, or remove this one"
        )
    if path.exists() and not path.is_dir():
        raise UserError(f"{path} is no folder; name another with --run-dir")
    if path.is_dir() and any(entry.name != LOCK for entry in path.iterdir()):
        raise UserError(f"{path} is not empty; name another folder with --run-dir")


def create_run_dir(path, settings):
    """Writes the `config.json` of a new run into its folder, which `locked` has made.

    Args:
        path: path of the folder.
        settings: `TrainSettings` with every default filled in.
    """
    check_run_dir(path)
    write_json(path / "config.json", settings.config())


@contextlib.contextmanager
def locked(path):
    """Makes the folder of a run if it is not there, and keeps every other process out of it.

    The lock file holds the process number and the host; one whose process is gone is taken over.

    Raises:
        UserError: another process has it, or it cannot be made.
    """
    path = Path(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{path} cannot be made: {error.strerror}") from None
    lock = filelock.SoftFileLock(path / LOCK, timeout=1, poll_interval=0.1)
    try:
        lock.acquire()
    except filelock.Timeout:
        pid, host = [*(path / LOCK).read_text().split(), "?", "?"][:2]
        raise UserError(
            f"{path} is in use by process {pid} on {host}; wait for it, or, if it is gone, remove "
            f"{path / LOCK}"
        ) from None
    except OSError as error:
        raise UserError(f"{path} cannot be written to: {error.strerror}") from None
    try:
        yield
    finally:
        lock.release()
        if not any(path.iterdir()):
            path.rmdir()


def read_metrics(path):
    """Reads the `metrics.csv` of a run's folder, which may hold anything.

    Returns:
        A list of dictionaries from the columns' names to finite floats, one per epoch.

    Raises:
        UserError: there is no such file, or it holds something else.
    """
    path = Path(path) / "metrics.csv"
    try:
        with open(path, newline="", encoding="utf-8") as file:
            rows = [
                {name: float(value) for name, value in row.items()}
                for row in csv.DictReader(file, restkey="more than columns")
            ]
        if not rows or not all(map(math.isfinite, (v for row in rows for v in row.values()))):
            raise ValueError("an epoch or a finite number is missing")
    except (OSError, ValueError, TypeError, csv.Error) as error:
        raise UserError(f"{path} does not hold the epochs of a run: {error}") from None
    return rows


class RunRecorder(keras.callbacks.Callback):
    """Writes `metrics.csv`, `curves.png` and `best.keras` after every epoch, and says how it goes.

    Args:
        path: path of the run's folder.
        network: Keras model to save, from raw pixels to probabilities.
        progress: a `Progress`, which gets a row for every epoch and the best of them.
        epochs, steps: ints, of the whole run and in an epoch.
        batch_size: int.

    The attribute `judged` is a function that gives the context in which the network is saved, and
    `writes` whether anything is written at all: of several hosts, one writes.
    """

    def __init__(self, path, network, progress, epochs, steps, batch_size):
        super().__init__()
        self.path = path
        self.network = network
        self.progress = progress
        self.epochs = epochs
        self.steps = steps
        self.batch_size = batch_size
        self.judged = contextlib.nullcontext
        self.writes = True
        self.bar = None
        self.hinted = False

    def on_train_begin(self, logs=None):
        done = self.progress.epoch * self.steps + self.progress.step
        # no bar in a log file; the line per epoch is there all the same
        hidden = None if self.writes else True
        self.bar = tqdm(
            total=self.epochs * self.steps, initial=done, unit="step", leave=False, disable=hidden
        )

    def on_train_end(self, logs=None):
        self.close()

    def close(self):
        """Takes the progress bar away, however the training ended."""
        if self.bar is not None:
            self.bar.close()

    def on_epoch_begin(self, epoch, logs=None):
        self.bar.set_description(f"epoch {epoch + 1}/{self.epochs}")
        self.started, self.skipped = time.perf_counter(), self.progress.step
        self.trained = None

    def on_train_batch_end(self, batch, logs=None):
        done = self.progress.epoch * self.steps + self.progress.step
        self.bar.update(done - self.bar.n)

    def on_test_begin(self, logs=None):
        self.trained = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        now = time.perf_counter()
        images = (self.steps - self.skipped) * self.batch_size
        row = {
            "epoch": epoch + 1,
            **{name: float(value) for name, value in logs.items()},
            "learning_rate": float(self.model.optimizer.learning_rate),
            "seconds": now - self.started,
            "images_per_second": images / ((self.trained or now) - self.started),
        }
        best = self.progress.best
        self.progress.history.append(row)
        if self.writes:
            self.bar.write(_line(row, self.epochs))
            self._hint(row["loss"])
            self._write_metrics()
            plot_curves(self.path / "curves.png", self.progress.history, self.path.name)
        if _is_better(row, best):
            self.progress.best_epoch = row["epoch"]
            with self.judged():  # on every host: what is put in place is on all their devices
                self._save()

    def _save(self):
        if self.writes:
            with replacing(self.path / "best.keras") as temporary:
                save_model(self.network, temporary)

    def _hint(self, loss):
        """Says once what to try where an epoch has taught a network nothing."""
        guessing = math.log(self.network.output_shape[-1])
        if loss > 0.998 * guessing and not self.hinted:
            self.hinted = True
            self.bar.write(
                f"a loss of {loss:.2f} is that of guessing ({guessing:.2f}): try a smaller "
                "--learning-rate, --optimizer adam, or, with CBAM, --attention-batch-norm"
            )

    def _write_metrics(self):
        history = self.progress.history
        columns = ["epoch", *(name for name in COLUMNS if name in history[0])]
        with replacing(self.path / "metrics.csv") as path, open(path, "w", newline="") as file:
            writer = csv.DictWriter(file, columns, extrasaction="ignore")
            writer.writeheader()
            writer.writerows(history)


def _is_better(row, best):
    """Whether to save the network: by the validation split, or always where there is none."""
    return best is None or "val_accuracy" not in row or row["val_accuracy"] > best["val_accuracy"]


def _line(row, epochs):
    parts = [f"epoch {row['epoch']}/{epochs}", f"loss {row['loss']:.4f}"]
    parts.append(f"accuracy {row['accuracy']:.4f}")
    if "val_loss" in row:
        parts.append(f"val_loss {row['val_loss']:.4f} val_accuracy {row['val_accuracy']:.4f}")
    parts.append(f"learning_rate {row['learning_rate']:.5f}")
    parts.append(f"{row['seconds']:.1f} s")
    return "  ".join(parts)
