"""The command `predict`: what a trained network says of image files."""

import contextlib
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from ..config.command_settings import PredictSettings
from ..data.images.class_folders import MOST_NAMED
from ..evaluation.confusion import confusion_text, write_confusion
from ..plots.confusion_matrix import plot_confusion_matrix
from ..system.errors import RunError, UserError
from ..system.files import replacing
from .formats import FORMATTERS, csv_header, csv_rows
from .image_paths import ImagePath, find_images
from .predictions import Prediction, predictions
from .trained_network import open_trained_network

FILES = ("predictions.csv", "confusion_matrix.csv", "confusion_matrix.png")


class Tally:
    """Counts of predictions, which need not be kept for that: there may be millions.

    Args:
        class_names: sequence of strings.

    Attributes:
        unread: int, how many images could not be read.
        confusion: int array `(classes, classes)` of the images that are in folders of classes, a
            row per true class, a column per predicted one.
    """

    def __init__(self, class_names: Sequence[str]) -> None:
        self._numbers = {name: number for number, name in enumerate(class_names)}
        self.confusion = np.zeros((len(class_names), len(class_names)), int)
        self.unread = 0

    def add(self, prediction: Prediction) -> None:
        """Counts a prediction."""
        if prediction.probabilities is None:
            self.unread += 1
        elif prediction.image.label is not None:
            true = self._numbers[prediction.image.label]
            self.confusion[true, prediction.probabilities.argmax()] += 1

    @property
    def labeled(self) -> int:
        """How many images have a true class."""
        return int(self.confusion.sum())

    @property
    def accuracy(self) -> float:
        """The share of them that is predicted correctly."""
        return float(np.trace(self.confusion) / self.labeled)


def predict(
    settings: PredictSettings,
    write: Callable[[str], object] = print,
    announce: Callable[[str], object] = lambda line: print(line, file=sys.stderr),
) -> None:
    """Predicts images, and writes a line after the other.

    Args:
        settings: a `PredictSettings`.
        write: function that takes a line of the result. Defaults to `print`.
        announce: function that takes a line about it: what could not be read and, for images in
            folders of classes, the accuracy. In the table's format these lines are part of it.
            Defaults to one that prints to standard error.

    Raises:
        UserError: the network or an image is not there, or `--output` holds results already or
            cannot be a folder.
        RunError: an image could not be read; the others were predicted.
    """
    output = None if settings.output is None else _new_output(Path(settings.output))
    trained = open_trained_network(settings.network, settings.image_size, settings.precision)
    images = find_images(settings.images, trained.class_names, _standard_input(), announce)
    tally = Tally(trained.class_names)
    with _csv_writer(output, trained.class_names, settings.top) as write_rows:
        stream = _reported(predictions(trained, images), [tally.add, write_rows], announce)
        for line in FORMATTERS[settings.format](stream, trained.class_names, settings.top):
            write(line)
    say = write if settings.format == "table" else announce
    if tally.labeled:
        say(f"\naccuracy {tally.accuracy:.4f} of {tally.labeled} images in folders of classes")
        say(confusion_text(tally.confusion, trained.class_names))
    elif _in_other_folders(images):
        say(f"\nno accuracy: no folder has the name of a class ({_first(trained.class_names)})")
    if output is not None:
        if tally.labeled:
            _write_confusion(output, tally, trained.class_names)
        say(f"written: {output}")
    if tally.unread:
        rest = "the rest is" if tally.unread < len(images) else "nothing is"
        raise RunError(
            f"{tally.unread} of {len(images)} images could not be read; {rest} predicted"
        )


def _standard_input() -> Iterator[bytes]:
    """The lines of standard input as they are: names of files need not be text of its encoding."""
    yield from sys.stdin.buffer if sys.stdin else ()  # it may have been closed


def _in_other_folders(images: Sequence[ImagePath]) -> bool:
    """Whether the images are in several folders, none of which is a class's."""
    return all(i.label is None for i in images) and len({i.path.parent for i in images}) > 1


def _first(class_names: Sequence[str]) -> str:
    more = ", ..." if len(class_names) > MOST_NAMED else ""
    return ", ".join(class_names[:MOST_NAMED]) + more


def _new_output(folder: Path) -> Path:
    if folder.exists() and not folder.is_dir():
        raise UserError(f"--output must be a folder; {folder} is a file")
    there = [name for name in FILES if (folder / name).exists()]
    if there:
        raise UserError(f"{folder} has {there[0]} already; name another folder with --output")
    return folder


@contextlib.contextmanager
def _csv_writer(
    folder: Path | None, class_names: Sequence[str], top: int
) -> Iterator[Callable[[Prediction], object]]:
    """A context with a function that writes a prediction to `predictions.csv`, if into a folder.

    The folder is made at once: if that is not possible, nothing has been computed in vain.
    """
    if folder is None:
        yield lambda prediction: None
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"--output must be a folder; {folder}: {error.strerror}") from None
    with (
        replacing(folder / "predictions.csv") as temporary,
        open(temporary, "w", encoding="utf-8", errors="backslashreplace") as file,
    ):
        file.write(csv_header() + "\n")
        yield lambda prediction: file.writelines(
            line + "\n" for line in csv_rows(prediction, class_names, top)
        )


def _reported(
    found: Iterable[Prediction],
    receivers: Sequence[Callable[[Prediction], object]],
    announce: Callable[[str], object],
) -> Iterator[Prediction]:
    """Passes predictions on, to each receiver too, and names at once what cannot be read."""
    for prediction in found:
        for receive in receivers:
            receive(prediction)
        if prediction.error:
            announce(f"not read: {prediction.error}")
        yield prediction


def _write_confusion(folder: Path, tally: Tally, class_names: Sequence[str]) -> None:
    write_confusion(folder / "confusion_matrix.csv", tally.confusion, class_names)
    title = f"accuracy {tally.accuracy:.2%} of {tally.labeled} images"
    plot_confusion_matrix(folder / "confusion_matrix.png", tally.confusion, class_names, title)
