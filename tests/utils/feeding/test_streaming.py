"""Batches that are read ahead, in threads, in processes, and from the middle of an epoch on."""

import multiprocessing
import os
import signal
import threading
from pathlib import Path

import numpy as np
import pytest

from tests.utils.feeding.image_batches import make_batches
from utils.data.datasets import load_dataset
from utils.feeding import streaming
from utils.feeding.on_disk import images_in_order
from utils.feeding.streaming import StreamedBatches, reading_images
from utils.system.errors import RunError

pytest.importorskip("grain")
pytestmark = pytest.mark.once  # NumPy arrays from processes; nothing of a backend


def test_a_batch_is_a_function_of_seed_epoch_and_number(folder_dataset):
    """Read alone, in order in threads, or from the middle of an epoch on: the same."""
    read = make_batches(folder_dataset)
    stream, resumed = StreamedBatches(read), StreamedBatches(read)
    with reading_images(stream, resumed):
        seen = []
        for epoch in range(2):
            stream.start_epoch(epoch)
            seen += [stream[number] for number in range(len(stream))]
        resumed.start_epoch(1, skip=2)
        assert len(resumed) == len(stream) - 2 == 1
        again = resumed[0]
    for number in (0, 4):
        for alone, found in zip(read(number), seen[number], strict=True):
            np.testing.assert_array_equal(alone, found)
    np.testing.assert_array_equal(again[0], seen[5][0])
    np.testing.assert_array_equal(again[1], seen[5][1])
    other = make_batches(folder_dataset, seed=4)(0)
    assert (other[0] != seen[0][0]).any()


def all_end(processes):
    """Whether processes that were told to end do so."""
    for process in processes:
        process.join(60)
    return not any(process.is_alive() for process in processes)


@pytest.mark.parametrize("shared", ["/dev/shm", "/nowhere"])
def test_worker_processes_give_the_same_and_end(folder_dataset, shared, monkeypatch):
    """Through shared memory where there is enough, and through pipes."""
    monkeypatch.setattr(streaming, "SHARED_MEMORY", Path(shared))
    read = make_batches(folder_dataset)
    stream = StreamedBatches(read, workers=2)
    with reading_images(stream):
        for number in range(3):
            images, labels = stream[number]
            np.testing.assert_array_equal(images, read(number)[0])
            np.testing.assert_array_equal(labels, read(number)[1])
    assert all_end(multiprocessing.active_children())


def test_in_order_every_image_comes_once(folder_dataset):
    stream = images_in_order(folder_dataset.x_test, folder_dataset.y_test, np.arange(8))
    with reading_images(stream):
        for _ in range(2):
            found = [stream[number] for number in range(len(stream))]
            labels = np.concatenate([labels for _, labels in found])
            np.testing.assert_array_equal(labels, folder_dataset.y_test)


def test_an_image_that_is_gone_in_the_middle_is_named(own_image_folder):
    data = load_dataset("folder", own_image_folder, image_size=8)
    (own_image_folder / "train" / "temple" / "003.png").write_bytes(b"")
    stream = StreamedBatches(make_batches(data), workers=1)
    with pytest.raises(RunError, match=r"003\.png"), reading_images(stream):
        list(map(stream.__getitem__, range(len(stream) * 3)))


def test_a_worker_that_is_killed_is_reported(folder_dataset):
    """As the system does when memory runs out."""
    stream = StreamedBatches(make_batches(folder_dataset), workers=2)

    def read_all():
        for number in range(1000):
            stream[number]
            if number == 0:
                for child in multiprocessing.active_children():
                    child.kill()

    with pytest.raises(RunError, match="workers") as end, reading_images(stream):
        read_all()
    assert "killed by signal 9 (SIGKILL)" in str(end.value)


@pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="of POSIX")
@pytest.mark.parametrize("shared", ["/dev/shm", "/nowhere"])
def test_a_worker_that_hangs_is_reported_and_ends(folder_dataset, shared, monkeypatch):
    """One that stops in the middle of a message too, as large ones through a pipe have one."""
    monkeypatch.setattr(streaming, "SHARED_MEMORY", Path(shared))
    stream = StreamedBatches(make_batches(folder_dataset), workers=2)

    def read_all():
        stream[0]
        for child in multiprocessing.active_children():
            os.kill(child.pid, signal.SIGSTOP)
        stream.patience = 1
        for number in range(1, 1000):
            stream[number]

    said = "no batch of images came for 1 seconds: one of 2 processes"
    with pytest.raises(RunError, match=said), reading_images(stream):
        read_all()
    assert all_end(multiprocessing.active_children())
    with pytest.raises(RunError, match=said):  # a backend that reads ahead hears the same
        stream[1000]


def test_a_disk_that_does_not_answer_is_reported(folder_dataset, monkeypatch):
    answers = threading.Event()
    read = make_batches(folder_dataset)
    monkeypatch.setattr(type(read.images), "read", lambda *_: answers.wait())
    stream = StreamedBatches(read, patience=1)
    try:
        with (
            pytest.raises(RunError, match="for 1 seconds: the disk does not"),
            reading_images(stream),
        ):
            stream[0]
    finally:
        answers.set()
