"""Trains the missing runs of a comparison, several at once, on this machine or a Ray cluster."""

import contextlib
import functools
import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from ..system.errors import Interrupted, UserError
from ..system.files import read_json, write_json
from ..system.processes import how_it_ended, last_line, run_processes
from .log_follower import LogFollower
from .planning import PlannedRun
from .ray_cluster import run_on_ray

MAIN = Path(__file__).parent.parent.parent / "main.py"
LOGS = "logs"
CONFIGS = ".configs"  # folder of the settings that the processes read
JOBS = "jobs.json"
# processes can share an accelerator only if none of them reserves all of its memory
SHARED_DEVICE = {"TF_FORCE_GPU_ALLOW_GROWTH": "true", "XLA_PYTHON_CLIENT_PREALLOCATE": "false"}


def train_missing(
    runs: Sequence[PlannedRun],
    run_dir: Path,
    jobs: int,
    ray: str | None = None,
    announce: Callable[[str], None] = print,
) -> list[str]:
    """Trains runs, each in its own process, and resumes those that have begun.

    Args:
        runs: list of `PlannedRun`s.
        run_dir: path of the comparison's folder; the output of the processes goes to `logs/` in it.
        jobs: int, how many runs to train at once.
        ray: string, address of a Ray cluster to train on. Defaults to this machine.
        announce: function that takes a line of text. Defaults to `print`.

    Returns:
        A list of the names of the runs that failed.

    Raises:
        Interrupted: SIGINT or SIGTERM. The runs have saved checkpoints.
    """
    by_name = {run.name: run for run in runs}
    logs = run_dir / LOGS
    run_all = run_processes if ray is None else functools.partial(run_on_ray, ray)
    # other jobs of a cluster are unknown, so speeds there never count as measured alone
    at_once = min(jobs, len(runs)) if ray is None else max(jobs, 2)
    ended, failed = [], []

    def on_start(name: str) -> None:
        logs.mkdir(exist_ok=True)
        record_jobs(run_dir, by_name[name], at_once)
        announce(f"{name}: training; its output goes to {logs / name}.txt")

    def on_end(name: str, code: int) -> None:
        ended.append(name)
        log = logs / f"{name}.txt"
        line = last_line(log) if code == 0 else f"FAILED: {how_it_ended(code, log)}"
        announce(f"{name} ({len(ended)}/{len(runs)}): {line}")
        if code != 0:
            failed.append(name)

    if not runs:
        return failed
    environment = {**(SHARED_DEVICE if jobs > 1 else {}), **os.environ}
    with _temporary_folder(run_dir / CONFIGS) as configs:
        commands = {name: _command(run, configs) for name, run in by_name.items()}
        try:
            with LogFollower(logs, {run.name: run.epochs_left() for run in runs}, announce):
                run_all(commands, jobs, logs, on_start, on_end, environment)
        except Interrupted as stop:
            message = "stopped; run the same command again to continue"
            raise Interrupted(message, stop.signum) from None
    return failed


@contextlib.contextmanager
def _temporary_folder(path: Path) -> Iterator[Path]:
    """A context with a folder that every machine of a cluster sees, as it has a fixed place."""
    shutil.rmtree(path, ignore_errors=True)  # of a comparison that was killed
    path.mkdir()
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def _command(run: PlannedRun, configs: Path) -> list[str]:
    config = configs / f"{run.name}.json"
    config.write_text(json.dumps(run.settings.config()))
    option = "--resume" if run.is_begun() else "--run-dir"
    # -u: stdout and stderr reach the log in order, so that an error is its last line
    words = ["-u", MAIN, "train", "--config", config, option, run.folder]
    return [sys.executable, *map(str, words)]


def record_jobs(run_dir: Path, run: PlannedRun, jobs: int) -> None:
    """Records how many runs are trained at once while a run is: only alone is its speed its own.

    A run that is resumed keeps the largest number.

    Args:
        run_dir: path of the comparison's folder.
        run: a `PlannedRun`.
        jobs: int.
    """
    recorded = read_jobs(run_dir)
    previous = recorded.get(run.name, 1) if run.is_begun() else 1
    write_json(run_dir / JOBS, {**recorded, run.name: max(previous, jobs)})


def read_jobs(run_dir: Path) -> dict[str, int]:
    """Reads what `record_jobs` recorded.

    Args:
        run_dir: path of the comparison's folder.

    Returns:
        A dictionary from the runs' names to ints; empty if nothing was recorded.

    Raises:
        UserError: the file is damaged.
    """
    path = run_dir / JOBS
    recorded = read_json(path) if path.exists() else {}
    if not isinstance(recorded, dict) or not all(type(n) is int for n in recorded.values()):
        raise UserError(f"{path} must hold an object of whole numbers; remove it")
    return recorded
