"""Commands in processes of their own, several at once, and stopped together."""

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ProcessPoolExecutor

from .backend import choose_backend
from .errors import Interrupted
from .signals import StopSignals

LONGEST_LINE = 1000  # bytes


def start_process(command, log, environment, before=None):
    """Starts a command, and adds what it says to a file.

    Args:
        command: list of strings.
        log: path of the file.
        environment: dictionary, its environment variables; this process's if `None`.
        before: function that is called in the new process first.

    Returns:
        A `subprocess.Popen`.
    """
    with open(log, "ab") as file:
        # in a session of its own a Ctrl-C does not reach it beside the signal that it is sent: a
        # second one would stop it at once
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            env=environment,
            start_new_session=True,
            preexec_fn=before,
        )


def run_processes(commands, jobs, logs, started, ended, environment=None, start=start_process):
    """Runs commands until each has ended, at most `jobs` at once.

    At SIGINT or SIGTERM no other command is begun, and those that run are asked to stop and waited
    for; at a second signal they are killed.

    Args:
        commands: dictionary from names to lists of strings.
        jobs: int.
        logs: path of a folder that is there; what a command says is added to its NAME.txt.
        started: function of a name, called before its command begins.
        ended: function of a name and an exit code, called after its command has ended by itself.
        environment: dictionary, the commands' environment variables; this process's by default.
        start: function of a command, the path of its log and its environment that starts it, and
            returns what can `poll`, `terminate`, `kill`, `wait` as a `subprocess.Popen` can.

    Raises:
        Interrupted: SIGINT or SIGTERM.
    """
    waiting, running, told = list(commands), {}, False
    with StopSignals() as signals:
        try:
            while running or (waiting and not signals.received):
                while waiting and len(running) < jobs and not signals.received:
                    name = waiting.pop(0)
                    started(name)
                    running[name] = start(commands[name], logs / f"{name}.txt", environment)
                if signals.received and not told:
                    told = True
                    for process in running.values():
                        process.terminate()
                for name in [name for name in running if running[name].poll() is not None]:
                    code = running.pop(name).returncode
                    if code == 0 or not told:
                        ended(name, code)
                time.sleep(0.1)
        finally:
            for process in running.values():
                process.kill()
                process.wait()
    if signals.received:
        raise Interrupted("stopped", signals.received)


def call_in_process(backend, function, *args):
    """Calls a function in a process of its own, and returns or raises what it does.

    Args:
        backend: string, the Keras backend of that process.
        function: function of a module.
        *args: its arguments; they, and what comes back, are pickled.
    """
    spawning = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, spawning, _begin_process, (backend,)) as pool:
        return pool.submit(function, *args).result()


def _begin_process(backend):
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # it is for the other process to say so
    choose_backend(backend)


def last_line(log):
    """Returns the last line of a text file that says anything, or an empty string."""
    with open(log, "rb") as file:
        file.seek(0, 2)
        file.seek(max(0, file.tell() - LONGEST_LINE))
        lines = file.read().decode(errors="replace").split("\n")
    return next((line.strip() for line in reversed(lines) if line.strip()), "")


def silence_resource_tracker():
    """Has shared memory that a stopped process leaves behind removed without a word.

    Python removes it, by a process that is begun with the first of it, and warns of it on stderr.
    """
    option = "ignore:resource_tracker"
    if option not in sys.warnoptions:
        sys.warnoptions.append(option)  # which the processes of this one are begun with


def follow_parent(number, count):
    """Begins a worker that leaves signals to its parent, and ends when that was killed.

    Ctrl-C and `timeout` reach the whole group: a worker that ended in the middle of a message would
    leave its parent waiting for the rest, which should stop after its step.

    Args:
        number, count: ints, which worker this is and how many there are.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)

    def follow():
        multiprocessing.parent_process().join()
        os._exit(1)

    threading.Thread(target=follow, daemon=True).start()
