"""The command `predict`: what a trained network says of image files."""

import dataclasses
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
from .formats import FORMATTERS, csv_lines
from .image_paths import find_images
from .predictions import Prediction, predictions
from .trained_network import TrainedNetwork, open_trained_network

FILES = ("predictions.csv", "confusion_matrix.csv", "confusion_matrix.png")


@dataclasses.dataclass(frozen=True)
class Labeled:
    """What is known of the images that are in folders of classes.

    Args:
        confusion: int array `(classes, classes)`, a row per true class, a column per predicted one.
    """

    confusion: np.ndarray

    @property
    def count(self) -> int:
        """How many images have a true class."""
        return int(self.confusion.sum())

    @property
    def accuracy(self) -> float:
        """The share of them that is predicted correctly."""
        return float(np.trace(self.confusion) / self.count)


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
        UserError: the network or an image is not there, or `--output` holds results already.
        RunError: an image could not be read; the others were predicted.
    """
    output = None if settings.output is None else _new_output(Path(settings.output))
    trained = open_trained_network(settings.network, settings.image_size, settings.precision)
    images = find_images(settings.images, trained.class_names, _standard_input(), announce)
    kept: list[Prediction] = []
    stream = _reported(predictions(trained, images), kept, announce)
    for line in FORMATTERS[settings.format](stream, trained.class_names, settings.top):
        write(line)
    labeled = _labeled(kept, trained.class_names)
    say = write if settings.format == "table" else announce
    if labeled is not None:
        say(f"\naccuracy {labeled.accuracy:.4f} of {labeled.count} images in folders of classes")
        say(confusion_text(labeled.confusion, trained.class_names))
    elif _in_other_folders(kept):
        say(f"\nno accuracy: no folder has the name of a class ({_first(trained.class_names)})")
    if output is not None:
        _write_files(output, kept, labeled, trained, settings.top)
        say(f"written: {output}")
    unread = sum(prediction.probabilities is None for prediction in kept)
    if unread:
        rest = "the rest is" if unread < len(kept) else "nothing is"
        raise RunError(f"{unread} of {len(kept)} images could not be read; {rest} predicted")


def _standard_input() -> Iterator[bytes]:
    """The lines of standard input as they are: names of files need not be text of its encoding."""
    yield from sys.stdin.buffer if sys.stdin else ()  # it may have been closed


def _in_other_folders(kept: Sequence[Prediction]) -> bool:
    """Whether the images are in several folders, none of which is a class's."""
    images = [prediction.image for prediction in kept]
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


def _reported(
    found: Iterable[Prediction], kept: list[Prediction], announce: Callable[[str], object]
) -> Iterator[Prediction]:
    """Passes predictions on, keeps them, and names at once what cannot be read."""
    for prediction in found:
        kept.append(prediction)
        if prediction.error:
            announce(f"not read: {prediction.error}")
        yield prediction


def _labeled(kept: Sequence[Prediction], class_names: Sequence[str]) -> Labeled | None:
    numbers = {name: number for number, name in enumerate(class_names)}
    confusion = np.zeros((len(class_names), len(class_names)), int)
    for prediction in kept:
        if prediction.image.label is not None and prediction.probabilities is not None:
            confusion[numbers[prediction.image.label], prediction.probabilities.argmax()] += 1
    return Labeled(confusion) if confusion.any() else None


def _write_files(
    folder: Path,
    kept: Sequence[Prediction],
    labeled: Labeled | None,
    trained: TrainedNetwork,
    top: int,
) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with (
        replacing(folder / "predictions.csv") as temporary,
        open(temporary, "w", encoding="utf-8", errors="backslashreplace") as file,
    ):
        file.writelines(line + "\n" for line in csv_lines(kept, trained.class_names, top))
    if labeled is not None:
        write_confusion(folder / "confusion_matrix.csv", labeled.confusion, trained.class_names)
        title = f"accuracy {labeled.accuracy:.2%} of {labeled.count} images"
        names = trained.class_names
        plot_confusion_matrix(folder / "confusion_matrix.png", labeled.confusion, names, title)
