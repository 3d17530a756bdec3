"""Files written whole or not at all, and files read within bounds."""

import contextlib
import json
import os
import shutil
from pathlib import Path

from .errors import UserError

LARGEST_JSON = 2**20  # bytes


@contextlib.contextmanager
def replacing(path):
    """Gives a temporary path with the suffix of `path`, and renames it to `path` at the end.

    A kill at any instant leaves the old file or the new one; an error leaves the old one.

    Example:

    >>> with replacing("model.keras") as temporary:
    ...     model.save(temporary)
    """
    path = Path(path)
    temporary = path.with_name(f".{path.stem}.partial{path.suffix}")
    try:
        yield temporary
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    flush_folder(path.parent)


@contextlib.contextmanager
def replacing_folder(path):
    """Gives a temporary folder with the suffix of `path`, and renames it to `path` at the end.

    A kill at any instant leaves a whole folder there or none; an error leaves the old one.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.stem}.partial{path.suffix}")
    old = path.with_name(f".{path.stem}.old{path.suffix}")
    for left in (temporary, old):  # by a process that was killed
        shutil.rmtree(left, ignore_errors=True)
    temporary.mkdir()
    try:
        yield temporary
        for file in temporary.rglob("*"):
            if file.is_file():
                with open(file, "rb+") as opened:
                    os.fsync(opened.fileno())
        if path.exists():  # no folder is renamed over another
            os.replace(path, old)
        os.replace(temporary, path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)
    flush_folder(path.parent)


def flush_folder(path):
    """Flushes the names in a folder to disk, where the system can (Windows cannot)."""
    if hasattr(os, "O_DIRECTORY"):
        folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        os.fsync(folder)
        os.close(folder)


def write_json(path, value):
    """Writes a value as indented JSON."""
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(value, indent=2) + "\n")


def read_json(path):
    """Reads a JSON file that may hold anything.

    Args:
        path: path of the file.

    Returns:
        The value. Its numbers are finite, no key comes twice, and any text in it can be a path.

    Raises:
        UserError: there is no such file, or it is too large, nested too deeply or no such JSON.
    """
    path = Path(path)
    try:
        if not path.is_file():  # a pipe could keep us waiting, a device could go on forever
            raise ValueError("there is no such file")
        with open(path, "rb") as file:
            content = file.read(LARGEST_JSON + 1)
        if len(content) > LARGEST_JSON:
            raise ValueError(f"it has more than {LARGEST_JSON} bytes")
        value = json.loads(content.decode("utf-8-sig"), object_pairs_hook=_different_keys)
        text = json.dumps(value, ensure_ascii=False, allow_nan=False)
        text.encode()  # fails if it has half a surrogate pair
        if "\\u0000" in text:
            raise ValueError("it has a NUL character")
    except RecursionError:
        raise UserError(f"{path} is nested too deeply") from None
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read as JSON: {error}") from None
    return value


def _different_keys(pairs):
    result = dict(pairs)
    if len(result) < len(pairs):
        raise ValueError("a key comes twice in one object")
    return result


class Limited:
    """A file through which only so many bytes go, to either side.

    Args:
        file: a binary file.
        most: int, bytes after which it raises a `ValueError`.
    """

    def __init__(self, file, most):
        self.file = file
        self.most = self.left = most

    def read(self, size):
        return self._counted(self.file.read(size))

    def write(self, data):
        self.file.write(self._counted(data))

    def flush(self):
        self.file.flush()

    def _counted(self, data):
        self.left -= len(data)
        if self.left < 0:
            raise ValueError(f"more than {self.most} bytes")
        return data
