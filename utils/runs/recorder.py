"""What a run writes after every epoch: metrics, curves, and the best network so far."""

import contextlib
import csv
import math
import time

import keras
from tqdm import tqdm

from models.saving import save_model

from ..plots.curves import plot_curves
from ..system.files import replacing

COLUMNS = ("loss", "accuracy", "val_loss", "val_accuracy", "learning_rate", "seconds",
           "images_per_second")  # fmt: skip


class RunRecorder(keras.callbacks.Callback):
    """Writes `metrics.csv`, `curves.png` and `best.keras` after every epoch, and says how it goes.

    Args:
        path: path of the run's folder.
        network: Keras model to save, from raw pixels to probabilities.
        progress: a `Progress`, which gets a row for every epoch and the best of them.
        epochs, steps: ints, of the whole run and in an epoch.
        batch_size: int.

    The attribute `saving_context` is a function that gives the context in which the network is
    saved, and `writes` whether anything is written at all: of several hosts, one writes.
    """

    def __init__(self, path, network, progress, epochs, steps, batch_size):
        super().__init__()
        self.path = path
        self.network = network
        self.progress = progress
        self.epochs = epochs
        self.steps = steps
        self.batch_size = batch_size
        self.saving_context = contextlib.nullcontext
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
            with (
                self.saving_context()
            ):  # on every host: what is put in place is on all their devices
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
