"""Several commands at once: how they end, and how they are stopped."""

import os
import signal
import sys
import threading
import time

import pytest

from tests.processes import python, start_python
from utils.system import processes
from utils.system.errors import Interrupted, RunError
from utils.system.processes import call_in_process, how_it_ended, last_line, run_processes

pytestmark = pytest.mark.once


def run(commands, jobs, logs):
    """Runs commands; returns the calls of `on_start` and `on_end`, in order."""
    calls = []
    run_processes(
        commands,
        jobs,
        logs,
        lambda name: calls.append(name),
        lambda name, code: calls.append((name, code)),
    )
    return calls


def test_one_after_the_other(tmp_path):
    commands = {
        "good": python("print('done')"),
        "bad": python("import sys; print('so far'); sys.exit('no good')"),
        "killed": python("import os; os.kill(os.getpid(), 9)"),
    }
    calls = run(commands, 1, tmp_path)
    assert calls == ["good", ("good", 0), "bad", ("bad", 1), "killed", ("killed", -9)]
    assert (tmp_path / "bad.txt").read_text() == "so far\nno good\n"
    assert last_line(tmp_path / "bad.txt") == "no good"
    assert last_line(tmp_path / "killed.txt") == ""
    assert how_it_ended(1, tmp_path / "bad.txt") == "no good"
    assert how_it_ended(-9, tmp_path / "bad.txt") == "killed by signal 9 (SIGKILL)"


def test_so_many_at_once(tmp_path):
    """Each of two waits for the other; a third begins when one has ended."""
    script = (
        "import sys, time, pathlib\n"
        "mine, other = map(pathlib.Path, sys.argv[1:])\n"
        "mine.touch()\n"
        "give_up = time.monotonic() + 300\n"
        "while not other.exists():\n"
        "    if time.monotonic() > give_up: sys.exit('the other does not come')\n"
        "    time.sleep(0.01)\n"
    )
    a, b = str(tmp_path / "a"), str(tmp_path / "b")
    commands = {"1": [*python(script), a, b], "2": [*python(script), b, a], "3": python("")}
    calls = run(commands, 2, tmp_path)
    assert calls[:2] == ["1", "2"]
    assert {("1", 0), ("2", 0), ("3", 0)} <= set(calls)
    assert calls.index("3") > min(calls.index(("1", 0)), calls.index(("2", 0)))


def test_a_signal_stops_them_in_their_own_time(tmp_path):
    script = (
        "import signal, sys, time\n"
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit('where it stands'))\n"
        f"open({str(tmp_path / 'ready')!r}, 'w')\n"
        "time.sleep(600)\n"
    )

    def interrupt():
        give_up = time.monotonic() + 300
        while not (tmp_path / "ready").exists() and time.monotonic() < give_up:
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt, daemon=True).start()
    with pytest.raises(Interrupted) as stop:
        run({"first": python(script), "never": python("print('begun')")}, 1, tmp_path)
    assert stop.value.signum == signal.SIGINT
    assert last_line(tmp_path / "first.txt") == "where it stands"
    assert not (tmp_path / "never.txt").exists()


def test_a_function_whose_process_is_killed(monkeypatch):
    monkeypatch.setattr(processes, "_initialize", repr)  # instead of importing a backend
    with pytest.raises(RunError, match="ended without a result; the system may have killed it"):
        call_in_process(None, os._exit, 9)


PARENT = (
    "import sys\n"
    "from pathlib import Path\n"
    "from utils.system.processes import run_processes\n"
    "child = [sys.executable, '-c', sys.argv[1]]\n"
    "run_processes({'child': child}, 1, Path(sys.argv[2]), print, print)\n"
)


@pytest.mark.skipif(sys.platform != "linux", reason="Linux has the signal at a parent's end")
def test_commands_stop_when_their_parent_is_killed(tmp_path):
    ready, stopped = tmp_path / "ready", tmp_path / "stopped"
    script = (
        "import pathlib, signal, sys, time\n"
        f"stop = lambda *_: (pathlib.Path({str(stopped)!r}).touch(), sys.exit())\n"
        "signal.signal(signal.SIGTERM, stop)\n"
        f"pathlib.Path({str(ready)!r}).touch()\n"
        "time.sleep(600)\n"
    )
    parent = start_python("-c", PARENT, script, tmp_path)
    give_up = time.monotonic() + 300
    while not ready.exists() and time.monotonic() < give_up:
        time.sleep(0.01)
    parent.kill()
    parent.communicate()
    while not stopped.exists() and time.monotonic() < give_up:
        time.sleep(0.01)
    assert stopped.exists()
