"""SIGINT and SIGTERM, noted instead of died of."""

import signal
import sys
import threading


class StopSignals:
    """While it is entered, the first SIGINT or SIGTERM is only noted; a second one acts as ever.

    The attribute `received` is the number of the signal, or `None`.
    """

    def __init__(self):
        self.received = None
        self._before = {}

    def __enter__(self):
        if threading.current_thread() is threading.main_thread():  # no other may set handlers
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *_):
        self._restore()

    def _note(self, number, frame):
        self.received = number
        self._restore()
        print("stopping after this step; once more stops at once", file=sys.stderr)

    def _restore(self):
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}
