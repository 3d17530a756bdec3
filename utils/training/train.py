"""The command `train`: from settings to a folder with a trained network and its results."""

import contextlib
import dataclasses
import inspect
import math
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras

from models import architecture
from models.precision import in_precision
from models.saving import load_model
from models.transfer import layers_by_path

from ..config.default_model import default_model, known_model, with_model
from ..config.optimization import default_learning_rate
from ..config.recipes import DEFAULT_RECIPE
from ..config.settings import TrainSettings
from ..data.dataset import Dataset
from ..data.datasets import load_dataset
from ..evaluation.counting import trainable_params
from ..evaluation.evaluate import Evaluation, evaluate
from ..evaluation.networks import check_network, hint_of_size, precision_of_network
from ..feeding.sources import image_source, refuse_settings_of_others
from ..runs.naming import default_run_dir
from ..runs.own_code import with_own_code
from ..runs.predictions import write_predictions
from ..runs.progress import Progress
from ..runs.resuming import check_settings, environment
from ..runs.run_folder import SUMMARY, check_run_dir, create_run_dir, locked, read_config
from ..system.backend import versions
from ..system.backend_precision import AUTO
from ..system.errors import Interrupted, RunError, UserError
from ..system.files import write_json
from ..system.provenance import provenance
from ..system.terminal import shell_word
from .devices import find_devices
from .initial_weights import with_identity_start
from .logs import open_logs, require_logs
from .loop import fit
from .setup import Setup, make_setup


def train(
    settings: TrainSettings, announce: Callable[[str], None] = print
) -> tuple[Path, dict[str, Any] | None]:
    """Trains a network, and evaluates it once on the test set; or resumes a run that stopped.

    Args:
        settings: a `TrainSettings`.
        announce: function that takes a line of text.

    Returns:
        The path of the run's folder, and the content of its `summary.json`, a dictionary; on hosts
        other than the chief, `None` in the place of the dictionary.

    Raises:
        UserError: settings do not fit together, the data cannot be loaded, or the folder holds
            something else. Nothing is written then.
        RunError: the folder cannot be written to, the loss or a weight is not finite, or all
            checkpoints are damaged. What was written before is kept.
        Interrupted: the process received SIGINT or SIGTERM, and wrote a checkpoint.
    """
    started = time.perf_counter()
    require_logs(settings)
    devices = find_devices(settings)
    settings = dataclasses.replace(settings, hosts=devices.hosts)
    if not devices.is_chief:
        announce = _say_nothing
    with devices.exiting_without_barrier_on_error():
        settings, dataset, run_dir = devices.call_on_all_hosts(
            lambda: _prepared(settings, devices, announce)
        )
        with devices.scope():
            setup = make_setup(settings, dataset, devices.batch_share, announce)
            devices.check_batch(setup.batches.batch_size)
            devices.synchronize_normalization(setup.model)

        with locked(run_dir) if devices.is_chief else contextlib.nullcontext():
            summary = _trained(settings, dataset, setup, run_dir, devices, started, announce)
    return run_dir, summary


def _say_nothing(line):
    pass


def _prepared(settings, devices, announce):
    """Returns settings, data and folder of a run, after checking that it can start or resume."""
    settings = dataclasses.replace(settings, **with_own_code(settings))
    if settings.resume is not None:
        check_settings(settings, read_config(settings.resume))
    model = known_model(settings)
    _check_network(settings, model)
    if settings.resume is None and settings.run_dir is not None and devices.is_chief:
        check_run_dir(settings.run_dir)
    dataset = load_dataset(**settings.load_options(), announce=announce)
    if model is None:
        _check_network(settings, default_model(min(dataset.image_shape[:2])))
    settings = with_model(settings, dataset.image_shape)
    run_dir = Path(settings.resume or settings.run_dir or default_run_dir(settings, dataset.name))
    settings = with_defaults(settings, dataset)
    if settings.resume is None and devices.is_chief:
        check_run_dir(run_dir)
    return settings, dataset, run_dir


def _check_network(settings, model):
    """Checks a network, and says of one that is not named why it is taken."""
    try:
        check_network(dataclasses.replace(settings, model=model))
    except UserError as error:
        # what is wrong with attention does not depend on the network
        if settings.model or not model or model not in str(error).lower():
            raise
        raise UserError(f"{error} (without --model, images of this size get {model})") from error


def _trained(settings, dataset, setup, run_dir, devices, started, announce):
    """Trains and evaluates; returns the summary, or `None` on hosts other than the chief."""
    with _adding_resume_hints(run_dir, is_new=settings.resume is None):
        state = {
            "config": settings.config(),
            "data": dataset.fingerprint(),
            "environment": environment(setup.source.packages),
        }
        devices.check_same(state)
        if settings.resume is None and devices.is_chief:
            create_run_dir(run_dir, settings)
        announce(describe(settings, dataset, setup, run_dir))
        hint = hint_of_size(settings, min(dataset.image_shape[:2]))
        if hint:
            announce(hint)
        with open_logs(settings, run_dir, devices.is_chief, announce) as logs:
            with devices.scope(), devices.detecting_lost_hosts():
                progress = fit(settings, setup, run_dir, state, devices, started, logs, announce)
            if not devices.is_chief:
                return None
            summary = _tested(settings, dataset, setup, run_dir, progress, state["data"])
            for log in logs:
                log.log_summary(summary)
    return summary


def _tested(settings, dataset, setup, run_dir, progress, fingerprint):
    """Evaluates the best network on the test set; writes and returns the summary."""
    network = in_precision(load_model(run_dir / "best.keras"), settings.precision)
    test = evaluate(network, dataset)
    if not math.isfinite(test.loss):
        raise RunError(
            f"the loss on the test set is {test.loss} with the network of epoch "
            f"{progress.best_epoch}: the training has diverged"
        )
    write_predictions(run_dir, test.predictions)
    summary = summarize(settings, setup.params, progress, test, fingerprint)
    write_json(run_dir / SUMMARY, summary)
    return summary


@contextlib.contextmanager
def _adding_resume_hints(run_dir, is_new):
    """A context that adds to its errors what is kept, and how to resume the run.

    What is wrong with a run that is resumed would be wrong again.
    """
    hint = f"resume with: python main.py train --resume {shell_word(run_dir)}"
    try:
        yield
    except Interrupted as error:
        raise Interrupted(f"stopped; {hint}", error.signum) from None
    except UserError as error:
        if not (is_new and (run_dir / "config.json").exists()):
            raise
        raise UserError(f"{error}; then {hint}") from error
    except RunError as error:
        raise RunError(f"{error}; what was written to {run_dir} before is kept") from error
    except OSError as error:
        if not run_dir.exists():
            raise RunError(f"{run_dir} was removed while the run wrote to it") from error
        reason = error.strerror or error
        raise RunError(
            f"{run_dir} cannot be written to: {reason}; what was written before is kept; {hint}"
        ) from error


def summarize(
    settings: TrainSettings, params: int, progress: Progress, test: Evaluation, fingerprint: str
) -> dict[str, Any]:
    """Returns the content of `summary.json`: the result of a run, and how it was obtained.

    Args:
        settings: a `TrainSettings` with its defaults filled in.
        params: int, the network's parameters.
        progress: the `Progress` at the end of the training.
        test: an `Evaluation` of the best network.
        fingerprint: string, of the data, as `Dataset.fingerprint` returns it.
    """
    rows = progress.history
    return {
        "test_accuracy": test.accuracy,
        "test_loss": test.loss,
        "best_val_accuracy": (progress.best or {}).get("val_accuracy"),
        "best_epoch": progress.best_epoch,
        "params": params,
        "epochs": progress.epoch,
        # without the first epoch, which includes the compilation
        "images_per_second": statistics.median(
            row["images_per_second"] for row in rows[1:] or rows
        ),
        "devices": settings.devices * settings.hosts,
        "precision": settings.precision,
        "seconds": progress.seconds,
        "seed": settings.seed,
        "dataset": settings.dataset,
        "data": fingerprint,
        "model": settings.model,
        "depth": settings.depth,
        "attention": str(settings.attention_spec),
        "class_names": list(test.class_names),
        "versions": versions(),
        **provenance(),
    }


def with_defaults(settings: TrainSettings, dataset: Dataset) -> TrainSettings:
    """Fills in the settings whose defaults depend on other settings, on the data or the backend.

    Raises:
        UserError: a setting is given that does not apply to data of this kind.
    """
    source = image_source(dataset)
    refuse_settings_of_others(settings, source)
    _check_patience(settings)
    if settings.resume is None:
        _check_augmentation(settings, min(dataset.image_shape[:2]))
    settings = with_model(settings, dataset.image_shape)
    if (settings.init or settings.weights == "imagenet") and settings.resume is None:
        settings = with_identity_start(settings)
    depth = settings.depth
    if depth is None:
        parameter = inspect.signature(architecture(settings.model)).parameters.get("depth")
        depth = parameter.default if parameter else None
    of_data = source.data_defaults(settings)
    chosen = of_data.get("batch_size") if settings.batch_size is None else None
    return dataclasses.replace(
        settings,
        dataset=dataset.name,
        # a run can be evaluated from another folder than that it was started from
        data_dir=settings.data_dir and os.path.abspath(settings.data_dir),
        depth=depth,  # type: ignore[call-arg]  # a field made from the architectures' options
        init=settings.init and os.path.abspath(settings.init),
        backend=keras.backend.backend(),
        precision=precision_of_network(settings, settings.precision)[0],
        learning_rate=settings.learning_rate or default_learning_rate(settings.optimizer, chosen),
        **of_data,
    )


def _check_patience(settings):
    if settings.patience is not None and not settings.validation_split:
        raise UserError("patience needs images to validate on; give a --validation-split above 0")


def _check_augmentation(settings, side):
    """Refuses a crop or a cutout that could leave nothing of an image."""
    for name in ("crop_padding", "cutout"):
        value = getattr(settings, name)
        if value is not None and value >= side:
            raise UserError(
                f"{name} must be less than the {side} pixels of an image; received {value}"
            )


def describe(settings: TrainSettings, dataset: Dataset, setup: Setup, run_dir: Path) -> str:
    """Returns the lines that a run prints first: network, data, epochs, backend and folder."""
    depth = "" if settings.depth is None else f", depth {settings.depth}"
    attention = str(settings.attention_spec)
    if not settings.attention_spec.is_none:
        attention += f" at {', '.join(settings.attention_at)}"
    validation = len(setup.validation.indices) if setup.validation else 0
    device = f"{keras.backend.backend()}{_shared(settings)}"
    epochs = "epoch" if settings.epochs == 1 else "epochs"
    return (
        f"{settings.model}{depth}, attention {attention}, {setup.params:,} parameters\n"
        f"{dataset.name}: {len(setup.batches.indices):,} training, {validation:,} validation, "
        f"{len(dataset.x_test):,} test images\n"
        f"{_learning(settings, setup)}{settings.epochs} {epochs} on {device} in "
        f"{_precision(settings)}, writing to {run_dir}"
    )


def _learning(settings, setup):
    """A line about what is not learned like everything else, or an empty string."""
    parts = [] if settings.recipe == DEFAULT_RECIPE else [f"recipe {settings.recipe}"]
    if setup.frozen:
        count = trainable_params(setup.network)
        until = f" before epoch {settings.unfreeze_after + 1}" if settings.unfreeze_after else ""
        parts.append(f"{count:,} parameters learn, and {len(setup.frozen)} layers do not{until}")
    if saved_frozen := _saved_frozen(setup):
        first = ", ".join(saved_frozen[:3]) + (", ..." if len(saved_frozen) > 3 else "")
        parts.append(f"layers that were saved frozen stay frozen: {len(saved_frozen)} ({first})")
    if settings.backbone_rate != 1:
        parts.append(f"the backbone learns at {settings.backbone_rate:g} times the rate")
    if settings.attention_rate != 1 and not settings.attention_spec.is_none:
        parts.append(f"attention learns at {settings.attention_rate:g} times the rate")
    return f"{'; '.join(parts)}\n" if parts else ""


def _saved_frozen(setup):
    """Paths of layers that the user's own file keeps from learning."""
    return [
        path
        for path, layer in layers_by_path(setup.network).items()
        if layer.weights and not layer.trainable and layer not in setup.frozen
    ]


def _precision(settings):
    chosen, why = precision_of_network(settings, AUTO)
    return f"{chosen} ({why})" if settings.precision == chosen else settings.precision


def _shared(settings):
    count = settings.devices * settings.hosts
    if count == 1:
        return ""
    hosts = f" of {settings.hosts} hosts" if settings.hosts > 1 else ""
    return f", {count} devices{hosts} with {settings.batch_size // count} images of a batch each"
