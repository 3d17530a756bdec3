"""Batches of images from disk: decoded ahead by Grain in threads or in processes of their own."""

import collections
import contextlib
import dataclasses
import math
import shutil
import threading
from pathlib import Path

import keras

from ..data.datasets import in_data_format
from ..system.backend import threads
from ..system.errors import RunError, UserError
from ..system.processes import follow_parent, silence_resource_tracker

AHEAD = 2  # batches that a worker keeps ready
KEPT = 4  # batches: Keras asks for the first two once more, to learn their shapes
ENDLESS = 2**62  # batches, or bytes
SHARED = Path("/dev/shm")  # shared memory, on Linux


class StreamedBatches(keras.utils.PyDataset):
    """Batches of images and labels for Keras, read in the order in which it asks for them.

    Args:
        read: an `ImageBatches`.
        workers: int, processes that decode; 0 for threads of this process, which are there at once.

    The attribute `epoch` says whose batches to give; set it before the epoch begins. The attribute
    `skip` is the number of batches at the beginning of the epoch that are left out. `failure` is
    the `UserError` of an image that could not be read: Keras may wrap it in another.
    """

    def __init__(self, read, workers=0):
        super().__init__()
        self.read = read
        self.processes = workers
        self.epoch = self.skip = 0
        self.failure = None
        self._batches = None
        self._next = None
        self._kept = collections.OrderedDict()
        self._reading = threading.Lock()  # TensorFlow asks from a thread of its own
        self._closed = False

    @property
    def indices(self):
        return self.read.indices

    @property
    def batch_size(self):
        return self.read.batch_size

    def __len__(self):
        return len(self.read) - self.skip

    @property
    def num_batches(self):
        return len(self)

    @property
    def share(self):
        """A `Share`, the rows of every batch that are given; to be set before any is asked for."""
        return self.read.share

    @share.setter
    def share(self, share):
        self.read = dataclasses.replace(self.read, share=share)

    def rows_of(self, number):
        """Rows of a batch, whatever the share of it."""
        return self.read.rows_of(self.skip + number)

    def __getitem__(self, number):
        wanted = self.skip + number + self.epoch * len(self.read)
        with self._reading:
            if wanted not in self._kept:
                self._kept[wanted] = self._read(wanted)
                while len(self._kept) > KEPT:
                    self._kept.popitem(last=False)
            return self._kept[wanted]

    def _read(self, wanted):
        if self._closed:  # asked ahead of a training that was stopped
            raise RunError("no batches are read any more")
        try:
            if wanted != self._next:
                self._stop()
                self._batches, self._next = self._from(wanted), wanted
            images, labels = next(self._batches)
        except UserError as error:
            self.failure = error
            raise
        self._next += 1
        return in_data_format(images), labels

    def _from(self, first):
        """Iterator of all batches from one on."""
        import grain
        from absl import flags

        if not flags.FLAGS.is_parsed():  # Grain looks at flags that only its own programs parse
            flags.FLAGS.mark_as_parsed()
        numbers = grain.MapDataset.range(first, ENDLESS if self.read.shuffle else len(self.read))
        count = 1 if self.processes else threads()
        options = grain.ReadOptions(num_threads=count, prefetch_buffer_size=count)
        batches = numbers.map(self.read).to_iter_dataset(options)
        if self.processes:
            silence_resource_tracker()
            options = grain.experimental.DatasetOptions(min_shm_size=self._least_shared())
            batches = grain.experimental.WithOptionsIterDataset(batches, options)
            processes = grain.multiprocessing.MultiprocessingOptions(self.processes, AHEAD)
            batches = batches.mp_prefetch(processes, worker_init_fn=follow_parent)
        return iter(batches)

    def _least_shared(self):
        """Bytes from which on arrays come through shared memory and not, slower, through pipes."""
        batches = (self.processes + 1) * (AHEAD + 2) + KEPT
        needed = batches * self.batch_size * math.prod(self.read.images.shape[1:])
        # containers have little of it, and whoever writes more than there is is killed
        scarce = not SHARED.is_dir() or shutil.disk_usage(SHARED).free < 2 * needed
        return ENDLESS if scarce else 2**10

    def close(self):
        """Ends what reads ahead, for good."""
        with self._reading:
            self._closed = True
            self._stop()

    def _stop(self):
        if hasattr(self._batches, "close"):
            self._batches.close()
        self._batches = self._next = None


@contextlib.contextmanager
def reading_images(*batches):
    """A context in which batches are read; at its end, what reads ahead is ended too.

    Args:
        *batches: `StreamedBatches`, or `None`.

    Raises:
        RunError: an image could not be read, whatever a backend made of that error.
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
