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
    lines = [
        f"{count:>6}  {class_names[true]} as {class_names[predicted]}"
        for true, predicted, count in confused_pairs(confusion, MOST_CONFUSED)
    ]
    return "\n".join(["confused most often:", *lines] if lines else ["none is confused"])


def confused_pairs(confusion: np.ndarray, most: int) -> list[tuple[int, int, int]]:
    """Returns the pairs of classes that are confused most often, the most frequent first.

    Args:
        confusion: int array `(classes, classes)`, a row per true class, a column per predicted one.
        most: int, how many pairs at most.

    Returns:
        A list of `(true, predicted, count)`: the numbers of both classes, and how many images of
        the first are taken for the second, at least one.
    """
    wrong = confusion - np.diag(np.diag(confusion))
    order = np.argsort(-wrong, axis=None, kind="stable")[:most]
    pairs = [divmod(int(place), len(wrong)) for place in order]
    return [(*pair, int(wrong[pair])) for pair in pairs if wrong[pair]]
