"""Several devices, of this host and of others, that train one network: each a part of a batch."""

import atexit
import contextlib
import dataclasses
import functools
import hashlib
import json
import os
import sys
import time

import keras
import numpy as np

from ..feeding.protocols import Batches
from ..feeding.shares import Share
from ..system import backend, backend_devices
from ..system.errors import Interrupted, RunError, UserError

LONGEST_REASON = 200  # characters
# seconds: the others are killed when the first is gone; those that fail for the same reason should
# have said so by then
FIRST_LINGERS = 2


@dataclasses.dataclass(frozen=True)
class Devices:
    """The devices that train together, as seen from one of their hosts.

    Args:
        per_host: int, devices of every host. Defaults to 1.
        hosts: int. Defaults to 1.
        host: int, the number of this one; the first, 0, is the one that writes. Defaults to 0.
    """

    per_host: int = 1
    hosts: int = 1
    host: int = 0

    @property
    def count(self):
        """All devices of all hosts."""
        return self.per_host * self.hosts

    @property
    def writes(self):
        """Whether this host writes the run's folder."""
        return self.host == 0

    @functools.cached_property
    def _distribution(self):
        return backend_devices.data_parallel(self.per_host)

    def scope(self):
        """A context in which what is built is on all devices, and what is fitted trains on them."""
        return self._distribution.scope() if self.count > 1 else contextlib.nullcontext()

    @property
    def batch_share(self) -> Share:
        """The `Share` of every batch that this host trains on."""
        return Share(self.count, self.hosts, self.host)

    def weight(self, batches: Batches | None) -> "Batches | SharedBatches | None":
        """Returns a host's share of batches with weights, so that padding counts for nothing.

        Args:
            batches: `Batches` with `batch_share` as their share, or `None`, which is returned.
        """
        return SharedBatches(batches) if batches and self.count > 1 else batches

    def check_batch(self, size):
        """Refuses batches that the devices cannot have equal parts of.

        Raises:
            UserError: `size` images are not a multiple of the devices.
        """
        if size % self.count:
            raise UserError(
                f"batch_size must be a multiple of the {self.count} devices that share it; "
                f"received {size}, the nearest are {size - size % self.count or self.count} and "
                f"{size - size % self.count + self.count}"
            )

    def highest(self, number):
        """The highest of what all hosts call this with, at the same instant of a training."""
        return int(backend_devices.gather(number).max()) if self.hosts > 1 else number

    def unanimous(self, check):
        """Calls a function on every host; what one of them refuses, all refuse.

        Args:
            check: function without arguments.

        Returns:
            What it returns.

        Raises:
            UserError: it raised one here, or on another host.
        """
        refusal = result = None
        try:
            result = check()
        except UserError as error:
            refusal = error
        if self.hosts > 1:
            refusing = np.flatnonzero(backend_devices.gather(refusal is not None))
            if refusal is None and len(refusing):
                raise UserError(f"host {refusing[0]} cannot train; it says why")
        if refusal is not None:
            raise refusal
        return result

    def check_same(self, state):
        """Refuses hosts that would not do the same.

        Args:
            state: dictionary that JSON can hold, of what has to be the same on all hosts.

        Raises:
            UserError: it is not.
        """
        if self.hosts == 1:
            return
        texts = (json.dumps(value, sort_keys=True) for value in state.values())
        digests = [list(hashlib.sha256(text.encode()).digest()) for text in texts]
        found = backend_devices.gather(np.array(digests, "uint8"))
        for number, name in enumerate(state):
            others = np.flatnonzero((found[:, number] != found[0, number]).any(axis=-1))
            if len(others):
                raise UserError(
                    f"hosts 0 and {others[0]} do not have the same {name}; start all with the same "
                    "command, data, folder and versions"
                )

    @contextlib.contextmanager
    def detecting_lost_hosts(self):
        """A context in which the end of another host is told from other errors.

        Raises:
            RunError: another host has ended, or cannot be reached.
        """
        try:
            yield
        except (RuntimeError, ValueError) as error:
            if self.hosts == 1 or not backend_devices.is_lost_host_error(error):
                raise
            raise RunError(
                f"host {self.host} has lost another of the {self.hosts} hosts: "
                f"{str(error).strip().splitlines()[0][-LONGEST_REASON:]}; start them all again "
                "with --resume"
            ) from error

    @contextlib.contextmanager
    def together(self):
        """A context that lets this process end without the others once it has failed.

        JAX would wait for all hosts to end, and they wait for this one in the middle of a step.
        """
        try:
            with self.detecting_lost_hosts():
                yield
        except Interrupted:  # at the same step on all hosts
            raise
        except BaseException as error:
            if self.hosts > 1:
                self._leave_at_once(getattr(error, "code", 1))
            raise

    def _leave_at_once(self, code):
        def leave():
            sys.stdout.flush()
            sys.stderr.flush()
            if self.host == 0:
                time.sleep(FIRST_LINGERS)
            os._exit(code)

        atexit.register(leave)

    def normalize(self, model):
        """Has batches normalized over all devices, which JAX does by itself."""
        backend_devices.synchronize_normalization(model, True)

    @contextlib.contextmanager
    def single_device_form(self, model):
        """A context in which a model is that of one device, as its file should be."""
        backend_devices.synchronize_normalization(model, False)
        try:
            yield
        finally:
            backend_devices.synchronize_normalization(model, True)


def find_devices(settings):
    """Finds the devices that settings ask for, and joins the other hosts.

    To be called before anything is computed: JAX must know of the others by then.

    Args:
        settings: a `TrainSettings`.

    Returns:
        A `Devices`.

    Raises:
        UserError: there are fewer, the backend cannot train on several, or the hosts do not meet.
    """
    hosts, host_id, coordinator = cluster_settings(settings)
    name = keras.backend.backend()
    if name == "torch" and (settings.devices > 1 or hosts > 1):
        raise UserError(
            "several devices are trained on with TensorFlow or JAX, not with PyTorch; take "
            "--backend jax"
        )
    if name == "tensorflow" and hosts > 1:
        raise UserError(
            "several hosts are trained on with JAX alone: Keras 3 on TensorFlow cannot "
            "(https://github.com/keras-team/keras/issues/20585); take --backend jax"
        )
    Devices(settings.devices, hosts).check_batch(settings.batch_size)
    host = backend_devices.join_hosts(coordinator, hosts, host_id) if hosts > 1 else 0
    devices = Devices(settings.devices, hosts, host)
    with devices.together():
        devices.unanimous(lambda: _refuse_too_many(settings.devices))
    return devices


def _refuse_too_many(wanted):
    if wanted == 1:
        return  # without a look at the devices, which takes seconds
    found = backend_devices.local_devices()
    if wanted > found:
        hint = "" if backend.on_accelerator() else (
            f"; {backend.CPU_DEVICES}={wanted} makes as many of the CPU, to try it"
        )  # fmt: skip
        raise UserError(f"devices must be at most {found}, as there are; received {wanted}{hint}")


def cluster_settings(settings):
    """Returns how many hosts there are, which this is, and where the first is, or `None`s.

    Flags stand over Keras's environment variables.

    Args:
        settings: a `TrainSettings`.

    Raises:
        UserError: they do not fit together.
    """
    count, number, addresses = (
        os.environ.get(f"KERAS_DISTRIBUTION_{name}")
        for name in ("NUM_PROCESSES", "PROCESS_ID", "JOB_ADDRESSES")
    )
    try:
        hosts = settings.hosts if settings.hosts > 1 else int(count or 1)
        host_id = int(number) if settings.host_id is None and number else settings.host_id
    except ValueError:
        raise UserError(
            "KERAS_DISTRIBUTION_NUM_PROCESSES and KERAS_DISTRIBUTION_PROCESS_ID must be whole "
            f"numbers; received {count!r} and {number!r}"
        ) from None
    coordinator = settings.coordinator or (addresses or "").split(",")[0] or None
    given = settings.host_id is not None or settings.coordinator is not None
    if hosts == 1 and given:
        raise UserError("host_id and coordinator are of one of several hosts; add --hosts")
    if hosts > 1 and host_id is not None and not 0 <= host_id < hosts:
        raise UserError(f"host_id must be below hosts, which is {hosts}; received {host_id}")
    if hosts > 1 and (host_id is None) != (coordinator is None):
        raise UserError(
            "host_id and coordinator go together; received one of them (without either, JAX looks "
            "for a TPU slice or Slurm)"
        )
    return hosts, host_id, coordinator


class SharedBatches(keras.utils.PyDataset):
    """Batches of which a host has its share, weighted so that every image counts alike.

    Rows that are repeated weigh nothing; the others then weigh so much more that means over all
    batches are those of the rows that are there.

    Args:
        batches: `Batches` with the host's share.
    """

    def __init__(self, batches: Batches) -> None:
        super().__init__()
        self.batches = batches

    @property
    def num_batches(self):
        return self.batches.num_batches

    def __getitem__(self, number):
        inputs, labels = self.batches[number]
        if self._weight == 1:
            return inputs, labels
        size = self.batches.rows_of(number)
        there = self.batches.share.padded_rows(size) < size
        return inputs, labels, np.where(there, self._weight, 0).astype("float32")

    @functools.cached_property
    def _weight(self):
        """Rows with those that are repeated, over rows: 1 for batches that all are a multiple."""
        sizes = [self.batches.rows_of(number) for number in range(self.num_batches)]
        return sum(map(self.batches.share.padded_size, sizes)) / sum(sizes)
