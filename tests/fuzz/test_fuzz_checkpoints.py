"""Damaged checkpoints: refused, or what was written; right checksums alone are not trusted."""

import tempfile
from pathlib import Path

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

from tests.fuzz.cases import cases, damaged, outcome
from tests.run_folders import write_checksums
from utils.runs.checkpoint import (
    DamagedCheckpoint,
    checkpoint_name,
    newest_checkpoint,
    read_checkpoint,
    write_checkpoint,
)
from utils.runs.progress import progress_from
from utils.system.errors import RunError, UserError

pytestmark = pytest.mark.once

VARIABLES = {
    "model/0": np.linspace(-1, 1, 20, dtype="float32").reshape(4, 5),
    "optimizer/0": np.array(3, "int64"),
}
ROW = {"epoch": 1, "loss": 1.5, "accuracy": 0.5, "images_per_second": 9.0}
STATE = {
    "progress": {"epoch": 1, "step": 2, "history": [ROW], "best_epoch": 1, "seconds": 9.0},
    "config": {"seed": 0},
    "environment": {"keras": "3"},
    "data": "abc",
}


def read(path):
    """A checkpoint whose progress is one that a run of ten steps an epoch can have."""
    try:
        checkpoint = read_checkpoint(path)
        progress_from(checkpoint, 10)
    except (DamagedCheckpoint, RunError) as error:
        raise UserError(str(error)) from error
    return checkpoint


@cases(150)
@hypothesis.given(st.data())
def test_damaged_checkpoints(data):
    with tempfile.TemporaryDirectory() as folder:
        before = write_checkpoint(folder, checkpoint_name(1, 1), VARIABLES, STATE)
        path = write_checkpoint(folder, checkpoint_name(1, 2), VARIABLES, STATE)
        name = data.draw(st.sampled_from(["variables.npz", "state.json", "SHA256SUMS"]))
        content = (path / name).read_bytes()
        changed = data.draw(damaged(content))
        (path / name).write_bytes(changed)
        signed = name != "SHA256SUMS" and data.draw(st.booleans())
        if signed:
            write_checksums(path)
        found = outcome(lambda: read(path))
        if not signed and name != "SHA256SUMS":
            assert (found is None) == (changed != content)
        if found is not None:
            assert all(isinstance(value, np.ndarray) for value in found.variables.values())
            assert all(value.dtype != object for value in found.variables.values())
        if not signed:  # whatever was done to the newest, the run goes on
            newest = newest_checkpoint(Path(folder), lambda line: None)
            assert newest.path == (before if found is None else path)
            for key, value in VARIABLES.items():
                np.testing.assert_array_equal(newest.variables[key], value)
