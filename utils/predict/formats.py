"""Predictions as lines of text: a table for people, CSV and JSON for programs."""

import csv
import io
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from ..system.files import spreadsheet_text
from .predictions import Prediction

COLUMNS = ("path", "rank", "class", "probability")
WIDEST_PATH = 60  # characters of a path in the table; longer ones push the rest to the right

Formatter = Callable[[Iterable[Prediction], Sequence[str], int], Iterator[str]]


def table_lines(found: Iterable[Prediction], class_names: Sequence[str], top: int) -> Iterator[str]:
    """Yields a table for people: a line for each class, the image's path on its first."""
    widest = max(map(len, class_names))
    for prediction in found:
        if prediction.probabilities is None:
            continue
        path = str(prediction.image.path)
        for number, probability in prediction.top(top):
            yield f"{path:<{WIDEST_PATH}}  {class_names[number]:<{widest}}  {probability:7.2%}"
            path = ""


def csv_lines(found: Iterable[Prediction], class_names: Sequence[str], top: int) -> Iterator[str]:
    """Yields a CSV file with the columns `COLUMNS`; the rank counts from 1."""
    yield csv_header()
    for prediction in found:
        yield from csv_rows(prediction, class_names, top)


def csv_header() -> str:
    """Returns the first line of a CSV file."""
    return _csv_line(COLUMNS)


def csv_rows(prediction: Prediction, class_names: Sequence[str], top: int) -> Iterator[str]:
    """Yields the lines of a CSV file for one image, none for one that cannot be read."""
    if prediction.probabilities is None:
        return
    path = spreadsheet_text(str(prediction.image.path))
    for rank, (number, probability) in enumerate(prediction.top(top), start=1):
        name = spreadsheet_text(class_names[number])
        yield _csv_line((path, rank, name, f"{probability:.6f}"))


def _csv_line(row):
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow(row)
    return line.getvalue()


def json_lines(found: Iterable[Prediction], class_names: Sequence[str], top: int) -> Iterator[str]:
    """Yields a JSON list with an object for each image, one in a line.

    An image that cannot be read has its `error` in the place of its `predictions`.
    """
    before = "["
    for prediction in found:
        row: dict[str, Any] = {"path": str(prediction.image.path)}
        if prediction.image.label is not None:
            row["label"] = prediction.image.label
        if prediction.probabilities is None:
            row["error"] = prediction.error
        else:
            row["predictions"] = [
                {"rank": rank, "class": class_names[number], "probability": round(probability, 6)}
                for rank, (number, probability) in enumerate(prediction.top(top), start=1)
            ]
        yield before + json.dumps(row)
        before = ","
    yield "]" if before == "," else "[]"


FORMATTERS: dict[str, Formatter] = {"table": table_lines, "csv": csv_lines, "json": json_lines}
