"""On a GPU with JAX, Python waits for results after many steps: what is computed is the same."""

import os
import signal

import keras
import pytest

from main import main
from tests.run_folders import contents
from utils.training import callbacks, setup

pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "jax", reason="other backends wait after every step"
)
# 1,293 images to train on: 20 steps and a remainder, which no number below divides
ARGUMENTS = ["--dataset", "digits", "--depth", "8", "--attention", "none", "--batch-size", "60",
             "--ema", "0.9", "--checkpoint-every", "8"]  # fmt: skip


def train(run, *arguments):
    main(["train", "--run-dir", str(run), *arguments])


@pytest.fixture
def alone(tmp_path):
    """A run that waited after every step."""
    train(tmp_path / "alone", *ARGUMENTS, "--epochs", "2")
    return contents(tmp_path / "alone")


def test_a_run_is_the_same_to_the_bit_also_when_stopped_in_an_epoch(alone, tmp_path, monkeypatch):
    monkeypatch.setattr(setup, "steps_without_waiting", lambda: 16)
    seen, count = [], callbacks.CountSteps.on_train_batch_end

    def stopped(self, batch, logs=None):
        count(self, batch, logs)
        seen.append(self.progress.step)
        if seen == [8, 16]:
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(callbacks.CountSteps, "on_train_batch_end", stopped)
    run = tmp_path / "run"
    with pytest.raises(SystemExit):
        train(run, *ARGUMENTS, "--epochs", "2")
    main(["train", "--resume", str(run)])
    # 8 steps at once, as checkpoints are due after 8; 21 in an epoch
    assert seen == [8, 16, 21, 8, 16, 21]
    assert contents(run) == alone
