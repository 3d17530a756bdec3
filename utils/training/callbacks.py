"""Callbacks of a training, except the recorder: epochs, progress, finite losses, checkpoints."""

import math
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np

from models.finalization import finalize_layers

from ..feeding.protocols import Batches
from ..runs.checkpoint import CHECKPOINTS, checkpoint_name, write_checkpoint
from ..runs.progress import Progress, restore, training_variables, values_of
from ..runs.recorder import Logs
from ..system.backend import synchronize
from ..system.errors import Interrupted, RunError


class SetEpoch(keras.callbacks.Callback):
    """Starts every epoch of the training batches, which decides their order and augmentation.

    How many batches they skip is the same in all epochs of a `fit`.

    Args:
        batches: the training `Batches`.
    """

    def __init__(self, batches: Batches) -> None:
        super().__init__()
        self.batches = batches

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        self.batches.start_epoch(epoch, self.batches.skip)


class CountSteps(keras.callbacks.Callback):
    """Updates the progress of a run; it must come before all callbacks that read the progress.

    Args:
        progress: a `Progress`.
        batches: training batches with an attribute `skip`, such as an `EpochBatches`.
        steps: int, steps per epoch.
        started: float, when the run began, on the clock of `time.perf_counter`.
    """

    def __init__(self, progress: Progress, batches: Any, steps: int, started: float) -> None:
        super().__init__()
        self.progress = progress
        self.batches = batches
        self.steps = steps
        self.counted = started

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        # Keras counts steps of an execution that the epoch does not have any more
        self.progress.step = min(self.batches.skip + batch + 1, self.steps)
        self._count_seconds()

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        self.progress.epoch, self.progress.step = epoch + 1, 0
        self._count_seconds()

    def _count_seconds(self):
        now = time.perf_counter()
        self.progress.seconds += now - self.counted
        self.counted = now


class FiniteLoss(keras.callbacks.Callback):
    """Stops a training whose loss or weights are not finite, before anything of them is written.

    Args:
        progress: a `Progress`.
    """

    def __init__(self, progress: Progress) -> None:
        super().__init__()
        self.progress = progress

    def on_train_batch_end(self, batch: int, logs: Logs) -> None:
        # the mean over the epoch so far: once a step's loss is not finite, it stays so
        if not math.isfinite(logs["loss"]):
            raise RunError(
                f"the loss is {logs['loss']} at step {self.progress.step} of epoch "
                f"{self.progress.epoch + 1}"
            )

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        if not math.isfinite(logs.get("val_loss", 0.0)):
            raise RunError(f"the validation loss is {logs['val_loss']} after epoch {epoch + 1}")
        for weight in self.model.weights:  # the last step's loss was that before its update
            values = keras.ops.convert_to_numpy(weight)
            if np.issubdtype(values.dtype, np.floating) and not np.isfinite(values).all():
                raise RunError(f"{weight.path} is not finite after epoch {epoch + 1}")


class Checkpointer(keras.callbacks.Callback):
    """Writes a checkpoint after every epoch, at regular intervals, and when a signal is received.

    After a signal it raises `Interrupted`, once the checkpoint is written.

    Args:
        run_dir: path of the run's folder.
        progress: a `Progress`.
        steps: int, steps per epoch.
        every: string, the interval: steps such as `"500"` or minutes such as `"10m"`.
        state: dictionary of JSON values that goes into every checkpoint, such as the settings.
        received_signal: function that returns the number of a signal that was received, or 0. All
            hosts call it after the same steps, and it must return the same on all of them.
        constant_layers: layers whose variables training does not change. Defaults to none.
        write_files: bool, whether this process writes the checkpoints: of several hosts, one does.
            Defaults to `True`.
    """

    def __init__(
        self,
        run_dir: Path,
        progress: Progress,
        steps: int,
        every: str,
        state: Mapping[str, Any],
        received_signal: Callable[[], int],
        constant_layers: Iterable[keras.Layer] = (),
        write_files: bool = True,
    ) -> None:
        super().__init__()
        self.folder = run_dir / CHECKPOINTS
        self.best = run_dir / "best.keras"  # a checkpoint keeps a copy of the best network so far
        self.progress = progress
        self.steps = steps
        self.every_steps = math.inf if every.endswith("m") else int(every)
        self.every_seconds = 60 * float(every[:-1]) if every.endswith("m") else math.inf
        self.state = state
        self.received_signal = received_signal
        self.constant_layers = constant_layers
        self.write_files = write_files
        self.written = time.monotonic()

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        step = self.progress.step
        if step >= self.steps:
            return  # `on_epoch_end` follows and writes the checkpoint
        signum = self.received_signal()
        due = time.monotonic() - self.written >= self.every_seconds
        if due or step % self.every_steps == 0 or signum:
            synchronize(self.model)
            self._write()
            self._stop_at(signum)

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        self._write()
        self._stop_at(self.received_signal())

    def variables(self) -> dict[str, Any]:
        """Returns the variables that a checkpoint holds at this point; see `training_variables`.

        Between two epochs the metrics are omitted: an epoch begins by resetting them.
        """
        groups = ["model", "optimizer", *(["metrics"] if self.progress.step else [])]
        return training_variables(self.model, groups, self.constant_layers)

    def restore(self, values: Mapping[str, np.ndarray]) -> None:
        """Restores the variables that a checkpoint holds at this point; see `progress.restore`.

        Args:
            values: dictionary from names to arrays.
        """
        restore(self.variables(), values)
        finalize_layers(self.model)

    def _write(self):
        if self.write_files:
            write_checkpoint(
                self.folder,
                checkpoint_name(self.progress.epoch, self.progress.step),
                values_of(self.variables()),
                {**self.state, "progress": vars(self.progress)},
                [self.best] if self.progress.best_epoch is not None else [],
            )
        self.written = time.monotonic()

    @staticmethod
    def _stop_at(signum):
        if signum:
            raise Interrupted("interrupted", signum)


def lacks_progress(progress: Progress, patience: int | None) -> bool:
    """Returns whether the validation accuracy has not become better for as long as is allowed.

    Args:
        progress: a `Progress`.
        patience: int, epochs that are allowed; `None`: any number.
    """
    if patience is None or progress.best_epoch is None:
        return False
    return progress.epoch - progress.best_epoch >= patience


class StopWithoutProgress(keras.callbacks.Callback):
    """Ends a training whose validation accuracy has not become better for a number of epochs.

    Keras's `EarlyStopping` counts anew when a run is resumed; this one reads the run's progress.

    Args:
        progress: a `Progress`.
        patience: int, that number.
    """

    def __init__(self, progress: Progress, patience: int) -> None:
        super().__init__()
        self.progress = progress
        self.patience = patience

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        if lacks_progress(self.progress, self.patience):
            self.model.stop_training = True


class RestoreVariables(keras.callbacks.Callback):
    """Restores the variables of a checkpoint once, at the point of an epoch where it was written.

    Restoring them before `fit` would be too early: between the beginning of an epoch and its first
    step, Keras resets the metrics, and PyTorch's data loader draws a random number.

    Args:
        checkpointer: the `Checkpointer` of the same `fit`, with the progress of the checkpoint.
        values: dictionary from names to arrays, the variables of the checkpoint.
    """

    def __init__(self, checkpointer: Checkpointer, values: Mapping[str, np.ndarray]) -> None:
        super().__init__()
        self.checkpointer = checkpointer
        self.values: Mapping[str, np.ndarray] | None = values

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        if self.checkpointer.progress.step == 0:
            self._restore()

    def on_train_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        self._restore()

    def _restore(self):
        if self.values is not None:
            self.checkpointer.restore(self.values)
            self.values = None
