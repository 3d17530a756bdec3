"""Files that are whole or not there: written beside their target, flushed, renamed over it."""

import contextlib
import json
import os
from pathlib import Path


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
