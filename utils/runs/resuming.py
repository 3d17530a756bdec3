"""Checks that a resumed run continues exactly: same settings, data and environment."""

import importlib.metadata
import json
from collections.abc import Iterable, Mapping
from typing import Any

from models.specification import absolute_reference

from ..config.default_model import FOR_SMALL
from ..config.fields import option_names
from ..config.settings import TrainSettings
from ..system.backend import device, on_accelerator, threads, versions
from ..system.backend_precision import bfloat16_units
from ..system.errors import UserError
from ..system.terminal import shell_word

# settings that may always change, and those that may change with --force
FREE = {"checkpoint_every", "data_dir", "log", "tensorboard", "workers"}
FORCED = {"epochs", "backend", "devices", "hosts"}


def environment(packages: Iterable[str] = ()) -> dict[str, Any]:
    """Returns what the last bits of a result depend on besides settings and data.

    Args:
        packages: names of optional packages that the result depends on too.

    Returns:
        A dictionary: versions, device, its units for bfloat16, number of threads.
    """
    import keras

    from models.fast import is_switched_on

    installed = {name: _version(name) for name in packages}
    found = {**versions(), **installed, "device": device(), "threads": threads()}
    if not on_accelerator():
        found["bfloat16_units"] = bfloat16_units()
    if keras.backend.backend() == "tensorflow":  # no other has fast forms
        found["fast_forms"] = is_switched_on()
    return found


def _version(package):
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def check_settings(settings: TrainSettings, config: Mapping[str, Any]) -> None:
    """Checks that a run is resumed with the settings that it was started with.

    Args:
        settings: a `TrainSettings`.
        config: dictionary, the run's `config.json`.

    Raises:
        UserError: a setting differs that may not change, or only with `--force`.
    """
    changed = changed_settings(config, settings.config())
    _refuse_others(settings.resume, changed)
    _refuse_unless(settings.force, settings.resume, changed)


def check_state(settings: TrainSettings, state: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Checks that a checkpoint was written with the same settings, data and environment.

    Args:
        settings: a `TrainSettings`.
        state: dictionary, of a `Checkpoint`.
        now: dictionary, the `state` that a checkpoint would get now.

    Raises:
        UserError: settings or data differ, the environment differs without `force`, or more epochs
            are finished than `settings.epochs`.
    """
    run = settings.resume
    _refuse_others(run, changed_settings(state["config"], now["config"]))
    if state["data"] != now["data"]:
        raise UserError(
            f"{run} cannot be resumed with other data: images or labels have changed; start "
            f"another run from its weights: --init {shell_word(run or 'RUN')}"
        )
    environment = state["environment"]
    if "fast_forms" in now["environment"]:  # older runs had them and do not say so
        environment = {"fast_forms": True, **environment}
    if "bfloat16_units" not in environment:  # of an older run, which was in float32 if not told
        now = {**now, "environment": {**now["environment"]}}
        now["environment"].pop("bfloat16_units", None)
    _refuse_unless(settings.force, run, _differences(environment, now["environment"]))
    finished = state["progress"]["epoch"]
    if finished > settings.epochs:
        raise UserError(f"{run} has {finished} epochs, more than --epochs {settings.epochs}")


def changed_settings(config: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, str]:
    """Compares settings, except those that do not affect the result.

    Args:
        config: dictionary, the `config.json` of a run.
        now: dictionary, what a `TrainSettings` has as `config()`.

    Returns:
        A dictionary from the names of the settings that differ to a text that says how.
    """
    now = _comparable(now)
    now = {name: value for name, value in now.items() if name not in FREE}
    # a setting that an older version did not have had its default's effect
    before = _comparable({**TrainSettings().config(), "model": FOR_SMALL, **config})
    return _differences({name: before.get(name) for name in now}, now)


def _comparable(config):
    """A configuration as JSON holds it, with the attention module and its options as one text.

    A file of the user's own may be named by a path from the current folder, as in `results/`.
    """
    config = json.loads(json.dumps(config))
    names = ["attention", *option_names(TrainSettings, "attention")]
    own = {name: config.pop(name) for name in names if name in config}
    try:
        spec = TrainSettings(**own).attention_spec.with_absolute_path()
    except UserError:  # from a version with other options: compared as they are
        return {**config, **own}
    code = config.get("code")
    if isinstance(code, dict):
        code = {absolute_reference(name): checksum for name, checksum in code.items()}
    return {**config, "attention": str(spec), "code": code}


def _differences(before, now):
    names = sorted(before.keys() | now.keys())
    pairs = {name: (before.get(name), now.get(name)) for name in names}
    return {
        name: f"{name} was {json.dumps(old)}, is {json.dumps(new)}"
        for name, (old, new) in pairs.items()
        if old != new
    }


def _refuse_others(run, changed):
    others = [text for name, text in changed.items() if name not in FORCED]
    if others:
        raise UserError(
            f"{run} cannot be resumed with other settings: {', '.join(others)}; leave them out, or "
            f"start another run from its weights: --init {shell_word(run or 'RUN')}"
        )


def _refuse_unless(force, run, changed):
    if changed and not force:
        command = f"python main.py train --resume {shell_word(run or 'RUN')} --force"
        raise UserError(
            f"{run} would not continue exactly: {', '.join(changed.values())}; '{command}' resumes "
            "it all the same"
        )
