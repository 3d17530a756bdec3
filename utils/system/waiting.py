"""Waiting for what may never come."""

import queue
import threading
from collections.abc import Callable
from typing import Any, TypeVar

Result = TypeVar("Result")


def call_within(seconds: int, function: Callable[[], Result]) -> Result:
    """Calls a function in a thread, and waits for its result no longer than some seconds.

    Time in which this process is stopped, as by Ctrl-Z, does not count.

    Args:
        seconds: int, how long to wait.
        function: function without arguments.

    Returns:
        What the function returns. What it raises is raised here too.

    Raises:
        TimeoutError: the function has not returned yet. Its thread does not keep the process from
            ending.
    """
    outcome: queue.SimpleQueue[tuple[Any, BaseException | None]] = queue.SimpleQueue()

    def call() -> None:
        try:
            outcome.put((function(), None))
        except BaseException as error:  # it is raised where the result is waited for
            outcome.put((None, error))

    threading.Thread(target=call, daemon=True).start()
    for _ in range(seconds):
        try:
            result, error = outcome.get(timeout=1)
        except queue.Empty:
            continue
        if error is not None:
            raise error
        return result
    raise TimeoutError(f"no result after {seconds} seconds")
