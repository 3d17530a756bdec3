"""Checkpoints are complete or absent, and a damaged one is skipped."""

import errno
import io
import json
import os
import stat
import zipfile

import numpy as np
import pytest

from tests.run_folders import write_checksums
from utils.runs import checkpoint
from utils.runs.checkpoint import (
    checkpoint_name,
    checkpoints,
    newest_checkpoint,
    read_checkpoint,
    write_checkpoint,
)
from utils.system.errors import RunError

pytestmark = pytest.mark.once

VARIABLES = {
    "model/0": np.linspace(0, 1, 12, dtype="float32").reshape(3, 4),
    "model/1": np.array([7, 2**32 - 1], "uint32"),
    "optimizer/0": np.array(41, "int64"),
}


def write(folder, epoch=1, step=0, variables=VARIABLES, files=()):
    state = {"progress": {"epoch": epoch, "step": step}}
    return write_checkpoint(folder, checkpoint_name(epoch, step), variables, state, files)


def test_reads_what_was_written(tmp_path):
    best = tmp_path / "best.keras"
    best.write_bytes(b"network")
    path = write(tmp_path / "last", 3, 17, files=[best])
    found = newest_checkpoint(tmp_path / "last")
    assert found.path == path
    assert found.state == {"format": 1, "progress": {"epoch": 3, "step": 17}}
    assert list(found.variables) == list(VARIABLES)
    for name, value in VARIABLES.items():
        assert found.variables[name].dtype == value.dtype
        np.testing.assert_array_equal(found.variables[name], value)
    best.unlink()
    assert (path / "best.keras").read_bytes() == b"network"


def test_keeps_the_newest_two(tmp_path):
    for epoch, step in ((0, 900), (1, 0), (1, 10), (9, 5), (10, 0)):
        write(tmp_path, epoch, step)
    assert [path.name for path in checkpoints(tmp_path)] == [
        "epoch-00009-step-0000005",
        "epoch-00010-step-0000000",
    ]
    assert {path.name for path in tmp_path.iterdir()} == {p.name for p in checkpoints(tmp_path)}


def test_without_a_checkpoint(tmp_path):
    assert newest_checkpoint(tmp_path / "last") is None
    (tmp_path / ".epoch-00001-step-0000000.partial").mkdir()  # killed while writing its first
    assert newest_checkpoint(tmp_path) is None
    write(tmp_path, 2)
    assert [path.name for path in tmp_path.iterdir()] == ["epoch-00002-step-0000000"]


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


DAMAGES = {
    "a bit": lambda path: flip(path),
    "truncated": lambda path: path.write_bytes(path.read_bytes()[:-3]),
    "empty": lambda path: path.write_bytes(b""),
    "missing": lambda path: path.unlink(),
    "a folder": lambda path: (path.unlink(), path.mkdir()),
    "a pipe": lambda path: (path.unlink(), os.mkfifo(path)),
}


@pytest.mark.parametrize("name", ["variables.npz", "state.json", "SHA256SUMS"])
@pytest.mark.parametrize("damage", DAMAGES)
def test_reads_the_one_before_a_damaged_one(name, damage, tmp_path):
    before, newest = write(tmp_path, 1), write(tmp_path, 2)
    DAMAGES[damage](newest / name)
    lines = []
    assert newest_checkpoint(tmp_path, lines.append).path == before
    assert len(lines) == 1
    assert str(newest) in lines[0]
    assert "damaged" in lines[0]
    # the resumed run writes that checkpoint again, over the damaged one
    write(tmp_path, 2)
    assert newest_checkpoint(tmp_path).path == newest


def test_files_are_flushed_while_they_can_be_written(tmp_path, monkeypatch):
    """Windows refuses to flush others."""
    flushed, fsync = [], os.fsync

    def record(file):
        if not stat.S_ISDIR(os.fstat(file).st_mode):
            os.write(file, b"")  # raises an error if it is open to read alone
            flushed.append(os.fstat(file).st_ino)
        fsync(file)

    monkeypatch.setattr(os, "fsync", record)
    path = write(tmp_path)
    assert {file.stat().st_ino for file in path.iterdir()} == set(flushed)


def test_an_added_file_is_damage(tmp_path):
    write(tmp_path, 1)
    (write(tmp_path, 2) / "more.txt").write_text("?")
    assert newest_checkpoint(tmp_path, lambda line: None).state["progress"]["epoch"] == 1


def test_all_damaged(tmp_path):
    for epoch in (1, 2):
        flip(write(tmp_path, epoch) / "variables.npz")
    with pytest.raises(RunError, match=r"all checkpoints in .* are damaged; remove that folder"):
        newest_checkpoint(tmp_path, lambda line: None)


def pickled(path):
    np.savez(path / "variables.npz", x=np.array([print], dtype=object))


def compressed(path):
    np.savez_compressed(path / "variables.npz", x=np.zeros(10**6))


def huge(path):
    """A header that claims 8 TB, and no data."""
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        header, {"descr": "<f8", "fortran_order": False, "shape": (10**12,)}
    )
    with zipfile.ZipFile(path / "variables.npz", "w") as archive:
        archive.writestr("x.npy", header.getvalue())


def no_archive(path):
    (path / "variables.npz").write_bytes(b"nothing of the kind")


def not_json(path):
    (path / "state.json").write_text("{")


def a_list(path):
    (path / "state.json").write_text("[1]")


def another_format(path):
    (path / "state.json").write_text(json.dumps({"format": 99}))


def deep(path):
    (path / "state.json").write_text("[" * 10**5)


def utf_16(path):
    (path / "state.json").write_text('{"format": 1}', "utf-16")


def texts(path):
    np.savez(path / "variables.npz", x=np.array(["a"]))


def void(path):
    np.savez(path / "variables.npz", x=np.zeros(3, "V4"))


@pytest.mark.parametrize(
    "tamper",
    [
        pickled,
        texts,
        void,
        compressed,
        huge,
        no_archive,
        not_json,
        a_list,
        another_format,
        deep,
        utf_16,
    ],
)
def test_matching_checksums_are_not_enough(tamper, tmp_path):
    path = write(tmp_path)
    tamper(path)
    write_checksums(path)
    with pytest.raises(checkpoint.DamagedCheckpoint):
        read_checkpoint(path)


def test_values_that_are_not_finite_are_not_written(tmp_path):
    before = write(tmp_path, 1)
    for value in (np.nan, np.inf):
        with pytest.raises(RunError, match="model/0 is not finite"):
            write(tmp_path, 2, variables={"model/0": np.array([1, value], "float32")})
    assert list(tmp_path.iterdir()) == [before]


@pytest.mark.parametrize("name", ["fsync", "rename", "mkdir"])
def test_a_full_disk_leaves_the_folder_as_it_was(name, tmp_path, monkeypatch):
    before = write(tmp_path, 1)

    def full(*args, **kwargs):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(checkpoint.os, name, full)
    with pytest.raises(OSError, match="No space left"):
        write(tmp_path, 2)
    monkeypatch.undo()
    assert list(tmp_path.iterdir()) == [before]
    assert newest_checkpoint(tmp_path).path == before
