"""SIGINT and SIGTERM, deferred until the program can stop cleanly."""

import signal
import sys
import threading
from types import FrameType, TracebackType
from typing import Any, Self


class StopSignals:
    """A context that defers the first SIGINT or SIGTERM; a second one has its usual effect.

    The attribute `received` is the number of the first signal, or `None` so far. The code in the
    context checks it and stops where it can.
    """

    def __init__(self) -> None:
        self.received: int | None = None
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        # only the main thread may set handlers
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._defer)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._restore()

    def _defer(self, number: int, frame: FrameType | None) -> None:
        self.received = number
        self._restore()
        print("stopping after this step; press Ctrl-C again to stop at once", file=sys.stderr)

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}
