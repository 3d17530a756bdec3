"""Timing of functions that take turns in one process, so that their ratio can be trusted.

The speed of a machine changes from minute to minute, and that of both functions with it.
"""

import statistics
import time
from collections.abc import Callable, Hashable, Iterable, Mapping
from typing import Any, TypeVar

Name = TypeVar("Name", bound=Hashable)


def time_in_turn(
    functions: Mapping[Name, Callable[[], Any]],
    rounds: int,
    progress: Callable[[Iterable[int]], Iterable[int]] = iter,
    before: Callable[[Name], Any] | None = None,
) -> dict[Name, list[float]]:
    """Times functions, each once per round.

    Each runs once more at first, to trace and compile; that run is not timed.

    Args:
        functions: dictionary from names to functions without arguments, which return when their
            work is done.
        rounds: int.
        progress: function around an iterable that shows progress, such as `tqdm`.
        before: function of a name, called before that function runs and not timed.

    Returns:
        A dictionary from the names to lists of seconds, one per round.
    """
    seconds: dict[Name, list[float]] = {name: [] for name in functions}
    for number in progress(range(rounds + 1)):
        for name, run in functions.items():
            if before is not None:
                before(name)
            started = time.perf_counter()
            run()
            if number > 0:
                seconds[name].append(time.perf_counter() - started)
    return seconds


def ratios(seconds: Mapping[Name, list[float]], base: Name) -> dict[Name, float]:
    """Returns each function's time as a multiple of `base`'s in the same round, the median.

    Args:
        seconds: what `time_in_turn` returns.
        base: the name of the function to compare with.
    """
    return {
        name: statistics.median(t / b for t, b in zip(times, seconds[base], strict=True))
        for name, times in seconds.items()
    }


def rough_time(seconds: float) -> str:
    """Returns a time as people say it.

    Example:

    >>> rough_time(75), rough_time(200), rough_time(7300)
    ('75 s', '3 min', '2.0 h')
    """
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
