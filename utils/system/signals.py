"""SIGINT and SIGTERM, deferred until the program can stop cleanly."""

import os
import signal
import socket
import sys
import threading
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any, Self

from .workers import kill_workers

PATIENCE = 5  # seconds that a second signal leaves the program to end by itself


class StopSignals:
    """A context that defers the first SIGINT or SIGTERM; a second one has its usual effect.

    The attribute `received` is the number of the first signal, or `None` so far. The code in the
    context checks it and stops where it can.

    The second signal also kills other processes. Python answers signals in its main thread, between
    two instructions: where that waits for a backend, a thread of this context ends the process.

    Args:
        kill: function without arguments, called at the second signal. Defaults to one that kills
            the worker processes of this process.
        patience: float, seconds after the second signal until the process is ended if it has not
            left the context. Defaults to 5; where the first signal had no answer yet, it is ended
            at once.
    """

    def __init__(
        self, kill: Callable[[], object] = kill_workers, patience: float = PATIENCE
    ) -> None:
        self.received: int | None = None
        self._kill = kill
        self._patience = patience
        self._before: dict[signal.Signals, Any] = {}
        self._left = threading.Event()
        self._wakeup: tuple[socket.socket, int] | None = None

    def __enter__(self) -> Self:
        # only the main thread may set handlers
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._defer)
            self._watch_signals()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._left.set()
        self._restore()
        if self._wakeup is not None:
            ours, before = self._wakeup
            signal.set_wakeup_fd(before)
            ours.close()  # which ends the thread
            self._wakeup = None

    def _defer(self, number: int, frame: FrameType | None) -> None:
        self.received = number
        for each in self._before:
            signal.signal(each, self._end)
        print("stopping after this step; press Ctrl-C again to stop at once", file=sys.stderr)

    def _end(self, number: int, frame: FrameType | None) -> None:
        self._restore()
        self._kill()
        signal.raise_signal(number)

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}

    def _watch_signals(self) -> None:
        """Starts a thread that hears of signals at once, whatever the main thread does."""
        theirs, ours = socket.socketpair()
        ours.setblocking(False)
        before = signal.set_wakeup_fd(ours.fileno(), warn_on_full_buffer=False)
        self._wakeup = ours, before
        threading.Thread(target=self._end_at_second, args=(theirs,), daemon=True).start()

    def _end_at_second(self, wakeup: socket.socket) -> None:
        count = 0
        with wakeup:
            while byte := wakeup.recv(1):  # the number of a signal
                count += byte[0] in (signal.SIGINT, signal.SIGTERM)
                if count == 2:
                    if self.received is not None and self._left.wait(self._patience):
                        return
                    self._kill()
                    os._exit(128 + byte[0])
