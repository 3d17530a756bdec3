"""What a run needs of its surroundings, and what it can do without."""

from pathlib import Path

import pytest

from tests.processes import run_python
from utils.system.backend import choose_backend
from utils.system.errors import UserError

pytestmark = pytest.mark.once


def test_a_broken_package_counts_as_missing(tmp_path):
    (tmp_path / "broken.py").write_text("raise AttributeError('no such symbol')")
    script = (
        "import importlib.util, sys\n"
        "from utils.system.backend import _import_or_block\n"
        "_import_or_block('json')\n_import_or_block('broken')\n"
        "import json\n"
        "assert importlib.util.find_spec('broken')\n"
        "try:\n    import broken\n"
        "except ImportError as error:\n    print(error)\n"
        "assert 'broken' not in sys.modules\n"  # Keras takes what is there for usable
    )
    done = run_python("-c", script, PYTHONPATH=f".:{tmp_path}")
    assert done.stdout == "broken is installed, but broken\n", done.stderr


def test_without_a_home_folder_nothing_goes_to_a_folder_called_tilde():
    script = (
        "import os, pwd\n"
        "os.environ.pop('HOME')\nos.environ.pop('KERAS_HOME', None)\n"
        "def getpwuid(uid):\n    raise KeyError(uid)\n"
        "pwd.getpwuid = getpwuid\n"
        "from utils.data.cifar import _cache\n"
        "from utils.system.backend import _find_home\n"
        "_find_home()\n"
        "cache = _cache()\n"
        "assert cache.parent.is_dir() and cache.is_absolute()\n"
        "print(cache.parent)\n"
    )
    done = run_python("-c", script)
    assert done.returncode == 0, done.stderr
    assert not Path(done.stdout.strip()).exists()  # it is removed at the end


def test_without_a_backend_it_says_how_to_get_one(monkeypatch):
    monkeypatch.delenv("KERAS_BACKEND", raising=False)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UserError, match="no backend of Keras is installed for "):
        choose_backend()


def test_the_wait_for_keras_is_announced_before_it():
    script = (
        "import sys\n"
        "from utils.system.backend import choose_backend\n"
        "def announce(line):\n"
        "    assert 'keras' not in sys.modules and 'tensorflow' not in sys.modules\n"
        "    print(line)\n"
        "choose_backend('jax', announce)\n"
        "assert 'keras' in sys.modules\n"
    )
    pytest.importorskip("jax")
    done = run_python("-c", script)
    assert done.stdout == "Loading Keras on jax; this takes some seconds.\n", done.stderr
