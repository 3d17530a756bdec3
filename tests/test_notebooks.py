"""The notebooks run from top to bottom, without a network, to their pictures."""

import os
import re
from pathlib import Path

import nbclient
import nbformat
import pytest

ROOT = Path(__file__).parents[1]
PATIENCE = 600  # seconds; the defaults are too short for a machine with much else to do

pytestmark = pytest.mark.once


@pytest.mark.parametrize(
    ("name", "count"), [pytest.param("quickstart", 10, marks=pytest.mark.long), ("finetune", 5)]
)
def test_every_cell_runs(name, count, tmp_path):
    (tmp_path / "attention_zoo").symlink_to(ROOT / "models")  # as it is when installed
    notebook = nbformat.read(ROOT / "examples" / f"{name}.ipynb", as_version=4)
    client = nbclient.NotebookClient(
        notebook,
        startup_timeout=PATIENCE,
        iopub_timeout=PATIENCE,
        resources={"metadata": {"path": str(tmp_path)}},
    )
    client.execute(env={**os.environ, "PYTHONPATH": str(tmp_path), "IPYTHONDIR": str(tmp_path)})
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert len(code) == count
    assert any("image/png" in output.get("data", {}) for output in code[-1].outputs)
    said = "".join(output.get("text", "") for cell in code for output in cell.outputs)
    if name == "finetune":  # half of the images is chance
        assert float(re.search(r"everything: ([\d.]+)%", said)[1]) > 75
