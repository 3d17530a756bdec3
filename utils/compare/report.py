"""The page of a comparison: one HTML file with its tables and pictures, to read anywhere."""

import itertools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..config.fields import option_names
from ..config.settings import TrainSettings
from ..evaluation.confusion import confused_pairs
from ..plots.confusion_matrix import plot_confusion_matrix
from ..plots.curves import plot_curves
from ..plots.pictures import data_uri, draw_as_data_uri
from ..plots.templates import render_template
from ..runs.resuming import FREE
from ..system.files import replacing
from .planning import PlannedRun
from .plot import plot_comparison
from .results import Result
from .table import HEAD, Row, table_cells

TEMPLATE = Path(__file__).with_name("report.html.jinja")
MAX_PAIRS = 5  # of classes that are confused most often
MAX_PICTURE = 2**21  # bytes of explanation.png
PNG = b"\x89PNG\r\n\x1a\n"


def write_report(
    path: Path,
    title: str,
    rows: Sequence[Row],
    results: Sequence[Result],
    notes: Sequence[str],
    class_names: Sequence[str],
    explanation: Path | None = None,
) -> None:
    """Writes a comparison as an HTML page that has no scripts and loads nothing.

    Args:
        path: path of the file.
        title: string.
        rows: list of `Row`s.
        results: list of the `Result`s that the rows are made of.
        notes: list of strings, as `table_notes` returns them.
        class_names: sequence of strings.
        explanation: path of a PNG file, as `draw_explanations` writes it. Defaults to none.
    """
    page = render_template(
        TEMPLATE,
        title=title,
        head=HEAD,
        table=[table_cells(row) for row in rows],
        notes=[note.replace("**", "") for note in notes],  # Markdown's bold
        recipe=shared_settings([result.run for result in results]),
        wide=draw_as_data_uri(plot_comparison, rows, title=""),
        narrow=draw_as_data_uri(plot_comparison, rows, title="", stacked=True),
        variants=[_variant(row, results, class_names) for row in rows],
        explanation=None if explanation is None else _png_as_data_uri(explanation),
        max_picture=f"{MAX_PICTURE / 2**20:g} MiB",
    )
    with replacing(path) as temporary:
        temporary.write_text(page, "utf-8", "backslashreplace")


def shared_settings(runs: Sequence[PlannedRun]) -> dict[str, str]:
    """Returns the settings that all runs share and that can change a result, as names and JSON."""
    varying = {"attention", "attention_at", "seed", *option_names(TrainSettings, "attention")}
    first, *others = [run.settings.config() for run in runs]
    varying |= {name for name in first for other in others if other[name] != first[name]}
    names = [name for name in first if name not in varying | FREE]
    return {name: json.dumps(first[name]) for name in names if first[name] is not None}


def _variant(row: Row, results: Sequence[Result], class_names: Sequence[str]) -> dict[str, Any]:
    """The section of a variant, over all of its seeds."""
    own = [result for result in results if result.run.variant.name == row.name]
    matrix = np.sum([result.confusion for result in own], axis=0)
    return {
        "name": row.name,
        "seeds": len(own),
        "curves": draw_as_data_uri(plot_curves, _mean_history(own), title="", stacked=True),
        "matrix": draw_as_data_uri(
            plot_confusion_matrix, matrix, class_names, title="", compact=True
        ),
        "errors": _most_frequent_errors(matrix, class_names),
    }


def _mean_history(results: Sequence[Result]) -> list[dict[str, float]]:
    """The mean over the seeds of every column of `metrics.csv` that all of them have."""
    first = results[0].history[0]
    columns = [name for name in first if all(name in result.history[0] for result in results)]
    # of those that have not ended before, by `--patience`
    epochs = itertools.zip_longest(*(result.history for result in results))
    return [
        {name: float(np.mean([row[name] for row in rows if row])) for name in columns}
        for rows in epochs
    ]


def _most_frequent_errors(matrix: np.ndarray, class_names: Sequence[str]) -> list[str]:
    """The pairs of classes that are confused most often, as sentences."""
    return [
        f"{class_names[true]} classified as {class_names[predicted]}: "
        f"{count:,} of {matrix[true].sum():,} ({count / matrix[true].sum():.1%})"
        for true, predicted, count in confused_pairs(matrix, MAX_PAIRS)
    ]


def _png_as_data_uri(path: Path) -> str:
    """A PNG file as a data URI; an empty string if it is another kind of file, or too large."""
    with open(path, "rb") as file:
        content = file.read(MAX_PICTURE + 1)
    return data_uri(content) if content.startswith(PNG) and len(content) <= MAX_PICTURE else ""
