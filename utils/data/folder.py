"""A folder of image files, one folder per class, as a data set that stays on disk."""

import dataclasses
import hashlib
import importlib.util
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from ..system.backend import threads
from ..system.errors import UserError
from .dataset import Dataset, LoadOptions
from .decoding import ENDINGS, read_image
from .image_files import ImageFiles

MOST_NAMED = 20  # files or classes that a message names
PACKAGES = ("grain", "simplejpeg")


@dataclasses.dataclass(frozen=True)
class CheckedFile:
    """An image file of the folder, after an attempt to read it.

    Args:
        label: int, the number of its class.
        path: its path.
        checksum: string, the SHA-256 of its content; empty if it cannot be read.
        error: string, why it cannot be read, or empty.
    """

    label: int
    path: Path
    checksum: str = ""
    error: str = ""


def load_folder(options: LoadOptions) -> Dataset:
    """Loads the image files of `DIR/train/CLASS/` and `DIR/test/CLASS/`.

    Every file is decoded once, so that a damaged one is found now and not in the middle of a
    training. No image stays in memory.

    Args:
        options: a `LoadOptions` with all but `download`, which has no meaning here.

    Returns:
        A `Dataset` whose images are `ImageFiles`.

    Raises:
        UserError: a package is not installed, a folder is missing or empty, there is only one
            class, training and test have different classes, or files cannot be read and `corrupt`
            is `"refuse"`.
    """
    if options.data_dir is None:
        raise UserError("the data set folder needs --data-dir, with train/CLASS/ and test/CLASS/")
    missing = [name for name in PACKAGES if not importlib.util.find_spec(name)]
    if missing:
        raise UserError(f"the data set folder needs more packages: pip install {' '.join(missing)}")
    data_dir = Path(options.data_dir)
    classes = {part: _find_classes(data_dir / part) for part in ("train", "test")}
    names = tuple(classes["train"])
    if len(names) < 2:
        raise UserError(f"{data_dir}/train holds one class only: {names[0]}")
    if set(names) != set(classes["test"]):
        others = sorted(set(names) ^ set(classes["test"]))
        raise UserError(
            f"{data_dir}: train and test must have the same classes; only one has "
            f"{', '.join(others[:MOST_NAMED])}"
        )
    files = {part: _check_files(list(classes[part].values())) for part in classes}
    damaged = [file.error for part in files.values() for file in part if file.error]
    if damaged:
        count = f"{len(damaged)} image {'file' if len(damaged) == 1 else 'files'} cannot be read"
        if options.corrupt == "refuse":
            raise UserError(
                f"{count}; --corrupt skip leaves such files out: {_join_errors(damaged)}"
            )
        options.announce(f"{count} and left out: {_join_errors(damaged)}")
    (x_train, y_train), (x_test, y_test) = (
        _images_and_labels(files[part], names, data_dir / part, options.image_size)
        for part in files
    )
    return Dataset("folder", x_train, y_train, x_test, y_test, names, crop_padding=0, flips=True)


def holds_photographs(data_dir: Path) -> bool:
    """Returns whether a folder has the structure that `load_folder` reads, without reading it."""
    return all((data_dir / part).is_dir() for part in ("train", "test"))


def _find_classes(folder: Path) -> dict[str, list[Path]]:
    """Returns the paths of the image files of each class."""
    if not folder.is_dir():
        raise UserError(f"{folder} is not there or is no folder; it must hold a folder per class")
    found = {}
    for place in sorted(p for p in folder.iterdir() if p.is_dir() and p.name[0] != "."):
        if not place.name.isprintable() or "," in place.name:
            raise UserError(f"{folder}: a class's name must be printable, without commas; "
                            f"received {place.name!r}")  # fmt: skip
        # only regular files: a pipe would block the reader
        found[place.name] = sorted(
            file for file in place.iterdir()
            if file.suffix.lower() in ENDINGS and file.name[0] != "." and file.is_file()
        )  # fmt: skip
    empty = [name for name, files in found.items() if not files]
    if empty or not found:
        what = f"the class {empty[0]}" if empty else "it"
        raise UserError(f"{folder}: {what} has no image ({', '.join(ENDINGS)})")
    return found


def _check_files(classes: Sequence[list[Path]]) -> list[CheckedFile]:
    files = [(label, path) for label, paths in enumerate(classes) for path in paths]
    with ThreadPoolExecutor(threads()) as pool:
        return list(pool.map(_check_file, files))


def _check_file(file: tuple[int, Path]) -> CheckedFile:
    label, path = file
    try:
        with open(path, "rb") as opened:
            checksum = hashlib.file_digest(opened, "sha256").hexdigest()
        read_image(path, (1, 1, 3))
    except (UserError, OSError) as error:
        return CheckedFile(label, path, error=str(error))
    return CheckedFile(label, path, checksum)


def _images_and_labels(
    files: Sequence[CheckedFile], names: Sequence[str], folder: Path, size: int
) -> tuple[ImageFiles, np.ndarray]:
    readable = [file for file in files if not file.error]
    missing = set(range(len(names))) - {file.label for file in readable}
    if missing:
        raise UserError(f"{folder}: no image of the class {names[min(missing)]} can be read")
    digest = hashlib.sha256()
    for file in readable:
        name = file.path.relative_to(folder)
        digest.update(f"{name}\0{file.checksum}\n".encode("utf-8", "surrogateescape"))
    images = ImageFiles([file.path for file in readable], size, digest.hexdigest())
    return images, np.array([file.label for file in readable], "int64")


def _join_errors(errors: Sequence[str]) -> str:
    more = f" and {len(errors) - MOST_NAMED} more" if len(errors) > MOST_NAMED else ""
    return "; ".join(errors[:MOST_NAMED]) + more
