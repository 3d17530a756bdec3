"""A folder of image files, one folder per class, as a data set that stays on disk."""

import dataclasses
import hashlib
import importlib.util
import unicodedata
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from ...system.backend import threads
from ...system.errors import UserError
from ..dataset import Dataset, LoadOptions
from ..splits import held_out_indices
from .class_folders import (
    MOST_NAMED,
    Parts,
    differ_by_form,
    find_classes,
    find_parts,
    passed_over,
)
from .decoding import read_image
from .image_files import ImageFiles

TEST_SHARE = 0.2  # of images that have no test set
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

    Other folders that are taken are those of `find_parts`; what is taken is announced.
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
    parts = _find_parts(options)
    names, found = _find_files(parts, options)
    readable = _readable_files(found, options)
    note = parts.note
    if parts.test is None:
        share = options.test_split or TEST_SHARE
        train, test = _split(readable[parts.train], share)
        note += f": {len(test)} of {len(train) + len(test)} images, {share:.0%} of each class "
        note += "chosen by their content, are the test images"
        chosen = [(parts.train, train), (parts.train, test)]
    else:
        chosen = list(readable.items())
    if note:
        options.announce(note[0].upper() + note[1:] + ".")
    (x_train, y_train), (x_test, y_test) = (
        _images_and_labels(each, names, place, options.image_size) for place, each in chosen
    )
    return Dataset("folder", x_train, y_train, x_test, y_test, names, crop_padding=0, flips=True)


def _find_parts(options: LoadOptions) -> Parts:
    """Finds the folders of the images, and checks what reading them needs."""
    if options.data_dir is None:
        raise UserError(
            "the data set folder needs --data-dir, a folder of images with a folder per class, or "
            "with train/CLASS/ and test/CLASS/"
        )
    missing = [name for name in PACKAGES if not importlib.util.find_spec(name)]
    if missing:
        raise UserError(f"the data set folder needs more packages: pip install {' '.join(missing)}")
    parts = find_parts(Path(options.data_dir))
    if options.test_split is not None and parts.test is not None:
        raise UserError(
            f"test_split is for a folder without test images; {parts.test} has them; received "
            f"{options.test_split}"
        )
    return parts


def _find_files(
    parts: Parts, options: LoadOptions
) -> tuple[tuple[str, ...], dict[Path, list[list[Path]]]]:
    """Returns the names of the classes and, for each part, the paths of each class."""
    data_dir = Path(options.data_dir or "")
    places = [parts.train] if parts.test is None else [parts.train, parts.test]
    found = {place: find_classes(place) for place in places}
    names = tuple(found[parts.train][0])
    if len(names) < 2:
        raise UserError(
            f"{parts.train} holds one class only: {names[0]}; add a folder for each other class"
        )
    for classes, _ in found.values():
        others = sorted(set(names) ^ set(classes))
        forms = [unicodedata.normalize("NFC", name) for name in others]
        same = [name for name, form in zip(others, forms, strict=True) if forms.count(form) > 1]
        if same:
            raise UserError(f"{data_dir}: {differ_by_form(same)}")
        if others:
            raise UserError(
                f"{data_dir}: train and test must have the same classes; only one has "
                f"{', '.join(others[:MOST_NAMED])}"
            )
    passed = [path for _, others in found.values() for path in others]
    if passed:
        options.announce(passed_over(passed, data_dir))
    return names, {place: [classes[n] for n in names] for place, (classes, _) in found.items()}


def _readable_files(
    found: dict[Path, list[list[Path]]], options: LoadOptions
) -> dict[Path, list[CheckedFile]]:
    """Returns the files of each part that can be read; refuses or announces the others."""
    files = {part: _check_files(paths) for part, paths in found.items()}
    damaged = [file.error for part in files.values() for file in part if file.error]
    if damaged:
        count = f"{len(damaged)} image {'file' if len(damaged) == 1 else 'files'} cannot be read"
        if options.corrupt == "refuse":
            raise UserError(
                f"{count}; --corrupt skip leaves such files out: {_join_errors(damaged)}"
            )
        options.announce(f"{count} and left out: {_join_errors(damaged)}")
    return {part: [file for file in each if not file.error] for part, each in files.items()}


def _split(
    files: Sequence[CheckedFile], share: float
) -> tuple[list[CheckedFile], list[CheckedFile]]:
    labels = np.array([file.label for file in files])
    indices = held_out_indices(labels, [file.checksum for file in files], share)
    train, test = ([files[i] for i in part] for part in indices)
    return train, test


def _check_files(classes: Sequence[list[Path]]) -> list[CheckedFile]:
    files = [(label, path) for label, paths in enumerate(classes) for path in paths]
    with ThreadPoolExecutor(threads()) as pool:
        return list(pool.map(_check_file, files))


def _check_file(file: tuple[int, Path]) -> CheckedFile:
    label, path = file
    try:
        read_image(path, (1, 1, 3))  # first, since it refuses what is enormous
        with open(path, "rb") as opened:
            checksum = hashlib.file_digest(opened, "sha256").hexdigest()
    except (UserError, OSError) as error:
        return CheckedFile(label, path, error=str(error))
    return CheckedFile(label, path, checksum)


def _images_and_labels(
    files: Sequence[CheckedFile], names: Sequence[str], folder: Path, size: int
) -> tuple[ImageFiles, np.ndarray]:
    missing = set(range(len(names))) - {file.label for file in files}
    if missing:
        raise UserError(
            f"{folder}: no image of the class {names[min(missing)]} can be read, or too few are "
            "there to train and to test; add images of it"
        )
    digest = hashlib.sha256()
    for file in files:
        name = file.path.relative_to(folder)
        digest.update(f"{name}\0{file.checksum}\n".encode("utf-8", "surrogateescape"))
    images = ImageFiles([file.path for file in files], size, digest.hexdigest())
    return images, np.array([file.label for file in files], "int64")


def _join_errors(errors: Sequence[str]) -> str:
    more = f" and {len(errors) - MOST_NAMED} more" if len(errors) > MOST_NAMED else ""
    return "; ".join(errors[:MOST_NAMED]) + more
