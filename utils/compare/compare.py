"""The command `compare`: several variants of a network, each trained with several seeds."""

import dataclasses
import os
from collections.abc import Callable, Sequence
from pathlib import Path

from ..config.compare_settings import CompareSettings
from ..config.default_model import with_model
from ..data.dataset import Dataset
from ..data.datasets import load_dataset
from ..data.splits import validation_indices
from ..explain.explain import draw_explanations
from ..runs.naming import default_comparison_dir
from ..runs.run_folder import LOCK, locked
from ..system.errors import RunError, UserError
from ..system.processes import call_in_process
from ..training.logs import require_logs
from .costs import Costs, costs_of
from .latex import write_latex
from .missing_runs import CONFIGS, JOBS, LOGS, read_jobs, train_missing
from .planning import PlannedRun, plan_runs, plan_variants
from .plot import plot_comparison
from .ray_cluster import require_ray
from .report import write_report
from .results import read_result, require_same_data
from .table import compare_results, table_notes, write_csv, write_markdown

EXPLANATION = "explanation.png"
MAX_EXPLAINED = 6  # variants: a picture of more is too large to read


def compare(settings: CompareSettings, announce: Callable[[str], None] = print) -> Path:
    """Trains the missing runs of a comparison, and compares all of its runs.

    Writes `comparison.md`, `comparison.csv`, `comparison.tex`, `comparison.png` and `report.html`
    into the comparison's folder.

    Args:
        settings: a `CompareSettings`.
        announce: function that takes a line of text. Defaults to `print`.

    Returns:
        The path of the comparison's folder.

    Raises:
        UserError: settings do not fit together, or a folder holds other runs. Nothing is trained.
        RunError: a run failed, and the others are compared nevertheless; or the process that counts
            costs was killed, and nothing is trained.
        Interrupted: SIGINT or SIGTERM. What has been trained is kept.
    """
    if settings.ray is not None:
        require_ray()
    if os.environ.get("KERAS_DISTRIBUTION_NUM_PROCESSES", "1") != "1":
        raise UserError(
            "compare trains on one host, or on a cluster with --ray; unset "
            "KERAS_DISTRIBUTION_NUM_PROCESSES"
        )
    plan_variants(settings)  # a wrong name fails before the data is looked for
    dataset = load_dataset(**settings.load_options(), announce=announce)
    settings = with_model(settings, dataset.image_shape)
    run_dir = Path(settings.run_dir or default_comparison_dir(settings, dataset.name))
    _require_own_folder(run_dir)
    runs = plan_runs(settings, dataset, run_dir)
    require_logs(runs[0].settings)
    for split in {run.settings.validation_split for run in runs}:
        # fails now rather than in every run
        validation_indices(dataset.y_train, split, settings.seeds[0], dataset.class_names)
    finished = [run for run in runs if run.is_finished()]
    if not settings.train:
        if not finished:
            raise UserError(
                f"{run_dir} holds none of these {len(runs)} runs, such as {runs[0].name}, "
                "finished; name another folder with --run-dir, or leave out --no-train"
            )
        # a note names those that are begun and not finished
        runs = [run for run in runs if run.is_begun()]
    require_same_data(finished, dataset)
    costs = costs_of(runs, dataset)
    with locked(run_dir):
        announce(f"{run_dir}: {len(runs)} runs, {len(finished)} of them finished")
        missing = [run for run in runs if run not in finished] if settings.train else []
        failed = train_missing(missing, run_dir, settings.jobs, settings.ray, announce)
        # before the picture, which is worth less than the tables and can fail
        write_comparison(runs, dataset, costs, run_dir, settings.figure_format)
        if explain_runs(runs, dataset, run_dir, announce):  # it is a part of the page
            write_comparison(runs, dataset, costs, run_dir, settings.figure_format, explained=True)
    if failed:
        raise RunError(f"{len(failed)} of {len(runs)} runs failed: {', '.join(failed)}")
    return run_dir


def _require_own_folder(run_dir: Path) -> None:
    """Refuses a folder of other files than a comparison's, which it would replace."""
    found = {entry.name for entry in run_dir.iterdir()} if run_dir.is_dir() else set()
    others = sorted(found - {LOCK, LOGS, CONFIGS})
    has_runs = JOBS in found or any((run_dir / name / "config.json").exists() for name in others)
    if others and not has_runs:
        raise UserError(
            f"{run_dir} holds other files, such as {others[0]}, and no runs; name another folder "
            "with --run-dir"
        )


def explain_runs(
    runs: Sequence[PlannedRun],
    dataset: Dataset,
    run_dir: Path,
    announce: Callable[[str], None] = print,
) -> bool:
    """Draws `explanation.png` of the first seed's networks, in a separate process.

    If it fails, that is announced: nothing else depends on the picture.

    Args:
        runs: list of `PlannedRun`s.
        dataset: a `Dataset`.
        run_dir: path of the comparison's folder.
        announce: function that takes a line of text. Defaults to `print`.

    Returns:
        Whether the picture was written.
    """
    first = [run for run in runs if run.settings.seed == runs[0].settings.seed]
    folders = {run.variant.name: run.folder for run in first if _has_network(run)}
    folders = dict(list(folders.items())[:MAX_EXPLAINED])
    if not folders:
        return False
    test_images = dataclasses.replace(dataset, x_train=dataset.x_train[:0])
    path, backend = run_dir / EXPLANATION, runs[0].settings.backend
    try:
        call_in_process(backend, draw_explanations, path, folders, test_images)
    except (UserError, RunError) as error:
        announce(f"{EXPLANATION} is not written: {error}")
        return False
    return True


def _has_network(run: PlannedRun) -> bool:
    """Whether a run is finished and its network is there: published results come without."""
    return run.is_finished() and (run.folder / "best.keras").exists()


def write_comparison(
    runs: Sequence[PlannedRun],
    dataset: Dataset,
    costs: Costs,
    run_dir: Path,
    figure_format: str = "png",
    explained: bool = False,
) -> None:
    """Compares the finished runs: as tables, as a picture, and as a page.

    Args:
        runs: list of `PlannedRun`s.
        dataset: a `Dataset`.
        costs: dictionary, as `costs_of` returns it.
        run_dir: path of the comparison's folder.
        figure_format: string, `"pdf"` or `"svg"` for a second file of the picture. Defaults to
            `"png"`, which is always written.
        explained: bool, whether the folder's `explanation.png` is of these runs, and not of an
            earlier command. Defaults to `False`.

    Raises:
        UserError: a run's folder is damaged.
    """
    results = [read_result(run, dataset) for run in runs if run.is_finished()]
    if not results:
        return
    jobs, title = read_jobs(run_dir), run_dir.resolve().name
    alone = all(jobs.get(result.run.name) == 1 for result in results)
    rows = compare_results(results, costs, speeds=alone)
    notes = table_notes(runs, rows, speeds=alone)
    write_csv(run_dir / "comparison.csv", rows)
    write_markdown(run_dir / "comparison.md", title, rows, notes)
    write_latex(run_dir / "comparison.tex", rows, title)
    for ending in ("pdf", "svg"):  # of an earlier command, perhaps of other variants
        (run_dir / f"comparison.{ending}").unlink(missing_ok=True)
    for ending in dict.fromkeys(["png", figure_format]):
        plot_comparison(run_dir / f"comparison.{ending}", rows, title)
    write_report(
        run_dir / "report.html",
        title,
        rows,
        results,
        notes,
        dataset.class_names,
        run_dir / EXPLANATION if explained else None,
    )
