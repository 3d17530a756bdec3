"""A first signal is deferred, a second one has its usual effect."""

import contextlib
import signal
import subprocess
import sys

import pytest

from tests.processes import ROOT, run_python, start_python
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


STUCK = (
    "import ctypes, multiprocessing, os, signal, time\n"
    "from utils.system.signals import StopSignals\n"
    "if __name__ == '__main__':\n"
    "    worker = multiprocessing.get_context('spawn').Process(target=time.sleep, args=(600,))\n"
    "    worker.start()\n"
    "    os.kill(worker.pid, signal.SIGSTOP)\n"
    "    with StopSignals():\n"
    "        print('ready', flush=True)\n"
    "        lock, libc = ctypes.create_string_buffer(64), ctypes.CDLL(None)\n"
    "        libc.pthread_mutex_lock(lock)\n"
    "        libc.pthread_mutex_lock(lock)\n"  # never returns, as a backend that waits for a batch
)


@pytest.mark.skipif(sys.platform != "linux", reason="its locks have a known size")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_second_signal_ends_all_where_python_cannot_answer(tmp_path, number):
    (tmp_path / "stuck.py").write_text(STUCK)
    process = start_python(tmp_path / "stuck.py", environment={"PYTHONPATH": str(ROOT)})
    assert process.stdout.readline() == "ready\n"
    process.send_signal(number)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(3)  # the first is deferred
    while process.poll() is None:
        process.send_signal(number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(0.1)
    assert process.returncode == 128 + number
    process.communicate()  # ends when no process holds the pipe: the worker neither


def test_a_program_that_ignores_the_second_signal_is_ended():
    script = (
        "import signal, threading\n"
        "from utils.system.signals import StopSignals\n"
        "with StopSignals(print, patience=0) as signals:\n"
        "    signal.raise_signal(signal.SIGINT)\n"
        "    try:\n"
        "        signal.raise_signal(signal.SIGINT)\n"
        "    finally:\n"
        "        threading.Event().wait()\n"
    )
    assert run_python("-c", script).returncode == 128 + signal.SIGINT


def test_the_second_signal_kills_other_processes_first(handler):
    killed = []
    with StopSignals(lambda: killed.append(True)):
        signal.raise_signal(signal.SIGINT)
        assert not killed
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert killed == [True]
    assert signal.set_wakeup_fd(-1) == -1
