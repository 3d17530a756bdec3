"""The quickstart notebook runs from top to bottom, without a network, to its picture."""

import os
from pathlib import Path

import nbclient
import nbformat
import pytest

ROOT = Path(__file__).parents[1]

pytestmark = pytest.mark.once


def test_every_cell_runs(tmp_path):
    (tmp_path / "attention_zoo").symlink_to(ROOT / "models")  # as it is when installed
    notebook = nbformat.read(ROOT / "examples" / "quickstart.ipynb", as_version=4)
    client = nbclient.NotebookClient(notebook, resources={"metadata": {"path": str(tmp_path)}})
    client.execute(env={**os.environ, "PYTHONPATH": str(tmp_path), "IPYTHONDIR": str(tmp_path)})
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert len(code) == 10
    assert any("image/png" in output.get("data", {}) for output in code[-1].outputs)
