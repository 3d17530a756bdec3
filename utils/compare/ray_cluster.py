"""Commands as tasks of a Ray cluster: what `run_processes` does, on the cluster's machines."""

import contextlib
import ctypes
import functools
import importlib.util
import logging
import os
import signal
import socket
import sys
import threading
import time

from ..system.errors import UserError
from ..system.processes import run_processes, start_process

CONNECT_SECONDS = 10
DEVICES = ("CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES")  # Ray sets them for each task
STOP_WITH_PARENT = 1  # PR_SET_PDEATHSIG of Linux


def require_ray():
    """Refuses to go on where Ray is not installed.

    Raises:
        UserError: there is no Ray.
    """
    if importlib.util.find_spec("ray") is None:
        raise UserError("--ray needs Ray, which is not installed: pip install ray")


def run_on_ray(address, commands, jobs, logs, on_start, on_end, environment=None):
    """Runs commands on a Ray cluster until each has ended, at most `jobs` at once.

    Each takes one GPU if the cluster has any, and otherwise one CPU; it waits until one is free.
    This folder, Python, the folders named in the commands and `logs` must be on a file system that
    all nodes share, under the same paths. A worker that dies is a command that failed.

    Args:
        address: string, such as `"10.0.0.1:6379"`; `"auto"`, the cluster that runs on this machine;
            or `"local"`, which starts Ray on this machine alone, and stops it at the end.
        commands, jobs, logs, on_start, on_end, environment: as in `run_processes`.

    Raises:
        UserError: there is no cluster at that address, or nothing in it to compute with.
        Interrupted: SIGINT or SIGTERM.
    """
    with _connected(address) as ray:
        resources = ray.cluster_resources()
        kind = next((kind for kind in ("GPU", "CPU") if resources.get(kind, 0) >= 1), None)
        if kind is None:
            raise UserError(f"the Ray cluster at {address} has neither a CPU nor a GPU to use")
        needs = {f"num_{kind.lower()}s": 1}
        task = ray.remote(**needs, max_retries=0)(run_command)
        start = functools.partial(RayTask, ray, task)
        environment = {**(os.environ if environment is None else environment)}
        run_processes(commands, jobs, logs.absolute(), on_start, on_end, environment, start)


@contextlib.contextmanager
def _connected(address):
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # else it warns of a change
    import ray

    options = {"object_store_memory": 2**27} if address == "local" else {}  # results are numbers
    main_thread = threading.current_thread() is threading.main_thread()
    handler = signal.getsignal(signal.SIGTERM)  # Ray sets its own
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
            f"--ray must be the address HOST:PORT of a Ray cluster, auto or local; received "
            f"{address!r}: {error} (RAY_AUTH_MODE=token if the cluster asks for a token)"
        ) from None
    try:
        yield ray
    finally:
        ray.shutdown()
        if main_thread:
            signal.signal(signal.SIGTERM, handler)


def _require_server(address):
    """Ray itself would wait for minutes for a server that is not there."""
    host, _, port = address.rpartition(":")
    if host and port.isdecimal():
        socket.create_connection((host, int(port)), CONNECT_SECONDS).close()


class RayTask:
    """A command on a Ray cluster, with what `run_processes` needs of a `subprocess.Popen`.

    Args:
        ray: the module.
        task: `run_command` as a remote function.
        command, log, environment: as `start_process` takes them.
    """

    def __init__(self, ray, task, command, log, environment):
        self.ray = ray
        self.log = log
        self.reference = task.remote(command, log, environment, os.getcwd())
        self.returncode = None

    def poll(self):
        ready, _ = self.ray.wait([self.reference], timeout=0)
        if ready and self.returncode is None:
            self.returncode = self._result()
        return self.returncode

    def terminate(self):
        self.ray.cancel(self.reference)

    def kill(self):
        self.ray.cancel(self.reference, force=True)

    def wait(self):
        self.ray.wait([self.reference], timeout=CONNECT_SECONDS)  # the cluster may be gone

    def _result(self):
        try:
            return self.ray.get(self.reference)
        except self.ray.exceptions.TaskCancelledError:
            return -signal.SIGTERM
        except self.ray.exceptions.RayError as error:  # what the command said does not say why
            with open(self.log, "a") as file:
                file.write(f"\n{type(error).__name__}: {error}\n")
            return 1


def run_command(command, log, environment, folder):
    """Runs a command to its end, in a worker; if Ray cancels that, the command is asked to stop.

    Args:
        command, log, environment: as `start_process` takes them.
        folder: string, the folder to run it in.

    Returns:
        The exit code.
    """
    os.chdir(folder)
    # Ray cancels by this signal, which a background job of a shell has its children ignore
    signal.signal(signal.SIGINT, signal.default_int_handler)
    devices = {name: os.environ[name] for name in DEVICES if name in os.environ}
    process = start_process(command, log, {**environment, **devices}, _stop_with_parent())
    try:
        while process.poll() is None:
            time.sleep(0.1)  # in `wait` it would not hear that it is canceled
    except KeyboardInterrupt:
        process.terminate()
        process.wait()
    return process.returncode


def _stop_with_parent():
    """What has a command not outlive its worker, which Ray may kill where memory is short."""
    if sys.platform != "linux":
        return None
    return functools.partial(ctypes.CDLL(None).prctl, STOP_WITH_PARENT, int(signal.SIGTERM))
