"""One training run, from settings to a folder with the trained network and its figures."""

import contextlib
import dataclasses
import importlib.util
import inspect
import shutil
import statistics
import time
from pathlib import Path

import keras

from models import architecture
from models.saving import load_model

from ..config.settings import LEARNING_RATES
from ..data.datasets import load_dataset
from ..evaluation.counting import trainable_params
from ..evaluation.evaluate import evaluate
from ..feeding.sources import image_source, refuse_settings_of_others
from ..runs.checkpoint import newest_checkpoint
from ..runs.predictions import write_predictions
from ..runs.progress import Progress, progress_from
from ..runs.recorder import RunRecorder
from ..runs.resuming import check_settings, check_state, environment
from ..runs.run_folder import check_run_dir, create_run_dir, default_run_dir, locked, read_config
from ..system.backend import versions
from ..system.backend_batches import keras_input
from ..system.errors import Interrupted, RunError, UserError
from ..system.files import replacing, write_json
from ..system.signals import StopSignals
from .averaging import WeightAverages
from .callbacks import Checkpointer, CountSteps, EpochDraws, FiniteLoss
from .devices import find_devices
from .setup import make_setup


def train(settings, announce=print):
    """Trains a network and evaluates it once on the test set, or goes on with a run that stopped.

    Args:
        settings: a `TrainSettings`.
        announce: function that takes a line of text.

    Returns:
        The path of the run's folder and the dictionary of its `summary.json`; `None` in its place
        on a host that does not write it.

    Raises:
        UserError: settings that do not fit together, data that cannot be had, or a run folder that
            is taken. Nothing is written then.
        RunError: the run cannot go on: its folder cannot be written to, its loss is not finite, or
            all its checkpoints are damaged. What was written before stands.
        Interrupted: SIGINT or SIGTERM; where the run stands is written.
    """
    started = time.perf_counter()
    if settings.tensorboard and not importlib.util.find_spec("tensorflow"):
        raise UserError("--tensorboard needs TensorFlow, on every backend: pip install tensorflow")
    devices = find_devices(settings)
    settings = dataclasses.replace(settings, hosts=devices.hosts)
    if not devices.writes:
        announce = _say_nothing
    with devices.together():
        settings, dataset, run_dir = devices.unanimous(
            lambda: _prepared(settings, devices, announce)
        )
        with devices.scope():
            setup = make_setup(settings, dataset, devices.batch_share)
            devices.check_batch(setup.batches.batch_size)
            devices.normalize(setup.model)

        with locked(run_dir) if devices.writes else contextlib.nullcontext():
            summary = _trained(settings, dataset, setup, run_dir, devices, started, announce)
    return run_dir, summary


def _say_nothing(line):
    pass


def _prepared(settings, devices, announce):
    """Settings, data and folder of a run, once it is clear that it can begin or go on."""
    if settings.resume is not None:
        check_settings(settings, read_config(settings.resume))
    elif settings.run_dir is not None and devices.writes:
        check_run_dir(settings.run_dir)
    dataset = load_dataset(
        settings.dataset, settings.data_dir, announce, settings.image_size, settings.corrupt
    )
    settings = with_defaults(settings, dataset)
    run_dir = Path(settings.resume or settings.run_dir or default_run_dir(settings, dataset.name))
    if settings.resume is None and devices.writes:
        check_run_dir(run_dir)
    return settings, dataset, run_dir


def _trained(settings, dataset, setup, run_dir, devices, started, announce):
    """Trains and evaluates; returns the summary, or `None` on a host that does not write."""
    with _told_where_it_stands(run_dir):
        state = {
            "config": settings.config(),
            "data": dataset.fingerprint(),
            "environment": environment(setup.source.packages),
        }
        devices.check_same(state)
        if settings.resume is None and devices.writes:
            create_run_dir(run_dir, settings)
        announce(describe(settings, dataset, setup, run_dir))
        with devices.scope(), devices.detecting_lost_hosts():
            progress = fit(settings, setup, run_dir, state, devices, started, announce)
        if not devices.writes:
            return None
        test = evaluate(load_model(run_dir / "best.keras"), dataset)
        write_predictions(run_dir, test.predictions)
        summary = summarize(settings, setup.network, progress, test)
        write_json(run_dir / "summary.json", summary)
    return summary


def fit(settings, setup, run_dir, state, devices, started, announce=print):
    """Trains to the last epoch, from the newest checkpoint on if the run is to be resumed.

    Args:
        settings: a `TrainSettings` with its defaults filled in.
        setup: a `Setup`.
        run_dir: path of the run's folder.
        state: dictionary that goes into every checkpoint: what `check_state` compares.
        devices: a `Devices`, in whose scope this is called.
        started: float, since when to count seconds, on the clock of `time.perf_counter`.
        announce: function that takes a line of text.

    Returns:
        A `Progress`, at the end.
    """
    progress = Progress()
    steps = len(setup.batches)
    averages = [WeightAverages()] if settings.ema else []
    with StopSignals() as signals:
        checkpointer = Checkpointer(
            run_dir, progress, steps, settings.checkpoint_every, state, signals
        )
        checkpointer.constant = [setup.model.get_layer("images")]
        checkpointer.asked = lambda: devices.highest(signals.received or 0)
        recorder = RunRecorder(
            run_dir, setup.network, progress, settings.epochs, steps, setup.batches.batch_size
        )
        recorder.saving_context = lambda: _saving_context(setup.network, devices, averages)
        recorder.writes = checkpointer.writes = devices.writes
        callbacks = [
            EpochDraws(setup.batches),
            CountSteps(progress, setup.batches, started),
            FiniteLoss(progress),
            *averages,
            recorder,
            checkpointer,
        ]
        if settings.tensorboard and devices.writes:
            callbacks.append(keras.callbacks.TensorBoard(str(run_dir / "tensorboard")))
        if settings.resume is not None:
            resume(settings, checkpointer, announce)
            devices.check_same({"checkpoint": vars(progress)})
        with contextlib.closing(recorder), setup.source.reading(setup.batches, setup.validation):
            _fit_from(progress, setup, devices, settings.epochs, callbacks, checkpointer)
    return progress


@contextlib.contextmanager
def _saving_context(network, devices, averages):
    """A context in which a network is as it should be saved."""
    with contextlib.ExitStack() as stack:
        stack.enter_context(devices.single_device_form(network))
        for average in averages:
            stack.enter_context(average.in_place())
        yield


def _fit_from(progress, setup, devices, epochs, callbacks, checkpointer):
    batches, validation = map(devices.weight, (setup.batches, setup.validation))
    validation = keras_input(validation)
    while progress.epoch < epochs:
        # `keras_input` reads the first batch for its shapes
        setup.batches.start_epoch(progress.epoch, skip=progress.step)
        # Keras counts the batches once: what is left of an epoch is a fit of its own
        last = progress.epoch + 1 if progress.step else epochs
        setup.model.fit(
            keras_input(batches),
            validation_data=validation,
            initial_epoch=progress.epoch,
            epochs=last,
            callbacks=callbacks,
            shuffle=False,  # `batches` has its own order
            verbose=0,
        )
        if progress.epoch < epochs:
            # at the end of a fit, Keras puts the averages in the place of the weights
            checkpointer.restore_later(newest_checkpoint(checkpointer.folder).variables)


def resume(settings, checkpointer, announce=print):
    """Puts a run back to where its newest checkpoint was written.

    Args:
        settings: a `TrainSettings`.
        checkpointer: the `Checkpointer` of the run; its `progress` is set, its model later.
        announce: function that takes a line of text.

    Raises:
        UserError: settings, data or environment are others than they were.
        RunError: all checkpoints are damaged.
    """
    checkpoint = newest_checkpoint(checkpointer.folder, announce)
    if checkpoint is not None:
        progress = progress_from(checkpoint, checkpointer.steps)
        check_state(settings, checkpoint.state, checkpointer.state)
    if checkpointer.writes:
        write_json(Path(settings.resume) / "config.json", settings.config())  # what is forced stays
    if checkpoint is None:
        announce("there is no checkpoint yet: from the beginning")
        return
    vars(checkpointer.progress).update(vars(progress))
    checkpointer.restore_later(checkpoint.variables)
    best = checkpoint.path / checkpointer.best.name
    # a newer one may be there, of an epoch after this checkpoint
    if best.exists() and checkpointer.writes:
        with replacing(checkpointer.best) as temporary:
            shutil.copyfile(best, temporary)
    announce(f"going on after epoch {progress.epoch}, step {progress.step} of the next")


@contextlib.contextmanager
def _told_where_it_stands(run_dir):
    """Adds to what stops a run what stands and how to go on."""
    go_on = f"go on with: python main.py train --resume {run_dir}"
    try:
        yield
    except Interrupted as stop:
        raise Interrupted(f"stopped; {go_on}", stop.signum) from None
    except RunError as error:
        raise RunError(f"{error}; what was written to {run_dir} before stands") from error
    except OSError as error:
        reason = error.strerror or error
        raise RunError(
            f"{run_dir} cannot be written to: {reason}; what was written before stands; {go_on}"
        ) from error


def summarize(settings, network, progress, test):
    """What `summary.json` holds: the result, and what it was obtained with."""
    rows = progress.history
    return {
        "test_accuracy": test.accuracy,
        "test_loss": test.loss,
        "best_val_accuracy": progress.best.get("val_accuracy"),
        "best_epoch": progress.best_epoch,
        "params": trainable_params(network),
        "epochs": settings.epochs,
        # the first epoch holds the compilation
        "images_per_second": statistics.median(
            row["images_per_second"] for row in rows[1:] or rows
        ),
        "devices": settings.devices * settings.hosts,
        "seconds": progress.seconds,
        "seed": settings.seed,
        "dataset": settings.dataset,
        "model": settings.model,
        "depth": settings.depth,
        "attention": settings.attention,
        "class_names": list(test.class_names),
        "versions": versions(),
    }


def with_defaults(settings, dataset):
    """Returns the settings with everything filled in that depends on other settings.

    Raises:
        UserError: a setting is given that data of this kind does not have.
    """
    source = image_source(dataset)
    refuse_settings_of_others(settings, source)
    depth = settings.depth
    if depth is None:
        parameter = inspect.signature(architecture(settings.model)).parameters.get("depth")
        depth = parameter.default if parameter else None
    return dataclasses.replace(
        settings,
        dataset=dataset.name,
        depth=depth,
        backend=keras.backend.backend(),
        learning_rate=settings.learning_rate or LEARNING_RATES[settings.optimizer],
        **source.data_defaults(settings),
    )


def describe(settings, dataset, setup, run_dir):
    """A few lines that say what is about to happen."""
    depth = "" if settings.depth is None else f", depth {settings.depth}"
    attention = settings.attention
    if attention != "none":
        attention += f" ({', '.join(settings.attention_at)})"
    params = trainable_params(setup.network)
    validation = len(setup.validation.indices) if setup.validation else 0
    return (
        f"{settings.model}{depth}, attention {attention}, {params:,} parameters\n"
        f"{dataset.name}: {len(setup.batches.indices):,} training, {validation:,} validation, "
        f"{len(dataset.x_test):,} test images\n"
        f"{settings.epochs} epochs on {keras.backend.backend()}{_shared(settings)}, writing to "
        f"{run_dir}"
    )


def _shared(settings):
    count = settings.devices * settings.hosts
    if count == 1:
        return ""
    hosts = f" of {settings.hosts} hosts" if settings.hosts > 1 else ""
    return f", {count} devices{hosts} with {settings.batch_size // count} images of a batch each"
