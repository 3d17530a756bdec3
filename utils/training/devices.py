"""Data-parallel training: several devices, of one host or several, each with a part of a batch."""

import atexit
import contextlib
import dataclasses
import functools
import hashlib
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NoReturn, TypeVar

import keras
import numpy as np

from ..config.settings import TrainSettings
from ..feeding.protocols import Batches
from ..feeding.shares import Share
from ..system import backend, backend_devices
from ..system.errors import Interrupted, RunError, UserError

LONGEST_REASON = 200  # characters
# seconds that the chief waits before it exits after an error: JAX kills the other hosts then, and
# those with an error of their own should have printed it by that time
CHIEF_EXIT_DELAY = 2

Result = TypeVar("Result")


@dataclasses.dataclass(frozen=True)
class Devices:
    """The devices of a data-parallel training, as seen from one of its hosts.

    Args:
        per_host: int, devices of every host. Defaults to 1.
        hosts: int, number of hosts. Defaults to 1.
        host: int, the number of this host, from 0 on. Host 0 is the chief. Defaults to 0.
    """

    per_host: int = 1
    hosts: int = 1
    host: int = 0

    @property
    def count(self) -> int:
        """Number of devices of all hosts."""
        return self.per_host * self.hosts

    @property
    def is_chief(self) -> bool:
        """Whether this host is the chief, the one that writes the run's folder and prints."""
        return self.host == 0

    @functools.cached_property
    def _distribution(self):
        return backend_devices.data_parallel(self.per_host)

    def scope(self) -> contextlib.AbstractContextManager[object]:
        """A context in which models are built on all devices, and are trained on them."""
        return self._distribution.scope() if self.count > 1 else contextlib.nullcontext()

    @property
    def batch_share(self) -> Share:
        """The `Share` of every batch that this host trains on."""
        return Share(self.count, self.hosts, self.host)

    def weight(self, batches: Batches | None) -> "Batches | SharedBatches | None":
        """Returns a host's share of batches with weights, so that padding counts for nothing.

        Args:
            batches: `Batches` with `batch_share` as their share, or `None`, which is returned.

        Returns:
            A `SharedBatches`; on a single device `batches` itself.
        """
        return SharedBatches(batches) if batches and self.count > 1 else batches

    def check_batch(self, size: int) -> None:
        """Checks that batches can be split into equal parts, one for each device.

        Args:
            size: int, images per batch.

        Raises:
            UserError: the size is not a multiple of the number of devices.
        """
        if size % self.count:
            raise UserError(
                f"batch_size must be a multiple of the {self.count} devices that share it; "
                f"received {size}, the nearest are {size - size % self.count or self.count} and "
                f"{size - size % self.count + self.count}"
            )

    def max_over_hosts(self, number: int) -> int:
        """Returns the maximum of a number over all hosts.

        A collective operation: all hosts must call it after the same step.

        Args:
            number: int, this host's.
        """
        return int(backend_devices.gather(number).max()) if self.hosts > 1 else number

    def call_on_all_hosts(self, function: Callable[[], Result]) -> Result:
        """Calls a function on every host; if it raises a `UserError` on one, all hosts raise one.

        A collective operation: all hosts must call it.

        Args:
            function: function without arguments.

        Returns:
            What the function returns on this host.

        Raises:
            UserError: the function raised one on this or another host.
        """
        own_error = None
        try:
            result = function()
        except UserError as error:
            own_error = error
        if self.hosts > 1:
            failed = np.flatnonzero(backend_devices.gather(own_error is not None))
            if own_error is None and len(failed):
                raise UserError(f"host {failed[0]} cannot train; its own message says why")
        if own_error is not None:
            raise own_error
        return result

    def check_same(self, state: Mapping[str, Any]) -> None:
        """Checks that all hosts have the same state.

        A collective operation: all hosts must call it.

        Args:
            state: dictionary of JSON values, with the same keys on all hosts.

        Raises:
            UserError: a value differs between hosts.
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
                    f"hosts 0 and {others[0]} do not have the same {name}; start all hosts with "
                    "the same command, data, folder and versions"
                )

    @contextlib.contextmanager
    def detecting_lost_hosts(self) -> Iterator[None]:
        """A context that turns the backend's errors about lost hosts into a `RunError`.

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
                f"{str(error).strip().splitlines()[0][-LONGEST_REASON:]}; start all hosts again "
                "with --resume"
            ) from error

    @contextlib.contextmanager
    def exiting_without_barrier_on_error(self) -> Iterator[None]:
        """A context after whose errors this process exits without waiting for the other hosts.

        JAX waits at exit until all hosts exit, and the other hosts would wait for this one in the
        middle of a step.
        """
        try:
            with self.detecting_lost_hosts():
                yield
        except Interrupted:  # raised after the same step on all hosts: all of them exit
            raise
        except BaseException as error:
            if self.hosts > 1:
                self._skip_exit_barrier(getattr(error, "code", 1))
            raise

    def _skip_exit_barrier(self, code):
        def exit_now() -> NoReturn:
            sys.stdout.flush()
            sys.stderr.flush()
            if self.is_chief:
                time.sleep(CHIEF_EXIT_DELAY)
            os._exit(code)

        atexit.register(exit_now)

    def synchronize_normalization(self, model: keras.Model) -> None:
        """Makes batch normalization use the statistics of the whole batch, on all devices.

        JAX does so in any case.

        Args:
            model: a `keras.Model`, which is changed.
        """
        backend_devices.synchronize_normalization(model, True)

    @contextlib.contextmanager
    def single_device_form(self, model: keras.Model) -> Iterator[None]:
        """A context in which a model has the configuration of a single device, to be saved.

        Args:
            model: a `keras.Model` after `synchronize_normalization`.
        """
        backend_devices.synchronize_normalization(model, False)
        try:
            yield
        finally:
            backend_devices.synchronize_normalization(model, True)


def find_devices(settings: TrainSettings) -> Devices:
    """Finds the devices that settings ask for, and connects to the other hosts.

    It must be called before anything is computed: JAX cannot connect to other hosts later.

    Args:
        settings: a `TrainSettings`.

    Returns:
        A `Devices`.

    Raises:
        UserError: there are fewer devices, the backend cannot train on several, or the hosts do not
            connect.
    """
    hosts, host_id, coordinator = cluster_settings(settings)
    name = keras.backend.backend()
    if name == "torch" and (settings.devices > 1 or hosts > 1):
        raise UserError(
            "training on several devices works with TensorFlow or JAX, not with PyTorch; use "
            "--backend jax"
        )
    if name == "tensorflow" and hosts > 1:
        raise UserError(
            "training on several hosts works with JAX alone: Keras 3 on TensorFlow cannot do it "
            "(https://github.com/keras-team/keras/issues/20585); use --backend jax"
        )
    if settings.batch_size is not None:
        Devices(settings.devices, hosts).check_batch(settings.batch_size)
    host = backend_devices.join_hosts(coordinator, hosts, host_id) if hosts > 1 else 0
    devices = Devices(settings.devices, hosts, host)
    with devices.exiting_without_barrier_on_error():
        devices.call_on_all_hosts(lambda: _check_local_devices(settings.devices))
    return devices


def _check_local_devices(wanted):
    if wanted == 1:
        return  # counting the devices would take seconds
    found = backend_devices.local_devices()
    if wanted > found:
        hint = "" if backend.on_accelerator() else (
            f"; to try it, set {backend.CPU_DEVICES}={wanted}, which splits the CPU"
        )  # fmt: skip
        raise UserError(
            f"devices must be at most {found}, as many as this host has; received {wanted}{hint}"
        )


def cluster_settings(settings: TrainSettings) -> tuple[int, int | None, str | None]:
    """Returns the number of hosts, the number of this host, and the address of the chief.

    Settings take precedence over Keras's environment variables.

    Args:
        settings: a `TrainSettings`.

    Returns:
        Two ints and a string. `None` for the number of this host, or for the address, leaves it to
        JAX to find it.

    Raises:
        UserError: the settings or variables are not valid, or contradict each other.
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
        raise UserError("host_id and coordinator are for one of several hosts; add --hosts")
    if hosts > 1 and host_id is not None and not 0 <= host_id < hosts:
        raise UserError(f"host_id must be below hosts, which is {hosts}; received {host_id}")
    if hosts > 1 and (host_id is None) != (coordinator is None):
        raise UserError(
            "host_id and coordinator must be given together; received one of them (without both, "
            "JAX looks for a TPU slice or Slurm)"
        )
    return hosts, host_id, coordinator


class SharedBatches(keras.utils.PyDataset):
    """One host's part of batches, with sample weights by which every image counts equally.

    Where a batch is padded to a multiple of the devices, its padding rows have weight 0. All other
    rows then have the same weight above 1, by which a mean over all rows of an epoch is the mean
    over its images.

    Args:
        batches: `Batches` with the host's share.
    """

    def __init__(self, batches: Batches) -> None:
        super().__init__()
        self.batches = batches

    @property
    def num_batches(self) -> int:
        return self.batches.num_batches

    def __getitem__(self, number: int) -> tuple[Any, ...]:
        inputs, labels = self.batches[number]
        if self._weight == 1:
            return inputs, labels
        size = self.batches.rows_of(number)
        is_image = self.batches.share.padded_rows(size) < size
        return inputs, labels, np.where(is_image, self._weight, 0).astype("float32")

    @functools.cached_property
    def _weight(self):
        """Rows with padding over rows without, of an epoch; 1 if no batch is padded."""
        sizes = [self.batches.rows_of(number) for number in range(self.num_batches)]
        return sum(map(self.batches.share.padded_size, sizes)) / sum(sizes)
