"""Which images are shown: of the test set, from files, from folders."""

import dataclasses
from pathlib import Path

import numpy as np

from ..data.decoding import ENDINGS, read_image
from ..system.errors import UserError

MOST_IMAGES = 24
DEFAULT_COUNT = 6


@dataclasses.dataclass(frozen=True)
class SelectedImage:
    """An image to be explained.

    Args:
        name: string, where it comes from.
        pixels: uint8 array `(height, width, channels)`, of the data set's size.
        label: int, its class, or `None` where that is not known.
    """

    name: str
    pixels: np.ndarray
    label: int | None


def select_images(sources, dataset):
    """Finds the images that are to be shown.

    Args:
        sources: sequence of strings: numbers of test images, from 0; image files; folders of them,
            with all below. A file's class is the name of its folder, if a class has that name.
            Empty: the first test image of each of six classes.
        dataset: a `Dataset`.

    Returns:
        A list of `SelectedImage`s.

    Raises:
        UserError: a number beyond the test set, a file or folder that is not there or holds no
            image, or too many images.
    """
    sources = list(sources) or map(str, one_of_each_class(dataset.y_test))
    found = []
    for source in map(str, sources):
        found += _of_source(source, dataset)
        if len(found) > MOST_IMAGES:
            raise UserError(f"images must be at most {MOST_IMAGES}; received more with {source}")
    return found


def one_of_each_class(labels):
    """Returns the first place of each of the first six classes in labels, a list of ints."""
    _, first = np.unique(labels, return_index=True)
    return first[:DEFAULT_COUNT].tolist()


def _of_source(source, dataset):
    if source.isascii() and source.isdigit():
        number, count = int(source[:20]), len(dataset.x_test)
        if number >= count:
            raise UserError(f"images: the test set has 0 to {count - 1}; received {source}")
        return [
            SelectedImage(f"test {number}", dataset.x_test[number], int(dataset.y_test[number]))
        ]
    path = Path(source)
    if path.is_dir():
        files = sorted(p for p in path.rglob("*") if p.suffix.lower() in ENDINGS)
        if not files:
            raise UserError(f"images: no {', '.join(ENDINGS)} file in the folder {source}")
        return [_of_file(file, dataset) for file in files[: MOST_IMAGES + 1]]
    if not path.is_file():
        raise UserError(
            f"images must be numbers of test images, image files or folders; received {source!r}"
        )
    return [_of_file(path, dataset)]


def _of_file(path, dataset):
    names, folder = dataset.class_names, path.resolve().parent.name
    pixels = read_image(path, dataset.image_shape)
    return SelectedImage(path.name, pixels, names.index(folder) if folder in names else None)
