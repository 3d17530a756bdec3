"""What a run says while it trains: how long an epoch takes, and once that it is stuck."""

import types

import keras
import pytest

from utils.runs.progress import Progress
from utils.runs.recorder import FIRST_STEPS, RunRecorder

pytestmark = pytest.mark.once

GUESSING, BETTER = 2.3026, 2.2


def constant(step):
    return 0.1


def hints(losses, epochs, tmp_path, capsys):
    """The epochs after which a run with these losses prints the hint."""
    network = keras.Sequential([keras.Input((2,)), keras.layers.Dense(10)])
    network.compile("sgd", "mse")
    recorder = RunRecorder(tmp_path, network, Progress(), epochs, 1, 1, constant)
    recorder.set_model(network)
    recorder.bar = types.SimpleNamespace(write=print, set_description=lambda text: None)
    found = []
    for epoch, loss in enumerate(losses):
        recorder.on_epoch_begin(epoch)
        recorder.on_epoch_end(epoch, {"loss": loss, "accuracy": 0.1})
        if "is no better than guessing (2.30)" in capsys.readouterr().out:
            found.append(epoch + 1)
    return found


@pytest.mark.parametrize(
    ("losses", "epochs", "expected"),
    [
        ([GUESSING] * 10, 10, [3]),
        ([2.39, 2.31] + [BETTER] * 8, 10, []),
        ([BETTER] * 5 + [GUESSING] * 5, 10, [6]),
        ([GUESSING] * 2, 2, [1]),
        ([GUESSING], 30, []),
    ],
)
def test_hint_of_a_run_that_is_stuck(losses, epochs, expected, tmp_path, capsys):
    assert hints(losses, epochs, tmp_path, capsys) == expected


def test_a_row_has_the_learning_rate_of_the_epochs_last_step(tmp_path):
    network = keras.Sequential([keras.Input((2,)), keras.layers.Dense(10)])
    network.compile("sgd", "mse")
    progress = Progress()
    made = RunRecorder(tmp_path, network, progress, 2, 5, 1, lambda step: step / 10)
    made.set_model(network)
    made.on_train_begin()
    for epoch in range(2):
        made.on_epoch_begin(epoch)
        made.on_epoch_end(epoch, {"loss": 1.0, "accuracy": 0.1})
    made.close()
    assert [row["learning_rate"] for row in progress.history] == [0.4, 0.9]


def recorder(path, steps, seconds, capsys, epochs=2, **options):
    """What a recorder prints in epochs whose first two steps take a minute each."""
    now = [0.0]
    network = keras.Sequential([keras.Input((1,)), keras.layers.Dense(2)])
    progress = Progress()
    made = RunRecorder(
        path, network, progress, epochs, steps, 1, constant, clock=lambda: now[0], **options
    )
    made.on_train_begin()
    for epoch in range(epochs):
        progress.epoch, progress.step = epoch, 0
        made.on_epoch_begin(epoch)
        for batch in range(steps):
            now[0] += seconds if batch >= FIRST_STEPS else 60
            progress.step = batch + 1
            made.on_train_batch_end(batch, {"loss": 1.0})
    made.close()
    return capsys.readouterr().out


@pytest.mark.parametrize(
    ("steps", "seconds", "said"),
    [
        (100, 0.5, "50 s, the rest of the run about 2 min"),
        (100, 1.8, "3 min, the rest of the run about 6 min"),
        (4000, 1.8, "2.0 h, the rest of the run about 4.0 h"),
        (3, 30, "2 min, the rest of the run about 3 min"),
    ],
)
def test_an_epochs_time_is_told_once(tmp_path, capsys, steps, seconds, said):
    assert recorder(tmp_path, steps, seconds, capsys) == f"an epoch takes about {said}\n"


def test_a_short_epoch_is_over_before_that(tmp_path, capsys):
    assert recorder(tmp_path, 100, 0.01, capsys) == ""
    assert recorder(tmp_path, 100, 1.8, capsys, write_files=False) == ""


@pytest.mark.parametrize(
    ("loss", "said"),
    [(0.1, ""), (0.6931, "a loss of 0.69 is no better than guessing (0.69): try"),
     (1.23, "a loss of 1.23 is no better than guessing (0.69): try")],
)  # fmt: skip
def test_a_network_that_learned_nothing_is_told_by_its_loss(tmp_path, capsys, loss, said):
    network = keras.Sequential([keras.Input((1,)), keras.layers.Dense(2)])
    made = RunRecorder(tmp_path, network, Progress(), 1, 1, 1, constant)
    made.on_train_begin()
    for _ in range(2):
        made._hint(loss, epochs_done=1)
    made.close()
    found = capsys.readouterr().out
    assert found.startswith(said)
    assert found.count("guessing") == bool(said)


def test_what_to_try_ends_with_an_or(tmp_path, capsys):
    network = keras.Sequential([keras.Input((1,)), keras.layers.Dense(2)])
    made = RunRecorder(tmp_path, network, Progress(), 1, 1, 1, constant, remedies=["a", "b", "c"])
    made.on_train_begin()
    made._hint(0.7, epochs_done=1)
    made.close()
    assert capsys.readouterr().out.endswith("guessing (0.69): try a, b or c\n")
