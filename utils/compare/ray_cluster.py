"""Commands as tasks of a Ray cluster: `run_processes` on the machines of the cluster."""

import contextlib
import functools
import importlib.util
import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..system.errors import UserError
from ..system.processes import run_processes, start_process

CONNECT_SECONDS = 10
DEVICES = ("CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES")  # Ray sets these for each task


def require_ray() -> None:
    """Checks that Ray is installed.

    Raises:
        UserError: Ray is not installed.
    """
    if importlib.util.find_spec("ray") is None:
        raise UserError("--ray needs Ray, which is not installed: pip install ray")


def run_on_ray(
    address: str,
    commands: Mapping[str, Sequence[str]],
    jobs: int,
    logs: Path,
    on_start: Callable[[str], None],
    on_end: Callable[[str, int], None],
    environment: Mapping[str, str] | None = None,
) -> None:
    """Runs commands on a Ray cluster, at most `jobs` at once, and waits until all have ended.

    Each command takes one GPU if the cluster has any, otherwise one CPU, and waits until one is
    free. The current folder, Python, the folders named in the commands, and `logs` must be on a
    file system that all nodes share, under the same paths. If a Ray worker dies, its command
    counts as failed.

    Args:
        address: string, such as `"10.0.0.1:6379"`; `"auto"` for the cluster that runs on this
            machine; or `"local"`, which starts Ray on this machine, and stops it at the end.
        commands, jobs, logs, environment: as in `run_processes`.
        on_start: function of a command's name, called before the command starts.
        on_end: function of a command's name and exit code, called after the command has ended.

    Raises:
        UserError: there is no cluster at that address, or it has neither a CPU nor a GPU.
        Interrupted: SIGINT or SIGTERM.
    """
    with _connected(address) as ray:
        resources = ray.cluster_resources()
        device = next((kind for kind in ("GPU", "CPU") if resources.get(kind, 0) >= 1), None)
        if device is None:
            raise UserError(f"the Ray cluster at {address} has neither a CPU nor a GPU to use")
        needs = {f"num_{device.lower()}s": 1}
        task = ray.remote(**needs, max_retries=0)(run_command)
        start = functools.partial(RayTask, ray, task)
        environment = {**(os.environ if environment is None else environment)}
        run_processes(commands, jobs, logs.absolute(), on_start, on_end, environment, start)


@contextlib.contextmanager
def _connected(address: str) -> Iterator[Any]:
    """A context in which this process is connected to a cluster; it yields the module `ray`."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # silences a warning
    import ray

    options: dict[str, Any] = {"object_store_memory": 2**27} if address == "local" else {}
    main_thread = threading.current_thread() is threading.main_thread()
    handler = signal.getsignal(signal.SIGTERM)  # Ray replaces it
    try:
        _require_server(address)
        ray.init(
            address,
            include_dashboard=False,
            log_to_driver=False,
            logging_level=logging.CRITICAL,
            **options,
        )
    except (OSError, RuntimeError, ValueError) as error:
        raise UserError(
            "--ray must be the address HOST:PORT of a Ray cluster, auto or local; received "
            f"{address!r}: {error} (set RAY_AUTH_MODE=token if the cluster requires a token)"
        ) from None
    try:
        yield ray
    finally:
        ray.shutdown()
        if main_thread:
            signal.signal(signal.SIGTERM, handler)


def _require_server(address: str) -> None:
    """Fails within seconds if nothing listens on HOST:PORT, where Ray would try for minutes."""
    host, _, port = address.rpartition(":")
    if host and port.isdecimal():
        socket.create_connection((host, int(port)), CONNECT_SECONDS).close()


class RayTask:
    """A command on a Ray cluster, with those methods of `subprocess.Popen` that are needed here.

    Args:
        ray: the module `ray`.
        task: `run_command` as a remote function of Ray.
        command, log, environment: as in `start_process`.
    """

    def __init__(
        self,
        ray: Any,
        task: Any,
        command: Sequence[str],
        log: Path,
        environment: Mapping[str, str],
    ) -> None:
        self.returncode: int | None = None
        self._ray = ray
        self._log = log
        self._reference = task.remote(command, log, environment, os.getcwd())

    def poll(self) -> int | None:
        ready, _ = self._ray.wait([self._reference], timeout=0)
        if ready and self.returncode is None:
            self.returncode = self._result()
        return self.returncode

    def terminate(self) -> None:
        self._ray.cancel(self._reference)

    def kill(self) -> None:
        self._ray.cancel(self._reference, force=True)

    def wait(self) -> None:
        # not forever: the cluster may have been stopped
        self._ray.wait([self._reference], timeout=CONNECT_SECONDS)

    def _result(self) -> int:
        try:
            return self._ray.get(self._reference)
        except self._ray.exceptions.TaskCancelledError:
            return -signal.SIGTERM
        except self._ray.exceptions.RayError as error:
            # appended to the output of the command, which does not explain Ray's error
            with open(self._log, "a") as file:
                file.write(f"\n{type(error).__name__}: {error}\n")
            return 1


def run_command(
    command: Sequence[str], log: Path, environment: Mapping[str, str], folder: str
) -> int:
    """Runs a command in a Ray worker and waits until it ends; if Ray cancels the task, stops it.

    Args:
        command, log, environment: as in `start_process`.
        folder: string, the folder to run it in.

    Returns:
        The exit code.
    """
    os.chdir(folder)
    # Ray cancels a task by SIGINT, which processes ignore if a shell started Ray in the background
    signal.signal(signal.SIGINT, signal.default_int_handler)
    devices = {name: os.environ[name] for name in DEVICES if name in os.environ}
    # it ends with this worker, which Ray kills when memory runs out
    process = start_process(command, log, {**environment, **devices})
    try:
        while process.poll() is None:
            time.sleep(0.1)  # Ray cannot interrupt `process.wait`
    except KeyboardInterrupt:
        process.terminate()
        process.wait()
    return process.returncode
