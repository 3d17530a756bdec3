"""Timing in turn: a ratio of two times taken in one process says more than either."""

import statistics
import time


def time_in_turn(contestants, rounds, progress=iter, before=None):
    """Runs every contestant once per round, and keeps the seconds of each.

    A first run of each, which traces and compiles, is not counted.

    Args:
        contestants: dictionary from a name to a function without arguments, which returns when its
            work is done.
        rounds: int.
        progress: function around an iterable, such as `tqdm`, that shows how far it is.
        before: function of a contestant's name, called before it runs, and not counted.

    Returns:
        A dictionary from the names to lists of seconds, one per round.
    """
    seconds = {name: [] for name in contestants}
    for number in progress(range(rounds + 1)):
        for name, run in contestants.items():
            if before is not None:
                before(name)
            started = time.perf_counter()
            run()
            if number > 0:
                seconds[name].append(time.perf_counter() - started)
    return seconds


def ratios(seconds, base):
    """Returns each contestant's time as a multiple of `base`'s in the same round, the median.

    Args:
        seconds: what `time_in_turn` returns.
        base: the name of the contestant to compare with.
    """
    return {
        name: statistics.median(t / b for t, b in zip(times, seconds[base], strict=True))
        for name, times in seconds.items()
    }
