"""Shows how far the runs of a comparison are while they train, from what they print."""

import re
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from ..system.timing import rough_time

EVERY = 2.0  # seconds between two looks at the logs
EPOCH = re.compile(rb"^(epoch (\d+)/\d+ .*)$", re.MULTILINE)


class LogFollower:
    """A context in which the line of every epoch that a run finishes is announced.

    The time that is left is that of the epochs so far, times the epochs to come.

    Args:
        logs: path of the folder with the runs' logs, `NAME.txt`, to which runs append.
        epochs: dictionary from the runs' names to the epochs that each of them still trains.
        announce: function that takes a line of text.
        every: float, seconds between two looks at the logs. Defaults to 2.
    """

    def __init__(
        self,
        logs: Path,
        epochs: Mapping[str, int],
        announce: Callable[[str], None],
        every: float = EVERY,
    ) -> None:
        self.logs = logs
        self.epochs = epochs
        self.announce = announce
        self.every = every
        self._finished = 0
        # what a log holds already is of an earlier start
        self._places = {name: self._size(name) for name in epochs}
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._follow, daemon=True)

    def __enter__(self) -> Self:
        self._started = time.monotonic()
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._end.set()
        self._thread.join()

    def _follow(self) -> None:
        while not self._end.wait(self.every):
            self.look()

    def look(self) -> None:
        """Announces the epochs that have ended since the last look."""
        for name in self.epochs:
            for line in self._new_epochs(name):
                self._finished += 1
                self.announce(f"{name}: {line}; {self._time_left()}")

    def _new_epochs(self, name: str) -> list[str]:
        try:
            with open(self.logs / f"{name}.txt", "rb") as file:
                file.seek(self._places[name])
                content = file.read()
        except FileNotFoundError:  # it has not started
            return []
        whole, newline, _ = content.rpartition(b"\n")
        self._places[name] += len(whole) + len(newline)
        return [match[1].decode(errors="replace") for match in EPOCH.finditer(whole)]

    def _size(self, name: str) -> int:
        path = self.logs / f"{name}.txt"
        return path.stat().st_size if path.exists() else 0

    def _time_left(self) -> str:
        left = sum(self.epochs.values()) - self._finished
        seconds = (time.monotonic() - self._started) / self._finished * left
        return f"about {rough_time(seconds)} left of all runs"
