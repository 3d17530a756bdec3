"""Killed at any instant and resumed, a run ends as if it had never stopped, bit for bit."""

import csv
import json
import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import keras
import pytest

ROOT = Path(__file__).parents[1]
KILLS = int(os.environ.get("KILLS", "1"))  # on every backend, in every run of the suite
KILLS_PER_RUN = min(KILLS, 3)
# attention, dropout, batch statistics and a moving average of the weights: all that has a state
ARGUMENTS = ["--model", "densenet", "--depth", "7", "--growth-rate", "4", "--dropout-rate", "0.2",
             "--attention", "cbam_block", "--attention-at", "stage", "--ema", "0.9",
             "--batch-size", "32", "--epochs", "3", "--checkpoint-every", "2"]  # fmt: skip


def start(*arguments, at=0, count="/dev/null"):
    script = [sys.executable, ROOT / "tests" / "killed_training.py", str(at), count]
    environment = {**os.environ, "KERAS_BACKEND": keras.backend.backend()}
    done = subprocess.run(
        [*script, *map(str, arguments)],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    assert done.returncode == (-signal.SIGKILL if at else 0), done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def whole_run(cifar10_dir, tmp_path_factory):
    """A run that was never interrupted, and how many events it had."""
    folder = tmp_path_factory.mktemp("whole")
    count = folder / "count"
    start(*ARGUMENTS, "--data-dir", cifar10_dir, "--run-dir", folder / "run", count=count)
    return folder / "run", int(count.read_text())


def contents(run):
    """Everything in a run's folder but times and pictures, by file."""
    found = {str(path.relative_to(run)): path.read_bytes() for path in run.rglob("*")
             if path.is_file()}  # fmt: skip
    with open(run / "metrics.csv", newline="") as file:
        found["metrics.csv"] = [without_times(row) for row in csv.DictReader(file)]
    found["summary.json"] = without_times(json.loads(found["summary.json"]))
    for name in [name for name in found if name.endswith("state.json")]:
        state = json.loads(found[name])
        state["progress"] = without_times(state["progress"])
        state["progress"]["history"] = list(map(without_times, state["progress"]["history"]))
        found[name] = state
    return {name: content for name, content in found.items()
            if Path(name).name not in ("SHA256SUMS", "curves.png")}  # fmt: skip


def without_times(row):
    return {k: v for k, v in row.items() if k not in ("seconds", "images_per_second")}


@pytest.mark.parametrize("number", range(-(-KILLS // KILLS_PER_RUN)))
def test_killed_and_resumed(number, whole_run, cifar10_dir, tmp_path):
    whole, events = whole_run
    chance = random.Random(number)
    run = tmp_path / "run"
    arguments = [*ARGUMENTS, "--data-dir", cifar10_dir, "--run-dir", run]
    for kill in range(KILLS_PER_RUN):
        # early enough that there is something left to kill afterwards
        first = 30 if kill == 0 else 1
        start(*arguments, at=chance.randint(first, events // (KILLS_PER_RUN + 1)))
        arguments = ["--resume", run]
    start(*arguments)
    assert contents(run) == contents(whole)
