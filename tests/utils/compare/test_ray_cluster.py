"""Commands on a Ray cluster, of this machine alone: how they end, and how they are stopped."""

import importlib.util
import os
import signal
import threading
import time
from functools import cache, partial

import pytest

from main import main
from tests.fake_comparison import DATA, settings_of
from tests.processes import python
from utils.compare import missing_runs
from utils.compare.missing_runs import read_jobs, train_missing
from utils.compare.planning import plan_runs
from utils.compare.ray_cluster import run_on_ray
from utils.system.errors import Interrupted, UserError
from utils.system.processes import last_line

pytestmark = pytest.mark.once
with_ray = pytest.mark.skipif(not importlib.util.find_spec("ray"), reason="Ray is not installed")


def gone(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def wait_until(true, seconds=300):
    give_up = time.monotonic() + seconds
    while not true() and time.monotonic() < give_up:
        time.sleep(0.05)
    return true()


@with_ray
def test_commands_end_as_processes_do(tmp_path, capfd, monkeypatch):
    monkeypatch.setenv("HERE", "this process")
    handler = signal.getsignal(signal.SIGTERM)
    dies = "import os, time; print(os.getpid()); os.kill(os.getppid(), 9); time.sleep(60)"
    commands = {
        "good": python("import os; print(os.environ['HERE'], os.getcwd())"),
        "bad": python("import sys; print('so far'); sys.exit('no good')"),
        "killed": python("import os; os.kill(os.getpid(), 9)"),
        "dies": python(dies),
        "after": python("print('done')"),
    }
    events = []
    run_on_ray(
        "local",
        commands,
        1,
        tmp_path,
        events.append,
        lambda name, code: events.append((name, code)),
    )
    ends = {"good": 0, "bad": 1, "killed": -9, "dies": 1, "after": 0}
    assert events == [event for name, code in ends.items() for event in (name, (name, code))]
    assert last_line(tmp_path / "good.txt") == f"this process {os.getcwd()}"
    assert (tmp_path / "bad.txt").read_text() == "so far\nno good\n"
    assert "WorkerCrashedError" in last_line(tmp_path / "dies.txt")
    # the command of the dead worker ends too
    assert wait_until(partial(gone, int((tmp_path / "dies.txt").read_text().split()[0])))
    assert signal.getsignal(signal.SIGTERM) is handler
    output = capfd.readouterr()
    assert output.err == ""
    assert all("(raylet)" in line for line in output.out.splitlines())  # of the worker that died


@pytest.mark.long
@with_ray
def test_a_signal_stops_them_in_their_own_time(tmp_path, capfd):
    """Running commands get SIGTERM and time to end; one that waits for a CPU never starts."""
    script = (
        "import signal, sys, time\n"
        "def stop(*_):\n"
        "    time.sleep(1)\n"
        "    sys.exit('stopped')\n"
        "signal.signal(signal.SIGTERM, stop)\n"
        "open(f'{sys.argv[1]}/ready-{sys.argv[2]}', 'w')\n"
        "time.sleep(600)\n"
    )
    many = os.cpu_count() + 1
    commands = {str(n): [*python(script), str(tmp_path), str(n)] for n in range(many)}

    def interrupt():
        wait_until(lambda: len(list(tmp_path.glob("ready-*"))) == many - 1)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt).start()
    ended = []
    with pytest.raises(Interrupted) as stop:
        run_on_ray(
            "local", commands, many, tmp_path, lambda name: None, lambda *end: ended.append(end)
        )
    assert stop.value.signum == signal.SIGINT
    logs = [last_line(path) for path in tmp_path.glob("*.txt")]
    assert logs == ["stopped"] * (many - 1)
    assert ended == []
    assert (
        capfd.readouterr().err == "stopping after this step; press Ctrl-C again to stop at once\n"
    )


@with_ray
def test_a_comparison_on_ray(tmp_path, monkeypatch, capsys):
    """The commands run as without Ray, and their speeds do not count as measured alone."""
    folder = tmp_path / "comparison"
    folder.mkdir()
    runs = plan_runs(settings_of(attention="none", seeds="0-1"), DATA, folder)
    script = "import os, sys; print(os.path.exists(sys.argv[4]), sys.argv[-1])"
    command = missing_runs._command
    monkeypatch.setattr(missing_runs, "_command", lambda *a: [*python(script), *command(*a)[2:]])
    assert train_missing(runs, folder, 1, "local") == []
    output = capsys.readouterr().out
    for done, run in enumerate(runs, 1):
        assert f"{run.name} ({done}/2): True {run.folder}" in output
    assert set(read_jobs(folder).values()) == {2}
    assert {path.name for path in folder.iterdir()} == {"jobs.json", "logs"}


@with_ray
@pytest.mark.parametrize("address", ["nonsense", "localhost:1", "auto"])
def test_an_address_without_a_cluster(address, tmp_path, monkeypatch):
    # another cluster may run on this machine
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr("ray._private.services.find_gcs_addresses", cache(set))
    with pytest.raises(UserError, match="HOST:PORT of a Ray cluster, auto or local; received"):
        run_on_ray(address, {"a": python("")}, 1, tmp_path, print, print)


def test_without_ray(tmp_path, monkeypatch, capsys, cifar10_dir):
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util,
        "find_spec",
        lambda name, *more: None if name == "ray" else found(name, *more),
    )
    folder = tmp_path / "comparison"
    words = ["--data-dir", str(cifar10_dir), "--run-dir", str(folder)]
    with pytest.raises(SystemExit) as end:
        main(["compare", "--ray", "local", *words])
    assert end.value.code == 2
    error = "error: --ray needs Ray, which is not installed: pip install ray\n"
    assert capsys.readouterr().err == error
    assert not folder.exists()
