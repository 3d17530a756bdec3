"""Whether a run can go on as if it had never stopped: same settings, data and environment."""

import importlib.metadata
import json

from ..config.settings import TrainSettings
from ..system.backend import device, threads, versions
from ..system.errors import UserError

# settings that may change freely, and those that may with --force
FREE = {"checkpoint_every", "data_dir", "tensorboard", "workers"}
FORCED = {"epochs", "backend", "devices", "hosts"}


def environment(packages=()):
    """Returns what the last bits of a result depend on beside settings and data.

    Args:
        packages: names of packages that have a part in it and need not be installed.
    """
    import keras

    from models.fast import is_switched_on

    installed = {name: _version(name) for name in packages}
    found = {**versions(), **installed, "device": device(), "threads": threads()}
    if keras.backend.backend() == "tensorflow":  # no other has fast forms
        found["fast_forms"] = is_switched_on()
    return found


def _version(package):
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def check_settings(settings, config):
    """Refuses to go on with other settings than a run was begun with.

    Args:
        settings: a `TrainSettings`.
        config: dictionary, the run's `config.json`.

    Raises:
        UserError: settings differ that cannot, or only with `--force`.
    """
    changed = changed_settings(config, settings.config())
    _refuse_others(settings.resume, changed)
    _refuse_unless(settings.force, settings.resume, changed)


def check_state(settings, state, now):
    """Refuses to go on from a checkpoint that was written in other circumstances.

    Args:
        settings: a `TrainSettings`.
        state: dictionary, of a `Checkpoint`.
        now: dictionary, what `state` would be if it were written now.

    Raises:
        UserError: settings or data differ, the environment differs and `force` is not set, or there
            are more finished epochs than `settings.epochs`.
    """
    run = settings.resume
    _refuse_others(run, changed_settings(state["config"], now["config"]))
    if state["data"] != now["data"]:
        raise UserError(f"{run} cannot go on with other data: the images or labels have changed")
    environment = state["environment"]
    if "fast_forms" in now["environment"]:  # older runs had them and do not say so
        environment = {"fast_forms": True, **environment}
    _refuse_unless(settings.force, run, _differences(environment, now["environment"]))
    finished = state["progress"]["epoch"]
    if finished > settings.epochs:
        raise UserError(f"{run} has {finished} epochs, more than --epochs {settings.epochs}")


def changed_settings(config, now):
    """Compares settings, except those that make no difference to a result.

    Args:
        config: dictionary, the `config.json` of a run.
        now: dictionary, what a `TrainSettings` has as `config()`.

    Returns:
        A dictionary from the names of the settings that differ to a text that says how.
    """
    now = json.loads(json.dumps(now))
    now = {name: value for name, value in now.items() if name not in FREE}
    # a setting that a run of an older version does not know has its default
    before = {**json.loads(json.dumps(TrainSettings().config())), **config}
    return _differences({name: before[name] for name in now}, now)


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
            f"{run} cannot go on with other settings: {', '.join(others)}; leave them out, or "
            "begin another run with --run-dir"
        )


def _refuse_unless(force, run, changed):
    if changed and not force:
        raise UserError(
            f"{run} would not go on exactly as it was: {', '.join(changed.values())}; "
            "--force goes on all the same"
        )
