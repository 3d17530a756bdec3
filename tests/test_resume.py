"""Killed at any instant and resumed, a run ends as if it had never stopped, bit for bit."""

import os
import random

import keras
import pytest

from tests.processes import run_killed
from tests.run_folders import contents

KILLS = int(os.environ.get("KILLS", "1"))  # on every backend, in every run of the suite
KILLS_PER_RUN = min(KILLS, 3)
# JAX takes float32 on a processor; a kill for each is enough for a run of the suite
BOTH = ("mixed_bfloat16", "float32")
PRECISIONS = {"tensorflow": BOTH[:1], "jax": BOTH[1:], "torch": BOTH[1:]}[keras.backend.backend()]
if KILLS > 1 and keras.backend.backend() != "jax":
    PRECISIONS = BOTH
# attention, dropout, batch statistics and a moving average of the weights: all that has a state
ARGUMENTS = ["--model", "densenet", "--depth", "7", "--growth-rate", "4", "--dropout-rate", "0.2",
             "--attention", "cbam_block", "--attention-at", "stage", "--ema", "0.9",
             "--optimizer", "muon",
             "--batch-size", "32", "--epochs", "3", "--checkpoint-every", "2"]  # fmt: skip


@pytest.fixture(scope="module", params=PRECISIONS)
def whole_run(request, cifar10_dir, tmp_path_factory):
    """A run that was never interrupted, how many events it had, and its arguments."""
    folder = tmp_path_factory.mktemp("whole")
    count = folder / "count"
    arguments = [*ARGUMENTS, "--precision", request.param, "--data-dir", cifar10_dir]
    run_killed(*arguments, "--run-dir", folder / "run", count=count)
    return folder / "run", int(count.read_text()), arguments


@pytest.mark.parametrize("number", range(-(-KILLS // KILLS_PER_RUN)))
def test_killed_and_resumed(number, whole_run, tmp_path):
    whole, events, arguments = whole_run
    chance = random.Random(number)
    run = tmp_path / "run"
    arguments = [*arguments, "--run-dir", run]
    for kill in range(KILLS_PER_RUN):
        # early enough that there is something left to kill afterwards
        first = 30 if kill == 0 else 1
        run_killed(*arguments, at=chance.randint(first, events // (KILLS_PER_RUN + 1)))
        arguments = ["--resume", run]
    run_killed(*arguments)
    assert contents(run) == contents(whole)
