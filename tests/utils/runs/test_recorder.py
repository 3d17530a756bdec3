"""What a run says while it trains."""

import keras
import pytest

from utils.runs.progress import Progress
from utils.runs.recorder import FIRST_STEPS, RunRecorder

pytestmark = pytest.mark.once


def recorder(path, steps, seconds, capsys, epochs=2, **options):
    """What a recorder prints in epochs whose first two steps take a minute each."""
    now = [0.0]
    network = keras.Sequential([keras.Input((1,)), keras.layers.Dense(2)])
    progress = Progress()
    made = RunRecorder(path, network, progress, epochs, steps, 1, clock=lambda: now[0], **options)
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
    [(100, 0.5, "50 s"), (100, 1.8, "3 min"), (4000, 1.8, "2.0 h"), (3, 30, "2 min")],
)
def test_an_epochs_time_is_told_once(tmp_path, capsys, steps, seconds, said):
    assert recorder(tmp_path, steps, seconds, capsys) == f"an epoch takes about {said}\n"


def test_a_short_epoch_is_over_before_that(tmp_path, capsys):
    assert recorder(tmp_path, 100, 0.01, capsys) == ""
    assert recorder(tmp_path, 100, 1.8, capsys, write_files=False) == ""
