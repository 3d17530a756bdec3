"""A comparison as one page that holds all it shows, to read anywhere and to pass on."""

import json
from pathlib import Path

import numpy as np

from ..config.settings import TrainSettings, option_names
from ..plots.confusion_matrix import plot_confusion_matrix
from ..plots.curves import plot_curves
from ..plots.pictures import data_uri, draw_as_data_uri
from ..plots.templates import render_template
from ..runs.resuming import FREE
from ..system.files import replacing
from .plot import plot_comparison
from .table import HEAD, table_cells

TEMPLATE = Path(__file__).with_name("report.html.jinja")
MOST_PAIRS = 5
LARGEST_PICTURE = 2**21  # bytes
PNG = b"\x89PNG\r\n\x1a\n"


def write_report(path, title, rows, results, notes, class_names, explanation=None):
    """Writes a comparison as an HTML page without scripts and without anything to load.

    Args:
        path: path of the file.
        title: string.
        rows: list of `utils.compare.table.Row`s.
        results: list of `Result`s, of the runs that the rows are made of.
        notes: list of strings, what to know about the table.
        class_names: sequence of strings.
        explanation: path of a PNG file of what the networks attend to, or `None`.
    """
    page = render_template(
        TEMPLATE,
        title=title,
        head=HEAD,
        table=[table_cells(row) for row in rows],
        notes=[note.replace("**", "") for note in notes],  # bold in Markdown
        recipe=_recipe(results[0].run.settings),
        wide=draw_as_data_uri(plot_comparison, rows, title=""),
        narrow=draw_as_data_uri(plot_comparison, rows, title="", stacked=True),
        variants=[_variant(row, results, class_names) for row in rows],
        explanation=None if explanation is None else _read_png(explanation),
    )
    with replacing(path) as temporary:
        temporary.write_text(page, "utf-8")


def _recipe(settings):
    """What all runs have in common and what bears on their results, as names and values."""
    varying = {"attention", "attention_at", "seed", *option_names(TrainSettings, "attention")}
    config = settings.config()
    names = [name for name in config if name not in varying | FREE]
    return {name: json.dumps(config[name]) for name in names if config[name] is not None}


def _variant(row, results, class_names):
    """What the page shows of a variant beside its row in the table, over all of its seeds."""
    own = [result for result in results if result.run.variant.name == row.name]
    matrix = np.sum([result.confusion for result in own], axis=0)
    return {
        "name": row.name,
        "seeds": len(own),
        "curves": draw_as_data_uri(plot_curves, _mean_history(own), title="", stacked=True),
        "matrix": draw_as_data_uri(
            plot_confusion_matrix, matrix, class_names, title="", compact=True
        ),
        "confused": _most_confused(matrix, class_names),
    }


def _mean_history(results):
    columns = [name for name in results[0].history[0] if all(name in r.history[0] for r in results)]
    epochs = zip(*(result.history for result in results), strict=True)
    return [{name: np.mean([row[name] for row in rows]) for name in columns} for rows in epochs]


def _most_confused(matrix, class_names):
    """The pairs of classes that are taken for one another most often, as sentences."""
    wrong = matrix - np.diag(np.diag(matrix))
    order = np.argsort(-wrong, axis=None, kind="stable")[:MOST_PAIRS]
    places = [divmod(int(place), len(class_names)) for place in order]
    return [
        f"{class_names[true]} taken for {class_names[said]}: {wrong[true, said]:,} of "
        f"{matrix[true].sum():,} ({wrong[true, said] / matrix[true].sum():.1%})"
        for true, said in places
        if wrong[true, said]
    ]


def _read_png(path):
    """A picture from anywhere as a data URI, or an empty string if it is none or is too large."""
    with open(path, "rb") as file:
        content = file.read(LARGEST_PICTURE + 1)
    return data_uri(content) if content.startswith(PNG) and len(content) <= LARGEST_PICTURE else ""
