"""The images to explain: from the test set, from files, from folders."""

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from ..data.dataset import Dataset
from ..data.images.class_folders import class_of_file, find_image_files, name_files
from ..data.images.decoding import ENDINGS, read_image
from ..system.errors import UserError

MAX_IMAGES = 24
DEFAULT_COUNT = 6


@dataclasses.dataclass(frozen=True)
class SelectedImage:
    """An image to explain.

    Args:
        name: string, such as `"test 7"` or the name of a file.
        pixels: uint8 array `(height, width, channels)`, of the data set's size.
        label: int, its true class; `None` if that is unknown.
    """

    name: str
    pixels: np.ndarray
    label: int | None


def select_images(
    sources: Sequence[str], dataset: Dataset, announce: Callable[[str], object] = print
) -> list[SelectedImage]:
    """Reads the images that a user names.

    Args:
        sources: sequence of strings, each the number of a test image, from 0, the path of an image
            file, or the path of a folder, which stands for the first image files in and below it
            that can be read. A file's true class is the name of its folder, if a class has that
            name. If empty, the first test image of each of six classes is taken.
        dataset: a `Dataset`.
        announce: function that takes a line of text, about files that are left out. Defaults to
            `print`.

    Returns:
        A list of `SelectedImage`s.

    Raises:
        UserError: a number beyond the test set, a file that is missing or is not an image, a folder
            without an image that can be read, or too many images.
    """
    sources = list(sources) or list(map(str, one_of_each_class(dataset.y_test)))
    images: list[SelectedImage] = []
    for source in map(str, sources):
        left = MAX_IMAGES - len(images)
        if not left:
            raise UserError(
                f"images: at most {MAX_IMAGES} can be explained at once; {source!r} exceeds that"
            )
        if Path(source).is_dir() and not _is_number(source):
            images += _read_folder(Path(source), dataset, left, announce)
        else:
            images.append(_read_image(source, dataset))
    return images


def sample_photographs() -> list[str]:
    """Returns the paths of the photographs that come with scikit-learn."""
    from sklearn.datasets import load_sample_images

    return list(map(str, load_sample_images().filenames))


def one_of_each_class(labels: np.ndarray) -> list[int]:
    """Returns the index of the first image of each of the first six classes.

    Args:
        labels: int array `(n,)`.
    """
    _, first = np.unique(labels, return_index=True)
    return first[:DEFAULT_COUNT].tolist()


def numbered_image(
    dataset: Dataset, number: float, called: str, setting: str = ""
) -> SelectedImage:
    """Returns a test image by its number.

    Args:
        dataset: a `Dataset`.
        number: number from 0 on.
        called: string, what comes before the number in the image's name.
        setting: string, what comes before the message. Defaults to an empty one.

    Returns:
        A `SelectedImage`.

    Raises:
        UserError: there is no image with that number.
    """
    count = len(dataset.x_test)
    if not 0 <= number < count or number != int(number):
        received = number if isinstance(number, int) else f"{number:g}"
        raise UserError(
            f"{setting}the test images have the numbers 0 to {count - 1}; received {received}"
        )
    number = int(number)
    pixels, label = dataset.x_test[number], int(dataset.y_test[number])
    return SelectedImage(f"{called} {number}", pixels, label)


def _is_number(source: str) -> bool:
    return source.isascii() and source.isdigit()


def _read_image(source: str, dataset: Dataset) -> SelectedImage:
    if _is_number(source):
        return numbered_image(dataset, int(source[:20]), "test", "images: ")
    if not Path(source).is_file():
        raise UserError(
            f"images must be numbers of test images, image files or folders; received {source!r}"
        )
    return _read_file(Path(source), dataset)


def _read_folder(
    folder: Path, dataset: Dataset, most: int, announce: Callable[[str], object]
) -> list[SelectedImage]:
    files, passed = find_image_files(folder)
    images: list[SelectedImage] = []
    for file in files:
        if len(images) == most:
            announce(f"images: the first {most} of {len(files)} image files in {str(folder)!r}")
            break
        try:
            images.append(_read_file(file, dataset))
        except UserError:
            passed.append(file)
    if not images:
        raise UserError(
            f"images: the folder {str(folder)!r} has no {', '.join(ENDINGS)} file that can be read"
        )
    if passed:
        announce(f"images: {len(passed)} left out: {name_files(passed, folder)}")
    return images


def _read_file(path: Path, dataset: Dataset) -> SelectedImage:
    names = dataset.class_names
    label = class_of_file(path, names)
    pixels = read_image(path, dataset.image_shape)
    return SelectedImage(path.name, pixels, None if label is None else names.index(label))
