"""Commands and functions in processes of their own."""

import ctypes
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any, Protocol

from .backend import choose_backend
from .errors import Interrupted, RunError
from .signals import StopSignals

LONGEST_LINE = 1000  # bytes
SIGNAL_AT_PARENTS_DEATH = 1  # PR_SET_PDEATHSIG of Linux


class Process(Protocol):
    """A running command: the part of a `subprocess.Popen` that `run_processes` uses."""

    @property
    def returncode(self) -> Any:
        """The exit code, or `None` while the command runs."""

    def poll(self) -> int | None:
        """Checks whether the command has ended; returns its exit code or `None`."""

    def terminate(self) -> None:
        """Asks the command to stop."""

    def kill(self) -> None:
        """Stops the command at once."""

    def wait(self) -> Any:
        """Waits until the command has ended."""


def start_process(
    command: Sequence[str],
    log: str | Path,
    environment: Mapping[str, str] | None,
) -> subprocess.Popen:
    """Starts a command and appends its output to a file.

    On Linux the command receives SIGTERM when this process ends, even if it is killed.

    Args:
        command: sequence of strings.
        log: path of the file.
        environment: dictionary of the command's environment variables, or `None` for those of this
            process.

    Returns:
        A `subprocess.Popen`.
    """
    with open(log, "ab") as file:
        # in a session of its own, Ctrl-C does not reach it: it would arrive beside the signal that
        # `run_processes` sends, and a second signal stops a training at once
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            env=environment,
            start_new_session=True,
            preexec_fn=_stopping_with_parent(),
        )


def _stopping_with_parent() -> Callable[[], None] | None:
    """A function that a new process calls, to receive SIGTERM when its parent process ends."""
    if sys.platform != "linux":
        return None
    # a new process shares locks with this one's threads: it must not import or load anything
    prctl, parent = ctypes.CDLL(None).prctl, os.getpid()

    def follow() -> None:
        prctl(SIGNAL_AT_PARENTS_DEATH, int(signal.SIGTERM))
        if os.getppid() != parent:  # it has ended already
            os._exit(1)

    return follow


def run_processes(
    commands: Mapping[str, Sequence[str]],
    jobs: int,
    logs: Path,
    on_start: Callable[[str], Any],
    on_end: Callable[[str, int], Any],
    environment: Mapping[str, str] | None = None,
    start: Callable[[Sequence[str], Path, Mapping[str, str] | None], Process] = start_process,
) -> None:
    """Runs commands until each has ended, at most `jobs` at once.

    After a SIGINT or SIGTERM it starts no further command, asks those that run to stop, and waits
    for them. A second signal kills them.

    Args:
        commands: dictionary from names to sequences of strings.
        jobs: int.
        logs: path of a folder that exists; the output of each command is appended to `NAME.txt`.
        on_start: function of a name, called before that command starts.
        on_end: function of a name and an exit code, called when that command has ended by itself.
        environment: dictionary of the commands' environment variables. Defaults to those of this
            process.
        start: function of a command, the path of its log and its environment; starts the command
            and returns a `Process`. Defaults to `start_process`.

    Raises:
        Interrupted: SIGINT or SIGTERM.
    """
    waiting, running = list(commands), dict[str, Process]()
    stopping = False

    def kill_all() -> None:
        for process in running.values():
            process.kill()

    with StopSignals(kill_all) as signals:
        try:
            while running or (waiting and not signals.received):
                while waiting and len(running) < jobs and not signals.received:
                    name = waiting.pop(0)
                    on_start(name)
                    running[name] = start(commands[name], logs / f"{name}.txt", environment)
                if signals.received and not stopping:
                    stopping = True
                    for process in running.values():
                        process.terminate()
                for name in [name for name in running if running[name].poll() is not None]:
                    code = running.pop(name).returncode
                    if code == 0 or not stopping:
                        on_end(name, code)
                time.sleep(0.1)
        finally:
            kill_all()
            for process in running.values():
                process.wait()
    if signals.received:
        raise Interrupted("stopped", signals.received)


def call_in_process(backend: str | None, function: Callable[..., Any], *args: Any) -> Any:
    """Calls a function in a process of its own.

    Args:
        backend: string, the Keras backend of that process, or `None` for the default.
        function: function on the top level of a module.
        *args: its arguments; they and the result are pickled.

    Returns:
        What the function returns. What it raises is raised here too.

    Raises:
        RunError: the process ended without a result, as when it is killed.
    """
    spawning = multiprocessing.get_context("spawn")
    try:
        with ProcessPoolExecutor(1, spawning, _initialize, (backend,)) as pool:
            return pool.submit(function, *args).result()
    except BrokenProcessPool as error:
        raise RunError(
            "a process of this command ended without a result; the system may have killed it for "
            "lack of memory"
        ) from error


def _initialize(backend: str | None) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent process answers Ctrl-C
    choose_backend(backend)


def how_it_ended(code: int, log: str | Path) -> str:
    """Says why a command failed: the signal that killed it, or the last line of its output.

    Args:
        code: int, the exit code, negative for a signal as in `subprocess`.
        log: path of its output.

    Returns:
        A string, such as `"killed by signal 9 (SIGKILL)"`.
    """
    return last_line(log) if code >= 0 else killed_by(code)


def killed_by(code: int) -> str:
    """Says which signal killed a process, from its negative exit code."""
    names = {int(number): number.name for number in signal.Signals}
    return f"killed by signal {-code} ({names.get(-code, 'unknown')})"


def last_line(log: str | Path) -> str:
    """Returns the last line of a text file that is not blank, or an empty string."""
    with open(log, "rb") as file:
        file.seek(0, 2)
        file.seek(max(0, file.tell() - LONGEST_LINE))
        lines = file.read().decode(errors="replace").split("\n")
    return next((line.strip() for line in reversed(lines) if line.strip()), "")
