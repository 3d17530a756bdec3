"""What happens around the steps of a training, beside what is recorded."""

import math
import time

import keras

from ..feeding.protocols import Batches
from ..runs.checkpoint import checkpoint_name, write_checkpoint
from ..runs.progress import restore, training_variables, values_of
from ..system.backend import synchronize
from ..system.errors import Interrupted, RunError


class EpochDraws(keras.callbacks.Callback):
    """Starts every epoch of the batches; how many they skip is the same in all epochs of a fit."""

    def __init__(self, batches: Batches) -> None:
        super().__init__()
        self.batches = batches

    def on_epoch_begin(self, epoch, logs=None):
        self.batches.start_epoch(epoch, self.batches.skip)


class CountSteps(keras.callbacks.Callback):
    """Keeps a `Progress` up to date; to stand before all that look at it.

    Args:
        progress: a `Progress`.
        batches: those of an epoch, such as an `EpochBatches`.
        started: float, since when to count seconds, on the clock of `time.perf_counter`.
    """

    def __init__(self, progress, batches, started):
        super().__init__()
        self.progress = progress
        self.batches = batches
        self.counted = started

    def on_train_batch_end(self, batch, logs=None):
        self.progress.step = self.batches.skip + batch + 1
        self._count_seconds()

    def on_epoch_end(self, epoch, logs=None):
        self.progress.epoch, self.progress.step = epoch + 1, 0
        self._count_seconds()

    def _count_seconds(self):
        now = time.perf_counter()
        self.progress.seconds += now - self.counted
        self.counted = now


class FiniteLoss(keras.callbacks.Callback):
    """Stops a training whose loss is no number any more, before anything is written of it."""

    def __init__(self, progress):
        super().__init__()
        self.progress = progress

    def on_train_batch_end(self, batch, logs=None):
        # a mean over the epoch, which stays infinite or no number once a step was
        if not math.isfinite(logs["loss"]):
            raise RunError(
                f"the loss is {logs['loss']} at step {self.progress.step} of epoch "
                f"{self.progress.epoch + 1}"
            )

    def on_epoch_end(self, epoch, logs=None):
        if not math.isfinite(logs.get("val_loss", 0.0)):
            raise RunError(f"the validation loss is {logs['val_loss']} after epoch {epoch + 1}")


class Checkpointer(keras.callbacks.Callback):
    """Writes a checkpoint after every epoch and every so often, and when asked to stop.

    Args:
        run_dir: path of the run's folder.
        progress: a `Progress`.
        steps: int, steps in an epoch.
        every: string, steps such as `"500"` or minutes such as `"10m"`.
        state: dictionary that goes into every checkpoint, such as the settings.
        signals: a `StopSignals`.

    The attribute `constant` is a list of layers whose variables training does not change. Of
    several hosts one `writes`, and all stop when the function `asked`, which they call at the same
    steps, returns the number of a signal.
    """

    def __init__(self, run_dir, progress, steps, every, state, signals):
        super().__init__()
        self.folder = run_dir / "last"
        self.best = run_dir / "best.keras"  # as it is now, a checkpoint keeps it too
        self.progress = progress
        self.steps = steps
        self.every_steps = math.inf if every.endswith("m") else int(every)
        self.every_seconds = 60 * float(every[:-1]) if every.endswith("m") else math.inf
        self.state = state
        self.asked = lambda: signals.received
        self.writes = True
        self.constant = []
        self.values = None
        self.written = time.monotonic()

    def restore_later(self, values):
        """Has variables restored at the instant of an epoch at which they were written.

        Between an epoch's beginning and its first step, Keras resets the metrics, and PyTorch's
        loader draws a random number.
        """
        self.values = values

    def on_epoch_begin(self, epoch, logs=None):
        if self.progress.step == 0:
            self._restore()

    def on_train_batch_begin(self, batch, logs=None):
        self._restore()

    def _restore(self):
        if self.values is not None:
            restore(self._variables(), self.values)
            self.values = None

    def on_train_batch_end(self, batch, logs=None):
        step = self.progress.step
        if step >= self.steps:
            return  # the epoch ends here
        signum = self.asked()
        due = time.monotonic() - self.written >= self.every_seconds
        if due or step % self.every_steps == 0 or signum:
            synchronize(self.model)
            self._write()
            self._stop_at(signum)

    def on_epoch_end(self, epoch, logs=None):
        self._write()
        self._stop_at(self.asked())

    def _variables(self):
        groups = ("model", "optimizer", "metrics")
        if self.progress.step == 0:
            groups = groups[:2]  # an epoch begins with new metrics
        return training_variables(self.model, groups, self.constant)

    def _write(self):
        if self.writes:
            write_checkpoint(
                self.folder,
                checkpoint_name(self.progress.epoch, self.progress.step),
                values_of(self._variables()),
                {**self.state, "progress": vars(self.progress)},
                [self.best] if self.progress.best_epoch is not None else [],
            )
        self.written = time.monotonic()

    @staticmethod
    def _stop_at(signum):
        if signum:
            raise Interrupted("interrupted", signum)
