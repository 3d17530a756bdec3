"""Worker processes: what multiprocessing starts for this process, and how they end with it."""

import logging
import multiprocessing
import os
import signal
import sys
import threading


def silence_resource_tracker() -> None:
    """Turns off Python's warning about shared memory that a stopped process leaves behind.

    Python's resource tracker, a process of its own, removes the memory in any case.
    """
    option = "ignore:resource_tracker"
    if option not in sys.warnoptions:
        sys.warnoptions.append(option)  # the tracker is started with the options of this process


def silence_grain() -> None:
    """Turns off Grain's warning that JAX's profiler is missing; to be called before its import."""
    from absl.logging import get_absl_logger

    logger = get_absl_logger()
    if _is_of_use not in logger.filters:
        logger.addFilter(_is_of_use)


def _is_of_use(record: logging.LogRecord) -> bool:
    return not str(record.msg).startswith("Failed to load jax profiler")


def follow_parent(number: int, count: int) -> None:
    """Makes a worker process ignore signals, and exit when its parent process ends.

    Ctrl-C and `timeout` signal the whole process group. The parent stops after its step and ends
    its workers then; a worker that exited in the middle of a message would leave the parent waiting
    for the rest of it.

    Args:
        number, count: ints, which worker this is and how many there are.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is None:
        raise RuntimeError("follow_parent is for a process that multiprocessing has started")

    def follow() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=follow, daemon=True).start()


def kill_workers() -> None:
    """Kills the worker processes of this process at once, also those that are stopped."""
    for worker in multiprocessing.active_children():
        worker.kill()
