"""Checkpoints: folders that hold all the state of a run, each whole or not there.

A checkpoint is written beside its place with a checksum of every file, flushed to disk, and
renamed. The one before stays until the next stands, so that there are two from the second on.
"""

import contextlib
import dataclasses
import hashlib
import json
import os
import re
import shutil
import zipfile
from pathlib import Path

import numpy as np

from ..system.errors import RunError
from ..system.files import flush_folder

FORMAT = 1
KEPT = 2
VARIABLES, STATE, SUMS = "variables.npz", "state.json", "SHA256SUMS"
LARGEST_STATE = 64 * 2**20  # bytes; a row of metrics takes about 300
_NAME = re.compile(r"epoch-(\d+)-step-(\d+)")


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """What a checkpoint holds.

    Args:
        path: path of its folder.
        variables: dictionary from names to arrays.
        state: dictionary, as JSON can hold it.
    """

    path: Path
    variables: dict
    state: dict


class DamagedCheckpoint(Exception):
    """Says in which way a checkpoint is not what was written."""


def checkpoint_name(epoch, step):
    """The name of the folder: epochs that are finished, and steps of the next one."""
    return f"epoch-{epoch:05d}-step-{step:07d}"


def checkpoints(folder):
    """Returns the paths of the checkpoints in a folder, the oldest first."""
    found = [path for path in Path(folder).glob("*") if _NAME.fullmatch(path.name)]
    return sorted(found, key=lambda path: tuple(map(int, _NAME.fullmatch(path.name).groups())))


def write_checkpoint(folder, name, variables, state, files=()):
    """Writes a checkpoint, and removes all but the newest two.

    Args:
        folder: path of the folder of checkpoints.
        name: string, from `checkpoint_name`.
        variables: dictionary from names to arrays.
        state: dictionary of what JSON can hold.
        files: paths of further files to keep; they are linked where the file system can.

    Returns:
        The path of the checkpoint.

    Raises:
        RunError: a variable is not finite; nothing is written.
        OSError: it cannot be written, such as on a full disk; nothing is left of it then.
    """
    for key, value in variables.items():
        if np.issubdtype(value.dtype, np.inexact) and not np.isfinite(value).all():
            raise RunError(f"{key} is not finite")
    target = Path(folder) / name
    temporary = target.with_name(f".{name}.partial")
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        temporary.mkdir(parents=True)
        np.savez(temporary / VARIABLES, **variables)
        (temporary / STATE).write_text(json.dumps({"format": FORMAT, **state}))
        for path in files:
            _link(path, temporary / path.name)
        written = sorted(temporary.iterdir())
        lines = [f"{_sha256(path)}  {path.name}\n" for path in written]
        (temporary / SUMS).write_text("".join(lines))
        for path in (*written, temporary / SUMS):
            with open(path, "rb") as file:
                os.fsync(file.fileno())
        flush_folder(temporary)
        shutil.rmtree(target, ignore_errors=True)  # a damaged one, which was passed over
        os.rename(temporary, target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    flush_folder(folder)
    # what a killed process left half-written, too
    for old in (*checkpoints(folder)[:-KEPT], *Path(folder).glob(".*.partial")):
        shutil.rmtree(old, ignore_errors=True)
    return target


def read_checkpoint(path):
    """Reads a checkpoint that is what was written.

    Args:
        path: path of its folder.

    Returns:
        A `Checkpoint`.

    Raises:
        DamagedCheckpoint: a file is missing, foreign, or not the one that was written.
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
                raise DamagedCheckpoint(f"{VARIABLES} is compressed")  # perhaps to fill the memory
        with np.load(path / VARIABLES, allow_pickle=False) as archive:
            variables = {name: archive[name] for name in archive.files}
    except DamagedCheckpoint:
        raise
    except Exception as error:  # a damaged file can fail in any way
        raise DamagedCheckpoint(str(error) or type(error).__name__) from error
    return Checkpoint(path, variables, state)


def newest_checkpoint(folder, announce=print):
    """Reads the newest checkpoint that is whole.

    Args:
        folder: path of the folder of checkpoints.
        announce: function that takes a line of text; told of every one that is passed over.

    Returns:
        A `Checkpoint`, or `None` if there is none at all.

    Raises:
        RunError: there are checkpoints, and all are damaged.
    """
    found = checkpoints(folder)
    for path in reversed(found):
        try:
            return read_checkpoint(path)
        except DamagedCheckpoint as error:
            announce(f"{path} is damaged ({error}); taking the one before")
    if found:
        raise RunError(
            f"all checkpoints in {folder} are damaged; remove that folder to begin the run anew"
        )
    return None


def _check_sums(path):
    lines = (path / SUMS).read_text("ascii").splitlines()
    sums = dict(reversed(line.split("  ", 1)) for line in lines)
    present = {file.name for file in path.iterdir()} - {SUMS}
    if set(sums) != present or not {VARIABLES, STATE} <= present:
        raise DamagedCheckpoint(f"it holds {sorted(present)}, and its checksums {sorted(sums)}")
    for name, wanted in sums.items():
        if _sha256(path / name) != wanted:
            raise DamagedCheckpoint(f"{name} does not have its checksum")


def _sha256(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _link(source, target):
    """Another name for the same file, or a copy; whoever replaces the one leaves the other."""
    with contextlib.suppress(OSError):
        os.link(source, target)
        return
    shutil.copyfile(source, target)
