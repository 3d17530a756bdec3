"""Checkpoints: folders that hold the whole state of a run, each complete or absent.

A checkpoint is written to a temporary folder with a checksum of every file, flushed to disk, and
renamed. The newest two are kept, so that a damaged one has another before it.
"""

import contextlib
import dataclasses
import hashlib
import json
import os
import re
import shutil
import zipfile
from collections.abc import Callable, Iterable, Mapping
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from ..system.errors import RunError
from ..system.files import flush_folder

FORMAT = 1
KEPT = 2  # checkpoints
CHECKPOINTS = "last"  # their folder, in that of a run
VARIABLES, STATE, SUMS = "variables.npz", "state.json", "SHA256SUMS"
LARGEST_SUMS = 2**16  # bytes; a line takes less than 100
LARGEST_STATE = 64 * 2**20  # bytes; a row of metrics takes about 300
_NAME = re.compile(r"epoch-(\d+)-step-(\d+)")


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """What a checkpoint holds.

    Args:
        path: path of its folder.
        variables: dictionary from names to arrays.
        state: dictionary of values that JSON can hold.
    """

    path: Path
    variables: dict[str, np.ndarray]
    state: dict[str, Any]


class DamagedCheckpoint(Exception):
    """A checkpoint differs from what was written; the message says how."""


def checkpoint_name(epoch: int, step: int) -> str:
    """Returns the name of a checkpoint's folder.

    Args:
        epoch: int, number of finished epochs.
        step: int, number of finished steps of the epoch after these.
    """
    return f"epoch-{epoch:05d}-step-{step:07d}"


def checkpoints(folder: str | PathLike[str]) -> list[Path]:
    """Returns the paths of the checkpoints in a folder, the oldest first."""
    names = ((path, _NAME.fullmatch(path.name)) for path in Path(folder).glob("*"))
    found = [(tuple(map(int, name.groups())), path) for path, name in names if name]
    return [path for _, path in sorted(found)]


def write_checkpoint(
    folder: str | PathLike[str],
    name: str,
    variables: Mapping[str, np.ndarray],
    state: Mapping[str, Any],
    files: Iterable[Path] = (),
) -> Path:
    """Writes a checkpoint, and removes all but the newest two.

    Args:
        folder: path of the folder of checkpoints.
        name: string, from `checkpoint_name`.
        variables: dictionary from names to arrays.
        state: dictionary of values that JSON can hold.
        files: paths of further files to keep. They are hard-linked if the file system allows it,
            and copied otherwise. Defaults to none.

    Returns:
        The path of the checkpoint.

    Raises:
        RunError: a variable is not finite. Nothing is written.
        OSError: the checkpoint cannot be written, such as on a full disk. No part of it remains.
    """
    for key, value in variables.items():
        if np.issubdtype(value.dtype, np.inexact) and not np.isfinite(value).all():
            raise RunError(f"{key} is not finite")
    target = Path(folder) / name
    temporary = target.with_name(f".{name}.partial")
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        temporary.mkdir(parents=True)
        np.savez(temporary / VARIABLES, **dict[str, Any](variables))
        (temporary / STATE).write_text(json.dumps({"format": FORMAT, **state}, allow_nan=False))
        for path in files:
            _link(path, temporary / path.name)
        written = sorted(temporary.iterdir())
        lines = [f"{_sha256(path)}  {path.name}\n" for path in written]
        (temporary / SUMS).write_text("".join(lines))
        for path in (*written, temporary / SUMS):
            with open(path, "rb+") as file:  # Windows flushes no file that is open to read alone
                os.fsync(file.fileno())
        flush_folder(temporary)
        # a damaged checkpoint that `newest_checkpoint` skipped may have this name
        shutil.rmtree(target, ignore_errors=True)
        os.rename(temporary, target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    flush_folder(folder)
    # temporary folders are left by processes that were killed while writing
    for old in (*checkpoints(folder)[:-KEPT], *Path(folder).glob(".*.partial")):
        shutil.rmtree(old, ignore_errors=True)
    return target


def read_checkpoint(path: Path) -> Checkpoint:
    """Reads a checkpoint and verifies that it is what was written.

    Args:
        path: path of its folder.

    Returns:
        A `Checkpoint`.

    Raises:
        DamagedCheckpoint: a file is missing, was added, or was changed.
    """
    try:
        _check_sums(path)
        if (path / STATE).stat().st_size > LARGEST_STATE:
            raise DamagedCheckpoint(f"{STATE} is too large")
        state = json.loads((path / STATE).read_text("utf-8"))
        if not isinstance(state, dict) or state.get("format") != FORMAT:
            raise DamagedCheckpoint(f"{STATE} is not of format {FORMAT}")
        with zipfile.ZipFile(path / VARIABLES) as archive:
            if any(member.compress_type != zipfile.ZIP_STORED for member in archive.infolist()):
                # a small compressed file could expand until the memory is full
                raise DamagedCheckpoint(f"{VARIABLES} is compressed")
        with np.load(path / VARIABLES, allow_pickle=False) as archive:
            variables = {name: archive[name] for name in archive.files}
        others = [name for name, value in variables.items() if value.dtype.kind not in "biuf"]
        if others:
            raise DamagedCheckpoint(f"{others[0]} in {VARIABLES} does not hold numbers")
    except DamagedCheckpoint:
        raise
    except Exception as error:  # a damaged file can fail in any way
        raise DamagedCheckpoint(str(error) or type(error).__name__) from error
    return Checkpoint(path, variables, state)


def newest_checkpoint(
    folder: str | PathLike[str], announce: Callable[[str], object] = print
) -> Checkpoint | None:
    """Reads the newest checkpoint that is not damaged.

    Args:
        folder: path of the folder of checkpoints.
        announce: function that takes a line of text, called for every damaged checkpoint. Defaults
            to `print`.

    Returns:
        A `Checkpoint`, or `None` if the folder holds none.

    Raises:
        RunError: all checkpoints in the folder are damaged.
    """
    found = checkpoints(folder)
    for path in reversed(found):
        try:
            return read_checkpoint(path)
        except DamagedCheckpoint as error:
            announce(f"{path} is damaged ({error}); using the checkpoint before it")
    if found:
        raise RunError(
            f"all checkpoints in {folder} are damaged; remove that folder to start the run over"
        )
    return None


def _check_sums(path):
    others = [file.name for file in path.iterdir() if not file.is_file()]
    if others:  # a pipe could block the reader, a device could have no end
        raise DamagedCheckpoint(f"{others[0]} is not a file")
    if (path / SUMS).stat().st_size > LARGEST_SUMS:
        raise DamagedCheckpoint(f"{SUMS} is too large")
    lines = (path / SUMS).read_text("ascii").splitlines()
    sums = dict(reversed(line.split("  ", 1)) for line in lines)
    present = {file.name for file in path.iterdir()} - {SUMS}
    if set(sums) != present or not {VARIABLES, STATE} <= present:
        raise DamagedCheckpoint(f"it holds {sorted(present)}, but {SUMS} lists {sorted(sums)}")
    for name, expected in sums.items():
        if _sha256(path / name) != expected:
            raise DamagedCheckpoint(f"{name} does not match its checksum")


def _sha256(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _link(source, target):
    """Hard-links or copies a file: replacing the source later does not change the target."""
    with contextlib.suppress(OSError):
        os.link(source, target)
        return
    shutil.copyfile(source, target)
