"""Whether a run can go on as if it had never stopped: same settings, data and environment."""

import json

from .backend import device, threads, versions
from .errors import UserError

# settings that may change freely, and those that may with --force
FREE = {"checkpoint_every", "data_dir", "tensorboard"}
FORCED = {"epochs", "backend"}


def environment():
    """Returns what the last bits of a result depend on beside settings and data."""
    return {**versions(), "device": device(), "threads": threads()}


def check_settings(run, settings, config):
    """Refuses to go on with other settings than a run was begun with.

    Args:
        run: path of the run's folder.
        settings: a `TrainSettings`.
        config: dictionary, the run's `config.json`.

    Raises:
        UserError: settings differ that cannot, or only with `--force`.
    """
    now = json.loads(json.dumps(settings.config()))
    now = {name: value for name, value in now.items() if name not in FREE}
    # a setting that a run of an older version does not know has its default
    changed = _differences({name: config.get(name, value) for name, value in now.items()}, now)
    fixed = {name: text for name, text in changed.items() if name not in FORCED}
    if fixed:
        raise UserError(
            f"{run} cannot go on with other settings: {', '.join(fixed.values())}; leave them out, "
            "or begin another run with --run-dir"
        )
    _refuse_unless(settings.force, run, changed)


def check_state(settings, state, now):
    """Refuses to go on from a checkpoint that was written in other circumstances.

    Args:
        settings: a `TrainSettings`.
        state: dictionary, of a `Checkpoint`.
        now: dictionary, what `state` would be if it were written now.

    Raises:
        UserError: the data differ, the environment differs and `force` is not set, or there are
            more finished epochs than `settings.epochs`.
    """
    run = settings.resume
    if state["data"] != now["data"]:
        raise UserError(f"{run} cannot go on with other data: the images or labels have changed")
    _refuse_unless(settings.force, run, _differences(state["environment"], now["environment"]))
    finished = state["progress"]["epoch"]
    if finished > settings.epochs:
        raise UserError(f"{run} has {finished} epochs, more than --epochs {settings.epochs}")


def _differences(before, now):
    names = sorted(before.keys() | now.keys())
    pairs = {name: (before.get(name), now.get(name)) for name in names}
    return {
        name: f"{name} was {json.dumps(old)}, is {json.dumps(new)}"
        for name, (old, new) in pairs.items()
        if old != new
    }


def _refuse_unless(force, run, changed):
    if changed and not force:
        raise UserError(
            f"{run} would not go on exactly as it was: {', '.join(changed.values())}; "
            "--force goes on all the same"
        )
