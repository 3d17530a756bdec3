"""The folder of a run: made once, filled epoch by epoch, every file whole at any instant."""

import contextlib
import csv
import math
from pathlib import Path

import filelock

from ..config.settings import TrainSettings
from ..data.datasets import load_dataset
from ..system.errors import UserError
from ..system.files import read_json, write_json

LOCK = "lock"
DATA_SETTINGS = ("dataset", "data_dir", "image_size", "corrupt")


def default_run_dir(settings, dataset_name):
    """Returns the folder that a run goes to when none is named, below `runs/`."""
    parts = [dataset_name, network_name(settings), settings.attention, f"seed{settings.seed}"]
    return Path("runs") / "-".join(parts)


def network_name(settings):
    """Returns what `ArchitectureSettings` say, such as `resnet_v1-20`, for the name of a folder."""
    options = settings.architecture_options()
    depth = [str(options.pop("depth"))] if "depth" in options else []
    others = [f"{name}{value}" for name, value in options.items()]
    return "-".join([settings.model, *depth, *others])


def check_run_dir(path):
    """Refuses a folder that a new run could not have to itself.

    Raises:
        UserError: it holds a run or anything else, or is no folder.
    """
    path = Path(path)
    if (path / "config.json").exists():
        raise UserError(
            f"{path} already holds a run; go on with it by --resume {path}, name another folder "
            "with --run-dir, or remove this one"
        )
    if path.exists() and not path.is_dir():
        raise UserError(f"{path} is no folder; name another with --run-dir")
    if path.is_dir() and any(entry.name != LOCK for entry in path.iterdir()):
        raise UserError(f"{path} is not empty; name another folder with --run-dir")


def create_run_dir(path, settings):
    """Writes the `config.json` of a new run into its folder, which `locked` has made.

    Args:
        path: path of the folder.
        settings: `TrainSettings` with every default filled in.
    """
    check_run_dir(path)
    write_json(path / "config.json", settings.config())


@contextlib.contextmanager
def locked(path):
    """Makes the folder of a run if it is not there, and keeps every other process out of it.

    The lock file holds the process number and the host; one whose process is gone is taken over.

    Raises:
        UserError: another process has it, or it cannot be made.
    """
    path = Path(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{path} cannot be made: {error.strerror}") from None
    lock = filelock.SoftFileLock(path / LOCK, timeout=1, poll_interval=0.1)
    try:
        lock.acquire()
    except filelock.Timeout:
        pid, host = [*(path / LOCK).read_text().split(), "?", "?"][:2]
        raise UserError(
            f"{path} is in use by process {pid} on {host}; wait for it, or, if it is gone, remove "
            f"{path / LOCK}"
        ) from None
    except OSError as error:
        raise UserError(f"{path} cannot be written to: {error.strerror}") from None
    try:
        yield
    finally:
        lock.release()
        if not any(path.iterdir()):
            path.rmdir()


def read_metrics(path):
    """Reads the `metrics.csv` of a run's folder, which may hold anything.

    Returns:
        A list of dictionaries from the columns' names to finite floats, one per epoch.

    Raises:
        UserError: there is no such file, or it holds something else.
    """
    path = Path(path) / "metrics.csv"
    try:
        with open(path, newline="", encoding="utf-8") as file:
            rows = [
                {name: float(value) for name, value in row.items()}
                for row in csv.DictReader(file, restkey="more than columns")
            ]
        if not rows or not all(map(math.isfinite, (v for row in rows for v in row.values()))):
            raise ValueError("an epoch or a finite number is missing")
    except (OSError, ValueError, TypeError, csv.Error) as error:
        raise UserError(f"{path} does not hold the epochs of a run: {error}") from None
    return rows


def load_run_dataset(config, data_dir=None, announce=print, download=True):
    """Loads the data set of a run.

    Args:
        config: dictionary, what `read_config` returns.
        data_dir: path of the folder with the data; the run's own by default.
        announce: function that takes a line of text.
        download: bool, whether to download what is not on this machine. Defaults to `True`.

    Returns:
        A `Dataset`.

    Raises:
        UserError: it cannot be had.
    """
    return load_dataset(
        config["dataset"],
        data_dir or config.get("data_dir"),
        announce,
        config.get("image_size"),
        config.get("corrupt"),
        download,
    )


def read_config(run):
    """Reads the `config.json` of a run folder.

    Raises:
        UserError: the folder is no run, or the file says nothing usable about its data.
    """
    path = Path(run) / "config.json"
    if not path.is_file():
        raise UserError(f"{run} is no run folder: it has no config.json")
    config = read_json(path)
    if not isinstance(config, dict) or "dataset" not in config:
        raise UserError(f"{path} is not the configuration of a run")
    try:
        TrainSettings(**{name: config[name] for name in DATA_SETTINGS if name in config})
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    return config


def read_class_names(run, count):
    """Reads what a run calls its classes, for where its data set is not at hand.

    Args:
        run: path of a run folder.
        count: int, how many classes there are.

    Returns:
        A tuple of strings; numbers where the run has not ended, or says nothing usable.
    """
    path = Path(run) / "summary.json"
    summary = read_json(path) if path.is_file() else {}
    names = summary.get("class_names") if isinstance(summary, dict) else None
    if isinstance(names, list) and len(names) == len(set(map(str, names))) == count:
        return tuple(map(str, names))
    return tuple(f"class {n}" for n in range(count))
