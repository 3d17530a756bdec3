"""Worker processes: what they print."""

import importlib.util

import pytest

from tests.processes import run_python

pytestmark = [
    pytest.mark.once,
    pytest.mark.skipif(not importlib.util.find_spec("grain"), reason="Grain starts the workers"),
]


@pytest.mark.parametrize(
    "before",
    [
        "from utils.system.workers import silence_grain; silence_grain(); silence_grain()",
        # what a worker does first
        "import runpy; runpy.run_path('main.py', run_name='__mp_main__')",
    ],
)
def test_no_word_about_a_profiler_that_is_not_installed(tmp_path, before):
    (tmp_path / "jax.py").write_text("raise ImportError('not installed')")
    script = f"{before}\nimport grain\nfrom absl import logging\nlogging.warning('of use')\n"
    done = run_python("-c", script, PYTHONPATH=f"{tmp_path}:.")
    assert (done.returncode, done.stderr) == (0, "WARNING:absl:of use\n")
