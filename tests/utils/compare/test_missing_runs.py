"""How the missing runs of a comparison are started, without starting them."""

import json
import os
import sys

import pytest

from tests.fake_comparison import DATA, fake, settings_of
from utils.compare import missing_runs
from utils.compare.missing_runs import read_jobs, train_missing
from utils.compare.planning import plan_runs
from utils.system.errors import Interrupted, UserError

pytestmark = pytest.mark.once


class Started:
    """Takes the place of `run_processes`: records the commands, and says that each has ended."""

    def __init__(self, code=0):
        self.code = code
        self.commands, self.configs = {}, {}

    def __call__(self, commands, jobs, logs, on_start, on_end, environment):
        self.environment = environment
        for name, command in commands.items():
            on_start(name)
            self.commands[name] = command
            with open(command[command.index("--config") + 1]) as file:
                self.configs[name] = json.load(file)
            (logs / f"{name}.txt").write_text("first line\nlast line\n")
            on_end(name, self.code)


@pytest.fixture
def started(monkeypatch):
    started = Started()
    monkeypatch.setattr(missing_runs, "run_processes", started)
    return started


def test_commands(started, tmp_path):
    new, begun = plan_runs(settings_of(seeds=0), DATA, tmp_path)
    fake(begun)
    (begun.folder / "summary.json").unlink()
    assert train_missing([new, begun], tmp_path, jobs=1) == []
    main = [sys.executable, "-u", str(missing_runs.MAIN), "train"]
    assert started.commands[new.name][:4] == main
    assert started.commands[new.name][-2:] == ["--run-dir", str(new.folder)]
    assert started.commands[begun.name][-2:] == ["--resume", str(begun.folder)]
    for run in (new, begun):
        assert started.configs[run.name] == json.loads(json.dumps(run.settings.config()))
    assert read_jobs(tmp_path) == {new.name: 1, begun.name: 1}


def test_several_at_once_share_the_accelerator(started, tmp_path, monkeypatch):
    monkeypatch.setenv("XLA_PYTHON_CLIENT_PREALLOCATE", "true")  # the user's own wins
    monkeypatch.delenv("TF_FORCE_GPU_ALLOW_GROWTH", raising=False)
    runs = plan_runs(settings_of(seeds=0), DATA, tmp_path)
    train_missing(runs, tmp_path, jobs=4)
    assert started.environment["TF_FORCE_GPU_ALLOW_GROWTH"] == "true"
    assert started.environment["XLA_PYTHON_CLIENT_PREALLOCATE"] == "true"
    assert set(read_jobs(tmp_path).values()) == {2}  # no more than there are runs
    train_missing(runs, tmp_path, jobs=1)
    assert started.environment == os.environ


def test_failed_runs_are_named(started, tmp_path):
    started.code, lines = 1, []
    runs = plan_runs(settings_of(seeds=0), DATA, tmp_path)
    assert train_missing(runs, tmp_path, 1, announce=lines.append) == [run.name for run in runs]
    assert f"{runs[1].name} (2/2): FAILED: last line" in lines


def test_an_interruption_says_how_to_continue(tmp_path, monkeypatch):
    def interrupt(*_):
        raise Interrupted("stopped", 15)

    monkeypatch.setattr(missing_runs, "run_processes", interrupt)
    with pytest.raises(Interrupted, match="run the same command again to continue") as stop:
        train_missing(plan_runs(settings_of(), DATA, tmp_path), tmp_path, 1)
    assert stop.value.signum == 15
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("content", ["[]", '{"none-seed0": "2"}', '{"none-seed0": true}'])
def test_a_damaged_record_is_named(tmp_path, content):
    (tmp_path / "jobs.json").write_text(content)
    with pytest.raises(UserError, match="must hold an object of whole numbers; remove it"):
        read_jobs(tmp_path)
