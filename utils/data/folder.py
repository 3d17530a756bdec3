"""A folder of image files, one folder per class, as a data set that is read as it is needed."""

import hashlib
import importlib.util
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from ..system.backend import threads
from ..system.errors import UserError
from .decoding import ENDINGS, read_image
from .image_files import ImageFiles

NAMED = 20  # unreadable files, at most
NEEDED = ("grain", "simplejpeg")


def read_folder(data_dir, size, corrupt="refuse", announce=print):
    """Looks at every image of `DIR/train/<class>/` and `DIR/test/<class>/`, and keeps none.

    Each file is decoded once, so that nothing is found to be damaged in the middle of a training.

    Args:
        data_dir: path of the folder.
        size: int, height and width to which images are brought.
        corrupt: `"refuse"` or `"skip"`, what is done where files cannot be read.
        announce: function that takes a line of text, told which files are left out.

    Returns:
        Images and labels for training, images and labels for the test, and the classes' names: an
        `ImageFiles` and a list of ints, twice, and a tuple of strings.

    Raises:
        UserError: a package is not installed, a folder is missing or empty, there is only one
            class, training and test have other classes, or files cannot be read and `corrupt` is
            `"refuse"`.
    """
    if data_dir is None:
        raise UserError("the data set folder needs --data-dir, with train/CLASS/ and test/CLASS/")
    missing = [name for name in NEEDED if not importlib.util.find_spec(name)]
    if missing:
        raise UserError(f"the data set folder needs more packages: pip install {' '.join(missing)}")
    found = {part: _classes(Path(data_dir) / part) for part in ("train", "test")}
    names = tuple(found["train"])
    if len(names) < 2:
        raise UserError(f"{data_dir}/train holds one class only: {names[0]}")
    if set(names) != set(found["test"]):
        others = sorted(set(names) ^ set(found["test"]))
        raise UserError(
            f"{data_dir}: train and test must have the same classes; only one has "
            f"{', '.join(others[:NAMED])}"
        )
    checked = {part: _checked(list(found[part].values())) for part in found}
    damaged = [reason for part in checked.values() for _, _, _, reason in part if reason]
    if damaged and corrupt == "refuse":
        raise UserError(
            f"{_count(damaged)}; --corrupt skip leaves such files out: {_named(damaged)}"
        )
    if damaged:
        announce(f"{_count(damaged)} and left out: {_named(damaged)}")
    parts = [_part(checked[part], names, Path(data_dir) / part, size) for part in found]
    return *parts[0], *parts[1], names


def _classes(folder):
    """Dictionary from the name of each class to the paths of its files."""
    if not folder.is_dir():
        raise UserError(f"{folder} is not there or is no folder; it must hold a folder per class")
    found = {}
    for place in sorted(p for p in folder.iterdir() if p.is_dir() and p.name[0] != "."):
        if not place.name.isprintable() or "," in place.name:
            raise UserError(f"{folder}: a class's name must be printable, without commas; "
                            f"received {place.name!r}")  # fmt: skip
        # a pipe could keep us waiting
        found[place.name] = sorted(
            file for file in place.iterdir()
            if file.suffix.lower() in ENDINGS and file.name[0] != "." and file.is_file()
        )  # fmt: skip
    empty = [name for name, files in found.items() if not files]
    if empty or not found:
        what = f"the class {empty[0]}" if empty else "it"
        raise UserError(f"{folder}: {what} has no image ({', '.join(ENDINGS)})")
    return found


def _checked(classes):
    """For every file: its class, path, checksum, and why it cannot be read, or `None`."""
    files = [(label, path) for label, paths in enumerate(classes) for path in paths]
    with ThreadPoolExecutor(threads()) as pool:
        return list(pool.map(_check, files))


def _check(file):
    label, path = file
    try:
        with open(path, "rb") as opened:
            checksum = hashlib.file_digest(opened, "sha256").hexdigest()
        read_image(path, (1, 1, 3))
    except (UserError, OSError) as error:
        return label, path, None, str(error)
    return label, path, checksum, None


def _part(checked, names, folder, size):
    good = [row for row in checked if not row[3]]
    missing = set(range(len(names))) - {label for label, *_ in good}
    if missing:
        raise UserError(f"{folder}: no image of the class {names[min(missing)]} can be read")
    digest = hashlib.sha256()
    for _, path, checksum, _ in good:
        digest.update(
            f"{path.relative_to(folder)}\0{checksum}\n".encode("utf-8", "surrogateescape")
        )
    images = ImageFiles([path for _, path, _, _ in good], size, digest.hexdigest())
    return images, [label for label, *_ in good]


def _count(damaged):
    return f"{len(damaged)} image {'file' if len(damaged) == 1 else 'files'} cannot be read"


def _named(damaged):
    more = f" and {len(damaged) - NAMED} more" if len(damaged) > NAMED else ""
    return "; ".join(damaged[:NAMED]) + more
