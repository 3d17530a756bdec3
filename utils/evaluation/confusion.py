"""A confusion matrix as a file and as text."""

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..system.files import replacing, spreadsheet_text

MOST_CLASSES = 20  # in text: more do not fit into a line
LONGEST_NAME = 12  # characters of a class name in text
MOST_CONFUSED = 10  # pairs of classes that are named where the matrix is too large


def write_confusion(path: Path, confusion: np.ndarray, class_names: Sequence[str]) -> None:
    """Writes a confusion matrix as a CSV file, with the names of the classes in its first line.

    Args:
        path: path of the file.
        confusion: int array `(classes, classes)`, a row per true class, a column per predicted one.
        class_names: sequence of strings.
    """
    with (
        replacing(path) as temporary,
        open(temporary, "w", newline="", encoding="utf-8", errors="backslashreplace") as file,
    ):
        writer = csv.writer(file)
        writer.writerow(map(spreadsheet_text, class_names))
        writer.writerows(confusion.tolist())


def confusion_text(confusion: np.ndarray, class_names: Sequence[str]) -> str:
    """Returns a confusion matrix as text; of many classes, those that are confused most.

    Args:
        confusion: int array `(classes, classes)`, a row per true class, a column per predicted one.
        class_names: sequence of strings.
    """
    if len(class_names) > MOST_CLASSES:
        return _most_confused(confusion, class_names)
    names = [name[:LONGEST_NAME] for name in class_names]
    widest = max(map(len, names))
    width = max(5, len(str(confusion.max())) + 1)
    # columns are numbered: names do not fit above them
    head = " " * (widest + 6) + "".join(f"{number:>{width}}" for number in range(len(names)))
    rows = [
        f"{number:>4}  {name:<{widest}}" + "".join(f"{count:>{width}}" for count in row)
        for number, (name, row) in enumerate(zip(names, confusion, strict=True))
    ]
    return "\n".join(["true class, by predicted class:", head, *rows])


def _most_confused(confusion, class_names):
    wrong = confusion.copy()
    np.fill_diagonal(wrong, 0)
    order = np.argsort(-wrong, axis=None, kind="stable")[:MOST_CONFUSED]
    pairs = [np.unravel_index(place, wrong.shape) for place in order]
    lines = [
        f"{wrong[true, predicted]:>6}  {class_names[true]} as {class_names[predicted]}"
        for true, predicted in pairs
        if wrong[true, predicted]
    ]
    return "\n".join(["confused most often:", *lines] if lines else ["none is confused"])
