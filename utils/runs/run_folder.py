"""The folder of a run: created once, filled epoch by epoch, every file complete at any instant."""

import contextlib
import csv
import dataclasses
import math
import stat
import time
from collections.abc import Callable, Iterator, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import filelock

from ..config.settings import DataSettings, TrainSettings
from ..data.dataset import Dataset
from ..data.datasets import load_dataset
from ..data.images.class_folders import MOST_NAMED
from ..system.errors import UserError
from ..system.files import read_json, write_json
from ..system.terminal import shell_word
from .own_code import import_own_code

LOCK = "lock"
SUMMARY = "summary.json"  # of a finished run
LARGEST_LOCK = 2**10  # bytes; a number and the name of a host take less than 300
SECONDS_TO_RECORD = 0.5  # within which a process has written into the lock that it created


def check_run_dir(path: str | PathLike[str]) -> None:
    """Checks that a new run can be written to a folder, which need not exist.

    Args:
        path: path of the folder.

    Raises:
        UserError: it holds a run or any other file, or is not a folder.
    """
    path = Path(path)
    if (path / "config.json").exists():
        raise UserError(
            f"{path} already holds a run; resume it with --resume {shell_word(path)}, or name "
            "another folder with --run-dir"
        )
    if (path / SUMMARY).exists():
        raise UserError(
            f"{path} holds results without their config.json, so they can be neither compared nor "
            "resumed; name another folder with --run-dir"
        )
    if path.exists() and not path.is_dir():
        raise UserError(f"{path} is not a folder; name another with --run-dir")
    if path.is_dir() and any(entry.name != LOCK for entry in path.iterdir()):
        raise UserError(f"{path} is not empty; name another folder with --run-dir")


def create_run_dir(path: Path, settings: TrainSettings) -> None:
    """Writes the `config.json` of a new run into its folder, which `locked` has created.

    Args:
        path: path of the folder.
        settings: a `TrainSettings` with its defaults filled in.

    Raises:
        UserError: as `check_run_dir`.
    """
    check_run_dir(path)
    write_json(path / "config.json", settings.config())


@contextlib.contextmanager
def locked(path: str | PathLike[str]) -> Iterator[None]:
    """A context in which this process alone writes to the folder of a run.

    It creates the folder if needed, and removes it at the end if nothing was written. The lock file
    holds the number of the process and the name of the host; a lock is broken if its process has
    ended, or if it holds no such record, as after a power failure.

    Args:
        path: path of the folder.

    Raises:
        UserError: another process holds the lock, or the folder cannot be created or written to.
    """
    path = Path(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{path} cannot be created: {error.strerror}") from None
    lock = filelock.SoftFileLock(path / LOCK, timeout=1, poll_interval=0.1)
    try:
        _remove_without_record(path / LOCK)
        lock.acquire()
    except filelock.Timeout:
        holder = _holder(path / LOCK)
        pid, host = holder or ("?", "?")  # it has ended just now
        raise UserError(
            f"{path} is in use by process {pid} on {host}; wait until it ends, or, if it no longer "
            f"runs, remove {shell_word(path / LOCK)}"
        ) from None
    except IsADirectoryError:
        raise UserError(f"{path / LOCK} is a folder; remove it") from None
    except OSError as error:
        raise UserError(f"{path} cannot be written to: {error.strerror}") from None
    try:
        yield
    finally:
        lock.release()
        # someone may have removed it while it was in use
        if path.exists() and not any(path.iterdir()):
            path.rmdir()


def _holder(lock: Path) -> tuple[str, str] | None:
    """Returns the process and the host that a lock file records, or `None`.

    Anything can be in its place: a pipe is not read, and neither is all of a large file.
    """
    try:
        if not stat.S_ISREG(lock.lstat().st_mode):
            return None
        with open(lock, "rb") as file:
            record = file.read(LARGEST_LOCK + 1).decode()
    except (FileNotFoundError, UnicodeDecodeError):
        return None
    words = record.split()
    # without the end of its last line, a record is not complete
    complete = len(record) <= LARGEST_LOCK and record.endswith("\n") and len(words) >= 2
    return (words[0], words[1]) if complete and words[0].isdecimal() else None


def _remove_without_record(lock: Path) -> None:
    """Removes what is in a lock's place and records no process; its own process may still do so."""
    try:
        before = lock.lstat()
        if _holder(lock) is not None:
            return
        time.sleep(SECONDS_TO_RECORD)
        now = lock.lstat()
    except FileNotFoundError:
        return
    unchanged = (before.st_ino, before.st_mtime_ns) == (now.st_ino, now.st_mtime_ns)
    if unchanged and not stat.S_ISDIR(now.st_mode):
        lock.unlink(missing_ok=True)


def read_metrics(path: str | PathLike[str]) -> list[dict[str, float]]:
    """Reads and checks the `metrics.csv` of a run's folder.

    Args:
        path: path of the run's folder.

    Returns:
        A list of dictionaries from the columns' names to finite floats, one per epoch.

    Raises:
        UserError: the file is missing, or does not hold the metrics of at least one epoch.
    """
    path = Path(path) / "metrics.csv"
    try:
        with open(path, newline="", encoding="utf-8") as file:
            rows = [
                {name: float(value) for name, value in row.items()}
                for row in csv.DictReader(file, restkey="more than columns")
            ]
        if not rows or not all(map(math.isfinite, (v for row in rows for v in row.values()))):
            raise ValueError("it has no epoch, or a value that is not finite")
    except (OSError, ValueError, TypeError, csv.Error) as error:
        raise UserError(f"{path} does not hold the metrics of a run: {error}") from None
    return rows


def load_run_dataset(
    run: str | PathLike[str],
    config: dict[str, Any],
    data_dir: str | PathLike[str] | None = None,
    announce: Callable[[str], object] = print,
    download: bool = True,
) -> Dataset:
    """Loads the data set of a run.

    Args:
        run: path of the run's folder.
        config: dictionary, what `read_config` returns.
        data_dir: path of the folder with the data. Defaults to the run's own.
        announce: function that takes a line of text. Defaults to `print`.
        download: bool, whether to download what is not on this machine. Defaults to `True`.

    Returns:
        A `Dataset`.

    Raises:
        UserError: the data set cannot be found, downloaded or read, or has other classes than the
            run was trained on.
    """
    settings = _data_settings(config)
    if data_dir is not None:
        settings = dataclasses.replace(settings, data_dir=str(data_dir))
    dataset = load_dataset(**settings.load_options(), announce=announce, download=download)
    names = recorded_class_names(run)
    if names not in (None, dataset.class_names):
        how = difference_of_classes(names, dataset.class_names)
        raise UserError(f"{run} was trained on other classes than {dataset.name} has: {how}")
    return dataset


def read_config(run: str | PathLike[str]) -> dict[str, Any]:
    """Reads the `config.json` of a run, and checks its settings of the data.

    Args:
        run: path of the run's folder.

    Returns:
        A dictionary from the names of settings to their values.

    Raises:
        UserError: the folder is not that of a run, or a setting of the data is missing or not
            valid.
    """
    path = Path(run) / "config.json"
    if not path.is_file():
        raise UserError(f"{run} is not the folder of a run: it has no config.json")
    config = read_json(path)
    if not isinstance(config, dict) or "dataset" not in config:
        raise UserError(f"{path} is not the configuration of a run")
    try:
        _data_settings(config)
        import_own_code(config, run)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    return config


def _data_settings(config):
    names = [field.name for field in dataclasses.fields(DataSettings)]
    return DataSettings(**{name: config[name] for name in names if name in config})


def read_summary(run: str | PathLike[str]) -> dict[str, Any]:
    """Reads the `summary.json` of a run.

    Args:
        run: path of the run's folder.

    Returns:
        A dictionary, empty if the run is not finished or its summary is none.
    """
    path = Path(run) / SUMMARY
    summary = read_json(path) if path.is_file() else {}
    return summary if isinstance(summary, dict) else {}


def read_class_names(run: str | PathLike[str], count: int) -> tuple[str, ...]:
    """Reads the names of a run's classes without its data set, from `summary.json`.

    Args:
        run: path of the run's folder.
        count: int, number of classes.

    Returns:
        A tuple of `count` different strings: `"class 0"`, `"class 1"` and so on if the run is not
        finished, or its summary does not hold such names.
    """
    names = recorded_class_names(run)
    return names if names and len(names) == count else numbered_class_names(count)


def recorded_class_names(run: str | PathLike[str]) -> tuple[str, ...] | None:
    """Returns the names of a run's classes that its `summary.json` has.

    Args:
        run: path of the run's folder.

    Returns:
        A tuple of different strings, or `None` if the run is not finished, or its summary does not
        hold such names.
    """
    names = read_summary(run).get("class_names")
    if isinstance(names, list) and len(names) == len(set(map(str, names))):
        return tuple(map(str, names))
    return None


def difference_of_classes(names: Sequence[str], others: Sequence[str]) -> str:
    """Returns in words how the names of two runs' or data sets' classes differ."""
    different = sorted(set(names) ^ set(others))[:MOST_NAMED]
    return f"only one has {', '.join(different)}" if different else "they differ in their order"


def numbered_class_names(count: int) -> tuple[str, ...]:
    """Returns names for classes that have none: `"class 0"`, `"class 1"` and so on."""
    return tuple(f"class {n}" for n in range(count))
