"""A first signal is deferred, a second one has its usual effect."""

import signal

import pytest

from utils.system.signals import StopSignals

pytestmark = pytest.mark.once


@pytest.fixture
def handler():
    """Python's own, which it does not set where a shell's background job ignores the signal."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield signal.default_int_handler
    signal.signal(signal.SIGINT, before)


def test_defers_the_first_and_stops_at_the_second(handler, capsys):
    with StopSignals() as signals:
        assert signals.received is None
        signal.raise_signal(signal.SIGINT)
        assert signals.received == signal.SIGINT
        assert "press Ctrl-C again" in capsys.readouterr().err
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is handler


def test_leaves_the_handlers_as_they_were():
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with StopSignals() as signals:
        pass
    assert signals.received is None
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before
