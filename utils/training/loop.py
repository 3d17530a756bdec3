"""The loop of a training: epochs from the start, or from where a checkpoint was written."""

import contextlib
import functools
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from models.attention.registry import at_identity
from models.attention.specification import AttentionSpec
from models.specification import is_keras_model, parse_specification

from ..config.settings import TrainSettings
from ..runs.checkpoint import CHECKPOINTS, newest_checkpoint
from ..runs.progress import Progress, progress_from
from ..runs.recorder import REMEDIES, RunRecorder
from ..runs.resuming import check_state
from ..runs.run_folder import SUMMARY
from ..system.backend_batches import keras_input
from ..system.errors import UserError
from ..system.files import replacing, write_json
from ..system.signals import StopSignals
from ..system.terminal import shell_word
from .averaging import WeightAverages
from .callbacks import (
    Checkpointer,
    CountSteps,
    FiniteLoss,
    RestoreVariables,
    SetEpoch,
    StopWithoutProgress,
    lacks_progress,
)
from .devices import Devices
from .fine_tuning import all_trainable
from .logs import LogEpochs, RunLog
from .schedules import learning_rate_at
from .setup import Setup, schedule_of, unfreeze


def fit(
    settings: TrainSettings,
    setup: Setup,
    run_dir: Path,
    state: dict[str, Any],
    devices: Devices,
    started: float,
    logs: Sequence[RunLog] = (),
    announce: Callable[[str], object] = print,
) -> Progress:
    """Trains to the last epoch; a run that is resumed continues from its newest checkpoint.

    Args:
        settings: a `TrainSettings` with its defaults filled in.
        setup: a `Setup`.
        run_dir: path of the run's folder.
        state: dictionary of JSON values that goes into every checkpoint; `check_state` compares it.
        devices: a `Devices`; this function must be called in its scope.
        started: float, when the run began, on the clock of `time.perf_counter`.
        logs: sequence of `RunLog`s, which take every epoch. Defaults to none.
        announce: function that takes a line of text. Defaults to `print`.

    Returns:
        The `Progress` at the end.
    """
    averages = [WeightAverages()] if settings.ema else []
    with StopSignals() as signals:
        progress, values = Progress(), None
        if settings.resume is not None:
            progress, values = resume(
                settings, run_dir, setup.steps, state, devices.is_chief, announce
            )
            devices.check_same({"checkpoint": vars(progress)})
        recorder = _recorder(settings, setup, run_dir, progress, devices, averages)
        checkpointer = _checkpointer(settings, setup, run_dir, progress, state, devices, signals)
        callbacks = [
            SetEpoch(setup.batches),
            CountSteps(progress, setup.batches, setup.steps, started),
            FiniteLoss(progress),
            *averages,
            recorder,
            LogEpochs(progress, logs),
            checkpointer,
            *_optional_callbacks(settings, run_dir, progress, devices),
        ]
        with contextlib.closing(recorder), setup.source.reading(setup.batches, setup.validation):
            _fit_from(progress, values, setup, devices, settings, callbacks, checkpointer)
    return progress


def _recorder(settings, setup, run_dir, progress, devices, averages):
    """What writes the run's metrics, curves and best network."""
    return RunRecorder(
        run_dir,
        setup.network,
        progress,
        settings.epochs,
        setup.steps,
        setup.batches.batch_size,
        functools.partial(learning_rate_at, schedule_of(settings, setup.steps)),
        saving_context=lambda: _saving_context(setup.network, devices, averages),
        write_files=devices.is_chief,
        remedies=(*_remedies_of_attention(settings), *REMEDIES),
    )


def _remedies_of_attention(settings):
    """What to try if a network learns nothing whose gates do not start at one."""
    if settings.model and is_keras_model(parse_specification(settings.model)[0]):
        return []  # it begins as the network that it was without attention
    spec = AttentionSpec.parse(settings.attention)  # options that are flags stay flags
    started = at_identity(spec)
    return [] if started in (None, spec) else [f'--attention "{started}"']


def _checkpointer(settings, setup, run_dir, progress, state, devices, signals):
    """What writes the run's checkpoints: regularly, and when a signal stops it."""
    return Checkpointer(
        run_dir,
        progress,
        setup.steps,
        settings.checkpoint_every,
        state,
        received_signal=lambda: devices.max_over_hosts(signals.received or 0),
        constant_layers=[setup.model.get_layer("images")],
        write_files=devices.is_chief,
    )


def _optional_callbacks(settings, run_dir, progress, devices):
    """The callbacks that settings ask for."""
    callbacks: list[keras.callbacks.Callback] = []
    if settings.patience:
        callbacks.append(StopWithoutProgress(progress, settings.patience))
    if "tensorboard" in settings.logs and devices.is_chief:
        # without the graph, which Keras cannot write of a model with layers of its own kind
        folder = str(run_dir / "tensorboard")
        callbacks.append(keras.callbacks.TensorBoard(folder, write_graph=False))
    return callbacks


@contextlib.contextmanager
def _saving_context(network, devices, averages):
    """A context in which a network has the configuration and the weights that are saved."""
    with contextlib.ExitStack() as stack:
        stack.enter_context(devices.single_device_form(network))
        stack.enter_context(all_trainable(network))
        for average in averages:
            stack.enter_context(average.average_weights())
        yield


def _fit_from(progress, values, setup, devices, settings, callbacks, checkpointer):
    """Trains from `progress` on; `values` are the variables of its checkpoint, or `None`."""
    batches, validation = map(devices.weight, (setup.batches, setup.validation))
    validation = keras_input(validation)
    frozen_epochs = settings.unfreeze_after
    if frozen_epochs is not None and (progress.epoch, progress.step) > (frozen_epochs, 0):
        unfreeze(settings, setup)  # the checkpoint was written after that
        frozen_epochs = None
    while progress.epoch < settings.epochs and not lacks_progress(progress, settings.patience):
        if progress.epoch == frozen_epochs:
            checkpointer.set_model(setup.model)
            checkpointer.restore(values)
            unfreeze(settings, setup)
            values = frozen_epochs = None
        # before `keras_input`, which reads a batch to find out shapes and types
        setup.batches.start_epoch(progress.epoch, skip=progress.step)
        # Keras counts the batches of an epoch once per `fit`: the rest of an epoch needs its own
        last = progress.epoch + 1 if progress.step else frozen_epochs or settings.epochs
        restoring = [] if values is None else [RestoreVariables(checkpointer, values)]
        setup.model.fit(
            keras_input(batches),
            validation_data=validation,
            initial_epoch=progress.epoch,
            epochs=last,
            callbacks=[*callbacks, *restoring],
            shuffle=False,  # `batches` has its own order
            verbose=0,
        )
        if progress.epoch < settings.epochs:
            # at the end of `fit`, Keras has replaced the weights by their moving averages
            checkpoint = newest_checkpoint(checkpointer.folder)
            assert checkpoint is not None  # the epoch that ended has written one
            values = checkpoint.variables


def resume(
    settings: TrainSettings,
    run_dir: Path,
    steps: int,
    state: dict[str, Any],
    write_files: bool = True,
    announce: Callable[[str], object] = print,
) -> tuple[Progress, dict[str, np.ndarray] | None]:
    """Reads the newest checkpoint of a run, and restores the run's files to it.

    Args:
        settings: a `TrainSettings` with its defaults filled in.
        run_dir: path of the run's folder.
        steps: int, steps per epoch.
        state: dictionary of JSON values that a checkpoint would hold now; see `check_state`.
        write_files: bool, whether this process writes files: of several hosts, one does. Defaults
            to `True`.
        announce: function that takes a line of text. Defaults to `print`.

    Returns:
        The `Progress` of the checkpoint, and its variables as a dictionary from names to arrays; a
        new `Progress` and `None` if there is no checkpoint yet.

    Raises:
        UserError: settings, data or environment differ from those of the checkpoint, or the run is
            finished and has no checkpoint.
        RunError: all checkpoints are damaged.
    """
    checkpoint = newest_checkpoint(run_dir / CHECKPOINTS, announce)
    progress, values = Progress(), None
    if checkpoint is None and (run_dir / SUMMARY).exists():
        raise UserError(
            f"{run_dir} is finished and has no checkpoint to go on from; train another run from "
            f"its network with --init {shell_word(run_dir)}"
        )
    if checkpoint is not None:
        progress, values = progress_from(checkpoint, steps), checkpoint.variables
        check_state(settings, checkpoint.state, state)
    if write_files:
        # what `--force` has changed becomes part of the run
        write_json(run_dir / "config.json", settings.config())
    if checkpoint is None:
        announce("there is no checkpoint yet; starting from the beginning")
        return progress, values
    best = checkpoint.path / "best.keras"
    # the one in the run's folder may be of an epoch after this checkpoint
    if best.exists() and write_files:
        with replacing(run_dir / best.name) as temporary:
            shutil.copyfile(best, temporary)
    if progress.epoch >= settings.epochs:
        announce(f"all {progress.epoch} epochs are done; --epochs N --force trains to epoch N")
    elif lacks_progress(progress, settings.patience):
        announce(
            f"the run ended after epoch {progress.epoch} by its patience of {settings.patience} "
            "epochs: nothing is left to train"
        )
    else:
        announce(f"resuming after epoch {progress.epoch}, step {progress.step} of the next epoch")
        if write_files:  # the run is not finished any more
            (run_dir / SUMMARY).unlink(missing_ok=True)
    return progress, values
