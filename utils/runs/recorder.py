"""What a run writes after every epoch: metrics, curves, and the best network so far."""

import contextlib
import csv
import math
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
from tqdm import tqdm

from models.saving import save_model

from ..plots.curves import plot_curves
from ..system.files import replacing
from ..system.timing import rough_time
from .progress import Progress

COLUMNS = ("loss", "accuracy", "val_loss", "val_accuracy", "learning_rate", "seconds",
           "images_per_second")  # fmt: skip
# an epoch's time is told after these steps, which compile, and so many seconds of others
FIRST_STEPS, MEASURED = 2, 5
REMEDIES = ("more --epochs", "a lower --learning-rate", "another --optimizer")
Logs = Mapping[str, float]  # metrics, as Keras passes them to callbacks


class RunRecorder(keras.callbacks.Callback):
    """Writes `metrics.csv`, `curves.png` and `best.keras` after every epoch, and shows progress.

    Progress is a bar and a line per epoch.

    Args:
        path: path of the run's folder.
        network: Keras model to save, from raw pixels to probabilities.
        progress: a `Progress`. Every epoch adds a row to its history, and updates its best epoch.
        epochs: int, epochs of the whole run.
        steps: int, steps per epoch.
        batch_size: int, images per step.
        learning_rate: function from a step of the run, counted from 0, to its learning rate. An
            epoch's row has that of the epoch's last step.
        saving_context: function that returns the context in which the network is saved, called on
            every host. Defaults to a context that does nothing.
        write_files: bool, whether this process writes files and shows progress: of several hosts,
            one does. Defaults to `True`.
        clock: function that returns the time in seconds. Defaults to `time.perf_counter`.
        remedies: list of strings, what to try if the network learns nothing. Defaults to what helps
            any network.
    """

    def __init__(
        self,
        path: Path,
        network: keras.Model,
        progress: Progress,
        epochs: int,
        steps: int,
        batch_size: int,
        learning_rate: Callable[[int], float],
        saving_context: Callable[
            [], contextlib.AbstractContextManager[object]
        ] = contextlib.nullcontext,
        write_files: bool = True,
        clock: Callable[[], float] = time.perf_counter,
        remedies: Sequence[str] = REMEDIES,
    ) -> None:
        super().__init__()
        self.path = path
        self.network = network
        self.progress = progress
        self.epochs = epochs
        self.steps = steps
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.saving_context = saving_context
        self.write_files = write_files
        self.clock = clock
        self.remedies = remedies
        self.estimated = False
        self.bar: Any = None  # a `tqdm` bar, while training
        self.hinted = False

    def on_train_begin(self, logs: Logs | None = None) -> None:
        # `None` hides the bar where output is no terminal, such as in a log file
        hidden = None if self.write_files else True
        self.bar = tqdm(
            total=self.epochs * self.steps,
            initial=self._steps_done(),
            unit="step",
            leave=False,
            disable=hidden,
        )

    def on_train_end(self, logs: Logs | None = None) -> None:
        self.close()

    def close(self) -> None:
        """Removes the progress bar; to be called however the training ends."""
        if self.bar is not None:
            self.bar.close()

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        self.bar.set_description(f"epoch {epoch + 1}/{self.epochs}")
        self.started, self.skipped = self.clock(), self.progress.step
        self.trained: float | None = None
        # when the first steps, which are slow, were over, and how many they were
        self.warm: tuple[float, int] | None = None

    def on_train_batch_end(self, batch: int, logs: Logs) -> None:
        self.bar.set_postfix(loss=f"{logs['loss']:.3f}", refresh=False)
        self.bar.update(self._steps_done() - self.bar.n)
        if not self.estimated:
            self._estimate(batch + 1)

    def _estimate(self, steps: int) -> None:
        """Says once how long an epoch takes, unless it is over before that can be measured."""
        now = self.clock()
        if self.warm is None:
            if steps >= FIRST_STEPS:
                self.warm = now, steps
        elif now - self.warm[0] >= MEASURED:
            self.estimated = True
            seconds = (now - self.warm[0]) / (steps - self.warm[1]) * self.steps
            if self.write_files:
                left = rough_time(seconds * (self.epochs - self.progress.epoch))
                self.bar.write(
                    f"an epoch takes about {rough_time(seconds)}, the rest of the run about {left}"
                )

    def _steps_done(self):
        return self.progress.epoch * self.steps + self.progress.step

    def on_test_begin(self, logs: Logs | None = None) -> None:
        self.trained = self.clock()

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        now = self.clock()
        images = (self.steps - self.skipped) * self.batch_size
        row = {
            "epoch": epoch + 1,
            **{name: float(value) for name, value in logs.items()},
            "learning_rate": self.learning_rate((epoch + 1) * self.steps - 1),
            "seconds": now - self.started,
            "images_per_second": images / ((self.trained or now) - self.started),
        }
        best = self.progress.best
        self.progress.history.append(row)
        if self.write_files:
            self.bar.write(_line(row, self.epochs))
            self._hint(row["loss"], epoch + 1)
            self._write_metrics()
            plot_curves(self.path / "curves.png", self.progress.history, self.path.name)
        if _is_better(row, best):
            self.progress.best_epoch = epoch + 1
            with self.saving_context():  # changes variables, which are on the devices of all hosts
                self._save()

    def _save(self):
        if self.write_files:
            with replacing(self.path / "best.keras") as temporary:
                save_model(self.network, temporary)

    def _hint(self, loss, epochs_done):
        """Prints once what to try if a network is stuck: it has learned nothing for a while.

        In the first fifth of the run, while the learning rate rises, a loss like that is nothing
        to worry about.
        """
        guessing = math.log(self.network.output_shape[-1])
        is_early = 5 * epochs_done <= self.epochs
        if loss > 0.998 * guessing and not is_early and not self.hinted:
            self.hinted = True
            self.bar.write(
                f"a loss of {loss:.2f} is no better than guessing ({guessing:.2f}): try "
                f"{', '.join(self.remedies[:-1])} or {self.remedies[-1]}"
            )

    def _write_metrics(self):
        history = self.progress.history
        columns = ["epoch", *(name for name in COLUMNS if name in history[0])]
        with replacing(self.path / "metrics.csv") as path, open(path, "w", newline="") as file:
            writer = csv.DictWriter(file, columns, extrasaction="ignore")
            writer.writeheader()
            writer.writerows(history)


def _is_better(row: dict[str, float], best: dict[str, float] | None) -> bool:
    """Compares validation accuracies; without a validation split the latest epoch is the best."""
    return best is None or "val_accuracy" not in row or row["val_accuracy"] > best["val_accuracy"]


def _line(row: dict[str, float], epochs: int) -> str:
    parts = [f"epoch {row['epoch']}/{epochs}", f"loss {row['loss']:.4f}"]
    parts.append(f"accuracy {row['accuracy']:.4f}")
    if "val_loss" in row:
        parts.append(f"val_loss {row['val_loss']:.4f} val_accuracy {row['val_accuracy']:.4f}")
    parts.append(f"learning_rate {row['learning_rate']:.5f}")
    parts.append(f"{row['seconds']:.1f} s")
    return "  ".join(parts)
