"""Files that are written whole or not at all, and files that are read within limits."""

import contextlib
import errno
import glob
import hashlib
import io
import itertools
import json
import os
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from .errors import UserError

LARGEST_JSON = 2**20  # bytes
_count = itertools.count()  # of temporary files of this process


@contextlib.contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A context that replaces a file by the one written to a temporary path.

    A process killed at any instant leaves the old file or the new one; an error leaves the old one.

    Args:
        path: path of the file.

    Yields:
        The temporary path, in the same folder and with the same suffix.

    Example:

    >>> with replacing("model.keras") as temporary:
    ...     model.save(temporary)
    """
    path = Path(path)
    temporary = temporary_path(path)
    try:
        yield temporary
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    flush_folder(path.parent)


@contextlib.contextmanager
def replacing_folder(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A context that replaces a folder by the one written to a temporary path.

    A process killed at any instant leaves a complete folder or none; an error leaves the old one.

    Args:
        path: path of the folder.

    Yields:
        The path of the temporary folder, beside the other and with the same suffix.
    """
    path = Path(path)
    temporary, old = temporary_path(path), temporary_path(path)
    temporary.mkdir()
    try:
        yield temporary
        for file in temporary.rglob("*"):
            if file.is_file():
                with open(file, "rb+") as opened:
                    os.fsync(opened.fileno())
        while True:
            with contextlib.suppress(FileNotFoundError):  # there is none, or no longer
                os.replace(path, old)  # a folder cannot be renamed over another
            try:
                os.replace(temporary, path)
                break
            except OSError as error:  # another process has put its own there meanwhile
                if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                    raise
                shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)
    flush_folder(path.parent)


def temporary_path(path: Path) -> Path:
    """Returns a path beside another, with the same suffix, that nothing else in the world uses.

    What processes of this machine that were killed left at such a path is removed.
    """
    for leftover in _leftovers(path):
        if leftover.is_dir():
            shutil.rmtree(leftover, ignore_errors=True)
        else:
            with contextlib.suppress(OSError):
                leftover.unlink()
    return path.with_name(f"{_temporary_prefix(path)}{os.getpid()}-{next(_count)}{path.suffix}")


def _temporary_prefix(path: Path) -> str:
    # processes of other machines may have the same numbers, and this one cannot see if they live
    host = hashlib.sha256(socket.gethostname().encode()).hexdigest()[:8]
    return f".{path.stem}.partial-{host}-"


def _leftovers(path: Path) -> Iterator[Path]:
    prefix = _temporary_prefix(path)
    for found in path.parent.glob(f"{glob.escape(prefix)}*"):
        process = found.name.removeprefix(prefix).partition("-")[0]
        if process.isascii() and process.isdecimal() and not _is_alive(int(process)):
            yield found


def _is_alive(process: int) -> bool:
    if os.name == "nt":  # there, such a signal is Ctrl-C
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):  # it is someone else's
        return True
    return True


def flush_folder(path: str | os.PathLike[str]) -> None:
    """Flushes the file names of a folder to disk, where the system can.

    Windows cannot, nor can some file systems of a network; the files themselves are whole there.
    """
    if hasattr(os, "O_DIRECTORY"):
        folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.ENOTSUP):
                raise
        finally:
            os.close(folder)


def write_json(path: str | os.PathLike[str], value: Any) -> None:
    """Writes a value as indented JSON, the whole file or none."""
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(value, indent=2, allow_nan=False) + "\n")


def read_json(path: str | os.PathLike[str]) -> Any:
    """Reads a JSON file, safely for untrusted files.

    Args:
        path: path of the file.

    Returns:
        The value. Its numbers are finite, its keys are unique, and its strings are valid in paths.

    Raises:
        UserError: the file does not exist, is too large or nested too deeply, or holds no JSON of
            that kind.
    """
    path = Path(path)
    try:
        if not path.is_file():  # a pipe could block the reader, a device could have no end
            raise ValueError("there is no such file")
        with open(path, "rb") as file:
            content = file.read(LARGEST_JSON + 1)
        if len(content) > LARGEST_JSON:
            raise ValueError(f"it has more than {LARGEST_JSON} bytes")
        value = json.loads(content.decode("utf-8-sig"), object_pairs_hook=_unique_keys)
        text = json.dumps(value, ensure_ascii=False, allow_nan=False)
        # names of files that are not UTF-8 have such characters; half of a pair does not
        text.encode(errors="surrogateescape")
        if "\\u0000" in text:
            raise ValueError("it has a NUL character")
    except RecursionError:
        raise UserError(f"{path} is nested too deeply") from None
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read as JSON: {error}") from None
    return value


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) < len(pairs):
        raise ValueError("a key comes twice in one object")
    return result


def spreadsheet_text(name: str) -> str:
    """Returns a text as a cell of a CSV file; spreadsheets would compute what begins as a formula.

    Example:

    >>> spreadsheet_text("=HYPERLINK(A1)"), spreadsheet_text("cat")
    ("'=HYPERLINK(A1)", 'cat')
    """
    return f"'{name}" if name.startswith(("=", "+", "-", "@", "\t", "\r")) else name


class SizeLimitedFile:
    """A binary file that no more than a number of bytes can be read from or written to.

    Args:
        file: a binary file.
        limit: int, the number of bytes; beyond it, reading and writing raise a `ValueError`.
    """

    def __init__(self, file: IO[bytes] | io.BufferedIOBase, limit: int) -> None:
        self.file = file
        self.limit = self.left = limit

    def read(self, size: int) -> bytes:
        """Reads up to `size` bytes."""
        data = self.file.read(size)
        self._count(data)
        return data

    def write(self, data: bytes) -> None:
        """Writes all of `data`."""
        self._count(data)
        self.file.write(data)

    def flush(self) -> None:
        """Flushes the file."""
        self.file.flush()

    def _count(self, data: bytes) -> None:
        self.left -= len(data)
        if self.left < 0:
            raise ValueError(f"more than {self.limit} bytes")
