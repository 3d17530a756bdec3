"""The reading of batches of images on disk, ahead of the training, in threads or processes."""

import collections
import contextlib
import functools
import math
import re
import shutil
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np

from ..data.data_format import in_data_format
from ..system.backend import threads
from ..system.errors import RunError, UserError
from ..system.processes import killed_by
from ..system.waiting import call_within
from ..system.workers import (
    follow_parent,
    kill_workers,
    silence_grain,
    silence_resource_tracker,
)
from .image_batches import ImageBatches
from .shares import Share

PREFETCH = 2  # batches that a worker process keeps ready
CACHED = 4  # batches: Keras reads the first two twice, once for their shapes
WORKER_ENDED = re.compile(r"terminated unexpectedly with exit code (-?\d+)")  # Grain's words
UNLIMITED = 2**62  # batches, or bytes
SHARED_MEMORY = Path("/dev/shm")  # on Linux
PATIENCE = 600  # seconds without a batch, after which the reading is held to hang


class StreamedBatches(keras.utils.PyDataset):
    """Batches of images and labels for Keras, which Grain reads ahead.

    Args:
        read: an `ImageBatches`, the function from a batch's number to the batch.
        workers: int, the number of processes that decode images. Defaults to 0: threads of this
            process, which start faster.
        patience: int, seconds to wait for a batch. Defaults to 600.

    The attribute `failure` is the `UserError` of an image that could not be read, the `RunError` of
    a process that ended or hangs, or `None`: a backend may wrap it in an error of its own.
    """

    def __init__(self, read: ImageBatches, workers: int = 0, patience: int = PATIENCE) -> None:
        super().__init__()
        self.read = read
        self.processes = workers
        self.patience = patience
        self.failure: UserError | RunError | None = None
        self._batches: Any = None  # Grain's iterator
        self._next: int | None = None  # the number of the batch that it gives next
        self._cache: collections.OrderedDict[int, Any] = collections.OrderedDict()
        self._reading = threading.Lock()  # TensorFlow reads from a thread of its own
        self._closed = False
        self.start_epoch(0)

    def start_epoch(self, epoch: int, skip: int = 0) -> None:
        """Chooses the epoch whose batches are given; see `Batches`."""
        self.epoch, self.skip = epoch, skip

    @property
    def indices(self) -> np.ndarray:
        """Int array, the samples of an epoch."""
        return self.read.indices

    @property
    def batch_size(self) -> int:
        """Samples in a batch, before it is shared."""
        return self.read.batch_size

    @property
    def share(self) -> Share:
        """The rows of every batch that are given."""
        return self.read.share

    def __len__(self) -> int:
        return len(self.read) - self.skip

    @property
    def num_batches(self) -> int:
        """Batches in the epoch, without those that are left out."""
        return len(self)

    def rows_of(self, number: int) -> int:
        """Returns the rows of a batch before it is shared."""
        return self.read.rows_of(self.skip + number)

    def __getitem__(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        number += self.skip + self.epoch * len(self.read)
        with self._reading:
            if number not in self._cache:
                self._cache[number] = self._read(number)
                while len(self._cache) > CACHED:
                    self._cache.popitem(last=False)
            return self._cache[number]

    def _read(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        # by a training that was stopped, or after an error, while a backend still reads ahead
        if self._closed or self.failure:
            raise RunError(str(self.failure or "no batches are read any more"))
        try:
            if number != self._next:
                self._stop()
                self._batches, self._next = self._start_at(number), number
            images, labels = call_within(self.patience, functools.partial(next, self._batches))
        except UserError as error:
            self.failure = error
            raise
        except TimeoutError:
            kill_workers()  # to close Grain's iterator would wait for them
            self.failure = RunError(self._how_it_hangs())
            raise self.failure from None
        except RuntimeError as error:
            ended = WORKER_ENDED.search(str(error))
            if ended:
                self.failure = RunError(self._how_a_worker_ended(int(ended[1])))
            raise
        self._next = number + 1
        return in_data_format(images), labels

    def _how_it_hangs(self) -> str:
        why = f"one of {self.processes} processes that decode images hangs"
        return (
            f"no batch of images came for {self.patience} seconds: "
            f"{why if self.processes else 'the disk does not answer'}; resume the run, with other "
            "--workers if it happens again"
        )

    def _how_a_worker_ended(self, code: int) -> str:
        how = f"ended with exit code {code}" if code >= 0 else f"was {killed_by(code)}"
        memory = ", as the system does when memory runs out" if code == -signal.SIGKILL else ""
        return (
            f"one of {self.processes} processes that decode images {how}{memory}; resume the run, "
            f"with fewer --workers if it happens again"
        )

    def _start_at(self, first: int) -> Iterator[Any]:
        """Returns an iterator over all batches from a number on."""
        silence_grain()
        import grain
        from absl import flags

        if not flags.FLAGS.is_parsed():  # Grain reads flags that only its own programs parse
            flags.FLAGS.mark_as_parsed()
        end = UNLIMITED if self.read.shuffle else len(self.read)
        count = 1 if self.processes else threads()
        options = grain.ReadOptions(num_threads=count, prefetch_buffer_size=count)
        batches = grain.MapDataset.range(first, end).map(self.read).to_iter_dataset(options)
        if self.processes:
            silence_resource_tracker()
            options = grain.experimental.DatasetOptions(min_shm_size=self._min_shared_size())
            batches = grain.experimental.WithOptionsIterDataset(batches, options)
            processes = grain.multiprocessing.MultiprocessingOptions(self.processes, PREFETCH)
            batches = batches.mp_prefetch(processes, worker_init_fn=follow_parent)
        return iter(batches)

    def _min_shared_size(self) -> int:
        """Returns the size in bytes from which on arrays are passed through shared memory.

        Smaller arrays are passed through pipes, which is slower.
        """
        batches = (self.processes + 1) * (PREFETCH + 2) + CACHED
        needed = batches * self.batch_size * math.prod(self.read.images.shape[1:])
        # containers have little shared memory, and a process that writes more than that is killed
        scarce = not SHARED_MEMORY.is_dir() or shutil.disk_usage(SHARED_MEMORY).free < 2 * needed
        return UNLIMITED if scarce else 2**10

    def close(self) -> None:
        """Stops reading for good."""
        with self._reading:
            self._closed = True
            self._stop()

    def _stop(self) -> None:
        if hasattr(self._batches, "close"):
            self._batches.close()
        self._batches = self._next = None


@contextlib.contextmanager
def reading_images(*batches: StreamedBatches | None) -> Iterator[None]:
    """A context for the use of batches; at its end, what reads them ahead is stopped.

    Args:
        *batches: `StreamedBatches`, or `None`.

    Raises:
        RunError: an image could not be read or a process ended, whatever a backend made of that.
    """
    streams = [stream for stream in batches if stream is not None]
    try:
        yield
    except Exception as error:
        for stream in streams:
            if stream.failure:
                raise RunError(str(stream.failure)) from error
        raise
    finally:
        for stream in streams:
            stream.close()
