"""Which folder holds the training and the test images, and which files each class has there."""

import dataclasses
import os
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from ...system.errors import UserError
from .decoding import ENDINGS, is_image_file

TRAIN = ("train", "training")
TEST = ("test", "testing")
VALIDATION = ("val", "valid", "validation")
MOST_NAMED = 20  # files or classes that a message names


@dataclasses.dataclass(frozen=True)
class Parts:
    """Where the training and the test images are.

    Args:
        train: path of a folder with a folder per class.
        test: path of such a folder, or `None`: a share of the training images is held out.
        note: string, what differs from `train/` and `test/`, or empty.
    """

    train: Path
    test: Path | None
    note: str = ""


def find_parts(data_dir: Path) -> Parts:
    """Finds the folders of training and test images.

    Args:
        data_dir: path of a folder with `train/` and `test/`, in any case; with `val/`, `valid/` or
            `validation/` in the place of `test/`; with `train/` alone; or with a folder per class.

    Returns:
        The `Parts`.

    Raises:
        UserError: the folder has two folders for the same purpose, or none for training.
    """
    parts = {names: _named(data_dir, names) for names in (TRAIN, TEST, VALIDATION)}
    if not any(_folders(path) for paths in parts.values() for path in paths):
        # classes can have such names, too
        return Parts(data_dir, None, f"{data_dir} has no folder of test images")
    for paths in parts.values():
        if len(paths) > 1:
            names = " and ".join(path.name for path in paths)
            raise UserError(f"{data_dir} has {names}; keep one of them")
    train, test, validation = (paths[0] if paths else None for paths in parts.values())
    if train is None:
        raise UserError(f"{data_dir} has no folder train; it must hold a folder per class")
    if test is None and validation is None:
        return Parts(train, None, f"{data_dir} has no folder of test images")
    if test is None:
        return Parts(train, validation, f"the images in {validation} are the test images")
    unused = f"{validation} is not used: --validation-split takes from {train}"
    return Parts(train, test, unused if validation else "")


def _named(data_dir: Path, names: tuple[str, ...]) -> list[Path]:
    return [path for path in _folders(data_dir) if path.name.lower() in names]


def _folders(path: Path) -> list[Path]:
    return sorted(p for p in path.iterdir() if p.is_dir() and p.name[0] != ".")


def find_classes(folder: Path) -> tuple[dict[str, list[Path]], list[Path]]:
    """Finds the image files of each class, in its folder and below.

    Args:
        folder: path of a folder with a folder per class.

    Returns:
        A dictionary from the names of the classes to the sorted paths of their image files, and the
        paths of files and hidden folders that are passed over.

    Raises:
        UserError: there are no folders, a class has no image or a name that is not allowed, or two
            names look the same.
    """
    found = {}
    folders = _folders(folder)
    passed = sorted(set(folder.iterdir()) - set(folders))
    for place in folders:
        if not place.name.isprintable() or "," in place.name:
            raise UserError(f"{folder}: a class's name must be printable, without commas; "
                            f"received {place.name!r}")  # fmt: skip
        files, others = find_image_files(place)
        found[place.name] = files
        passed += others
    empty = [name for name, files in found.items() if not files]
    if not found and any(map(is_image_file, passed)):
        raise UserError(
            f"{folder} holds images, but no folders of classes; put the images of each class into "
            f"a folder of their own, such as {folder / 'cat'}"
        )
    if empty or not found:
        what = f"the class {empty[0]}" if empty else "it"
        raise UserError(f"{folder}: {what} has no image ({', '.join(ENDINGS)})")
    by_form: dict[str, str] = {}
    for name in found:
        other = by_form.setdefault(unicodedata.normalize("NFC", name), name)
        if other != name:
            raise UserError(f"{folder}: {differ_by_form([other, name])}")
    return found, passed


def differ_by_form(names: Iterable[str]) -> str:
    """Returns a text about names that look the same, which shows how they differ."""
    written = ", ".join(map(ascii, names))
    return f"the names of these classes differ by their Unicode form alone: {written}; rename one"


def find_image_files(folder: Path) -> tuple[list[Path], list[Path]]:
    """Finds the image files in a folder and below.

    Args:
        folder: path of the folder.

    Returns:
        The sorted paths of the image files, and those of files and hidden folders that are passed
        over.
    """
    images: list[Path] = []
    others: list[Path] = []
    for path in _paths_below(folder):
        (images if is_image_file(path) else others).append(path)
    return sorted(images), sorted(others)


def holds_images(folder: Path) -> bool:
    """Returns whether there is an image file in a folder or below."""
    return any(map(is_image_file, _paths_below(folder)))


def _paths_below(folder: Path) -> Iterator[Path]:
    """Yields the paths of all files, and of the folders that are not entered."""
    seen = {os.path.realpath(folder)}  # links can lead in circles
    for place, folders, files in os.walk(folder, followlinks=True):
        entered = []
        for name in folders:
            path = Path(place, name)
            real = os.path.realpath(path)
            if name[0] == "." or real in seen:
                yield path
            else:
                seen.add(real)
                entered.append(name)
        folders[:] = entered
        yield from (Path(place, name) for name in files)


def passed_over(paths: Sequence[Path], folder: Path) -> str:
    """Returns a line about the files and hidden folders in a folder that are passed over."""
    what = "file or folder is" if len(paths) == 1 else "files and folders are"
    return f"{len(paths)} {what} passed over: {name_files(paths, folder)}"


def name_files(paths: Iterable[Path], folder: Path) -> str:
    """Returns the names of files relative to a folder, the first of many, in one line."""
    names = [str(path.relative_to(folder)) for path in paths]
    shown = [name if name.isprintable() else ascii(name) for name in names[:MOST_NAMED]]
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return ", ".join(shown) + more


def class_of_file(path: Path, class_names: Sequence[str]) -> str | None:
    """Returns the class whose name a folder in a file's path has, the innermost; or `None`."""
    # a path need not name the folder that the file is in; a link's own counts, not its target's
    folders = [path.parent.resolve().name, *reversed(path.parent.parts)]
    return class_of_folders(folders, class_names)


def class_of_folders(folders: Sequence[str], class_names: Sequence[str]) -> str | None:
    """Returns the class whose name the first of some folders has, in any form of Unicode."""
    classes = {unicodedata.normalize("NFC", name): name for name in class_names}
    found = (classes.get(unicodedata.normalize("NFC", folder)) for folder in folders)
    return next((name for name in found if name is not None), None)
