"""A run's folder: one process at a time writes to it."""

import os
import socket
from types import SimpleNamespace

import pytest

from utils.runs import run_folder
from utils.runs.run_folder import locked
from utils.system.errors import UserError
from utils.system.files import write_json

pytestmark = pytest.mark.once


def huge(path):
    with open(path, "wb") as file:
        file.truncate(3 * 2**30)


@pytest.mark.parametrize(
    "write",
    [
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(b"12"),
        lambda path: path.write_bytes(b"1\nhalf a na"),
        lambda path: path.write_bytes(b"\xff\xfe\x00\x80"),
        lambda path: path.write_bytes(b"no number\nhost\n"),
        huge,
        os.mkfifo,
        lambda path: path.symlink_to("nowhere"),
    ],
    ids=["empty", "half a number", "half a host", "garbage", "text", "huge", "pipe", "link"],
)
def test_a_lock_that_records_no_process_is_taken_over(write, tmp_path):
    write(tmp_path / "lock")
    with locked(tmp_path):
        pid, host = (tmp_path / "lock").read_text().split()[:2]
        assert (int(pid), host) == (os.getpid(), socket.gethostname())
    assert not tmp_path.exists()  # it was empty


def test_a_lock_that_is_being_written_is_waited_for(tmp_path, monkeypatch):
    """Its process created it a moment ago, and records itself while it is waited for."""
    lock = tmp_path / "lock"
    lock.touch()
    os.utime(lock, (0, 0))  # what is written within a tick of the clock would seem unchanged
    record = f"{os.getppid()}\n{socket.gethostname()}\n"
    waits = []

    def sleep(seconds):
        waits.append(seconds)
        lock.write_text(record)

    monkeypatch.setattr(run_folder, "time", SimpleNamespace(sleep=sleep))
    with pytest.raises(UserError, match=f"in use by process {os.getppid()} on"), locked(tmp_path):
        pass
    assert lock.read_text() == record
    assert waits == [run_folder.SECONDS_TO_RECORD]


def test_what_is_no_lock_is_named(tmp_path):
    (tmp_path / "lock").mkdir()
    with pytest.raises(UserError, match="lock is a folder; remove it"), locked(tmp_path):
        pass


def test_data_of_other_classes_are_refused(tmp_path):
    """As many classes in another order would be taken for those of the training."""
    config = {"dataset": "digits"}
    names = [str(digit) for digit in range(10)]
    for summary in ({}, {"class_names": names}, {"class_names": "damaged"}):
        write_json(tmp_path / "summary.json", summary)
        assert run_folder.load_run_dataset(tmp_path, config).class_names == tuple(names)
    for others, how in ((names[::-1], "they differ in their order"), (
        [*names[:9], "ten"], "only one has 9, ten"
    )):  # fmt: skip
        write_json(tmp_path / "summary.json", {"class_names": others})
        with pytest.raises(UserError, match=f"on other classes than digits has: {how}"):
            run_folder.load_run_dataset(tmp_path, config)
