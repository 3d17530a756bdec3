"""Several networks over several seeds: the runs that are missing are trained, then all compared."""

import dataclasses
import functools
import json
import os
import sys
import tempfile
from pathlib import Path

import numpy as np

from ..data.datasets import load_dataset
from ..data.splits import validation_indices
from ..evaluation.counting import multiply_adds, trainable_params, without_values
from ..explain.explain import draw_explanations
from ..runs.run_folder import locked, network_name
from ..system.errors import Interrupted, RunError, UserError
from ..system.files import read_json, write_json
from ..system.processes import call_in_process, last_line, run_processes
from ..training.setup import build_network
from .planning import plan_runs
from .plot import plot_comparison
from .ray_cluster import require_ray, run_on_ray
from .report import write_report
from .table import compare_results, notes, read_result, write_csv, write_markdown

MAIN = Path(__file__).parent.parent.parent / "main.py"
LOGS = "logs"
JOBS = "jobs.json"
EXPLANATION = "explanation.png"
MOST_EXPLAINED = 6  # variants: more make a picture that nobody can read
# several processes share an accelerator only if none of them takes all of its memory
SHARED_DEVICE = {"TF_FORCE_GPU_ALLOW_GROWTH": "true", "XLA_PYTHON_CLIENT_PREALLOCATE": "false"}


def compare(settings, announce=print):
    """Trains the runs of a comparison that are not there yet, and compares all of them.

    Writes `comparison.md`, `.csv` and `.png` and `report.html` into the comparison's folder.

    Args:
        settings: a `CompareSettings`.
        announce: function that takes a line of text.

    Returns:
        The path of the comparison's folder.

    Raises:
        UserError: settings that do not fit together, or a folder that holds other runs. Nothing is
            trained then.
        RunError: a run failed. The others are compared all the same.
        Interrupted: SIGINT or SIGTERM; what was trained stands.
    """
    if settings.ray is not None:
        require_ray()
    if os.environ.get("KERAS_DISTRIBUTION_NUM_PROCESSES", "1") != "1":
        raise UserError(
            "compare trains on one host, or with --ray on a cluster; unset "
            "KERAS_DISTRIBUTION_NUM_PROCESSES"
        )
    dataset = load_dataset(
        settings.dataset, settings.data_dir, announce, settings.image_size, settings.corrupt
    )
    validation_indices(dataset.y_train, settings.validation_split, settings.seeds[0])
    default = Path("runs") / f"{dataset.name}-{network_name(settings)}-compare"
    run_dir = Path(settings.run_dir or default)
    runs = plan_runs(settings, dataset, run_dir)
    missing = [run for run in runs if not run.is_finished()]
    costs = costs_of(runs, dataset)
    with locked(run_dir):
        announce(f"{run_dir}: {len(runs)} runs, {len(runs) - len(missing)} of them are there")
        failed = train_missing(missing, run_dir, settings.jobs, settings.ray, announce)
        if missing or not (run_dir / EXPLANATION).exists():
            explain_runs(runs, dataset, run_dir, announce)
        write_comparison(runs, dataset, costs, run_dir)
    if failed:
        raise RunError(f"{len(failed)} of {len(runs)} runs failed: {', '.join(failed)}")
    return run_dir


def costs_of(runs, dataset):
    """Counts what the runs' networks cost, in a process of its own: this one holds no device.

    Args:
        runs: list of `PlannedRun`s.
        dataset: a `Dataset`.

    Returns:
        A dictionary from `Variant`s to pairs of ints: parameters and multiply-adds.

    Raises:
        UserError: a network that cannot be built.
    """
    settings = {run.variant: run.settings for run in runs}
    outline = dataclasses.replace(  # what a network needs to know of the data
        dataset, x_train=dataset.x_train[:0], x_test=dataset.x_test[:0]
    )
    counted = call_in_process(runs[0].settings.backend, _count, list(settings.values()), outline)
    return dict(zip(settings, counted, strict=True))


def _count(settings, dataset):
    channels = dataset.image_shape[-1]
    found = []
    with without_values():
        for each in settings:
            network = build_network(each, dataset, np.zeros(channels), np.ones(channels))
            found.append((trainable_params(network), multiply_adds(network)))
    return found


def train_missing(runs, run_dir, jobs, ray=None, announce=print):
    """Trains runs, each in a process of its own, or goes on with those that have begun.

    Args:
        runs: list of `PlannedRun`s.
        run_dir: path of the comparison's folder; what the runs say goes to `logs/` in it.
        jobs: int, runs at once.
        ray: string, address of the Ray cluster to train on; this machine by default.
        announce: function that takes a line of text.

    Returns:
        A list of the names of the runs that failed.

    Raises:
        Interrupted: SIGINT or SIGTERM; the runs have written where they stand.
    """
    by_name = {run.name: run for run in runs}
    logs = run_dir / LOGS
    run_all = run_processes if ray is None else functools.partial(run_on_ray, ray)
    # of a cluster, nobody knows what else it does, and on which of its machines
    at_once = min(jobs, len(runs)) if ray is None else max(jobs, 2)
    done, failed = [], []

    def started(name):
        logs.mkdir(exist_ok=True)
        record_jobs(run_dir, by_name[name], at_once)
        announce(f"{name}: training; what it says is in {logs / name}.txt")

    def ended(name, code):
        done.append(name)
        line = last_line(logs / f"{name}.txt")
        announce(f"{name} ({len(done)}/{len(runs)}): {line if code == 0 else f'FAILED: {line}'}")
        if code != 0:
            failed.append(name)

    if not runs:
        return failed
    environment = {**(SHARED_DEVICE if jobs > 1 else {}), **os.environ}
    with tempfile.TemporaryDirectory(dir=run_dir) as configs:  # where a cluster sees it too
        commands = {name: _command(run, Path(configs)) for name, run in by_name.items()}
        try:
            run_all(commands, jobs, logs, started, ended, environment)
        except Interrupted as stop:
            message = "stopped; the same command goes on where the comparison stands"
            raise Interrupted(message, stop.signum) from None
    return failed


def _command(run, configs):
    config = configs / f"{run.name}.json"
    config.write_text(json.dumps(run.settings.config()))
    place = "--resume" if run.is_begun() else "--run-dir"
    # -u: in the order in which it is said, what went wrong last
    words = ["-u", MAIN, "train", "--config", config, place, run.folder]
    return [sys.executable, *map(str, words)]


def record_jobs(run_dir, run, jobs):
    """Notes beside how many other runs a run is trained: its speed says something only alone."""
    noted = read_jobs(run_dir)
    before = noted.get(run.name, 1) if run.is_begun() else 1
    write_json(run_dir / JOBS, {**noted, run.name: max(before, jobs)})


def read_jobs(run_dir):
    """Returns how many runs at once each run was trained in, as a dictionary from their names.

    Raises:
        UserError: the file does not hold that.
    """
    path = run_dir / JOBS
    noted = read_json(path) if path.exists() else {}
    if not isinstance(noted, dict) or not all(type(jobs) is int for jobs in noted.values()):
        raise UserError(f"{path} must hold an object of whole numbers; remove it")
    return noted


def explain_runs(runs, dataset, run_dir, announce=print):
    """Draws what the networks of the first seed look at, in a process of its own.

    Args:
        runs: list of `PlannedRun`s.
        dataset: a `Dataset`.
        run_dir: path of the comparison's folder.
        announce: function that takes a line of text.
    """
    first = [run for run in runs if run.settings.seed == runs[0].settings.seed]
    folders = {run.variant.name: run.folder for run in first if run.is_finished()}
    folders = dict(list(folders.items())[:MOST_EXPLAINED])
    if not folders:
        return
    test_images = dataclasses.replace(dataset, x_train=dataset.x_train[:0])
    path, backend = run_dir / EXPLANATION, runs[0].settings.backend
    try:
        call_in_process(backend, draw_explanations, path, folders, test_images)
    except UserError as error:
        announce(f"no attention pictures: {error}")


def write_comparison(runs, dataset, costs, run_dir):
    """Compares the runs that are finished, in a table, a picture and a page.

    Args:
        runs: list of `PlannedRun`s.
        dataset: a `Dataset`.
        costs: what `costs_of` returns.
        run_dir: path of the comparison's folder.

    Raises:
        UserError: a run's folder is damaged.
    """
    results = [read_result(run, dataset) for run in runs if run.is_finished()]
    if not results:
        return
    jobs, title = read_jobs(run_dir), run_dir.resolve().name
    alone = all(jobs.get(result.run.name) == 1 for result in results)
    rows = compare_results(results, costs, speeds=alone)
    write_csv(run_dir / "comparison.csv", rows)
    said = notes(runs, rows, alone)
    write_markdown(run_dir / "comparison.md", title, rows, said)
    plot_comparison(run_dir / "comparison.png", rows, title)
    explanation = run_dir / EXPLANATION
    write_report(
        run_dir / "report.html",
        title,
        rows,
        results,
        said,
        dataset.class_names,
        explanation if explanation.exists() else None,
    )
