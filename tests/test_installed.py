"""The library as it is installed: `attention_zoo`, from a wheel, in an environment of its own."""

import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import keras
import numpy as np
import pytest

from models import __version__, build_model
from models.saving import load_model

ROOT = Path(__file__).parents[1]
pytestmark = pytest.mark.once


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel, built from a copy: building leaves files beside the sources."""
    source = tmp_path_factory.mktemp("source")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    for name in ("models", "utils"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / name, source / name, ignore=ignored)
    shutil.copy(ROOT / "main.py", source)
    pip("wheel", source, "--no-deps", "--no-build-isolation", "--wheel-dir", source / "dist")
    (path,) = (source / "dist").iterdir()
    return path


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """The Python of an environment that has the wheel, and what it needs from the present one."""
    folder = tmp_path_factory.mktemp("installed")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    (packages,) = folder.glob("[Ll]ib/**/site-packages")
    pip("--python", python, "install", "--no-deps", "--no-index", wheel)
    assert {path.name.split("-")[0] for path in packages.iterdir()} == {"attention_zoo"}
    (packages / "others.pth").write_text(sysconfig.get_paths()["purelib"])
    return python


def pip(*arguments):
    command = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", *arguments]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def run(python, script, folder):
    """Runs a script elsewhere, where no checkout is in reach."""
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(
        [python, "-c", script],
        capture_output=True,
        text=True,
        cwd=folder,
        env=environment,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_wheel_holds_the_library_and_nothing_else(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    sources = {path.relative_to(ROOT / "models") for path in (ROOT / "models").rglob("*.py")}
    expected = {f"attention_zoo/{path.as_posix()}" for path in sources}
    trained = (ROOT / "models" / "trained").rglob("*.*")
    data = {f"attention_zoo/{path.relative_to(ROOT / 'models').as_posix()}" for path in trained}
    assert names == {*expected, *data, "attention_zoo/py.typed"}


def test_version_is_that_of_the_library(wheel, installed, tmp_path):
    assert wheel.name == f"attention_zoo-{__version__}-py3-none-any.whl"
    script = (
        "import attention_zoo, sys\n"
        "from importlib.metadata import version\n"
        "print(version('attention-zoo'), attention_zoo.__version__)\n"
        "assert not {'keras', 'numpy', 'tensorflow'} & set(sys.modules)\n"
    )
    assert run(installed, script, tmp_path).split() == [__version__] * 2


def test_names_cost_no_keras(installed, tmp_path):
    script = (
        "import attention_zoo, sys\n"
        "print(*attention_zoo.list_models())\n"
        "assert not {'keras', 'numpy', 'tensorflow'} & set(sys.modules)\n"
        "try:\n    import models\n"
        "except ModuleNotFoundError:\n    pass\n"
        "else:\n    raise AssertionError(models)\n"
    )
    assert run(installed, script, tmp_path).split()[-1] == "resnext"


@pytest.mark.long
def test_networks_pass_between_checkout_and_library(installed, tmp_path, rng):
    images = rng.normal(size=(2, 16, 16, 3)).astype("float32")
    model = build_model("resnet_v1", depth=8, input_shape=(16, 16, 3), attention_module="bam_block")
    model.save(tmp_path / "ours.keras")
    np.savez(tmp_path / "ours.npz", images=images, outputs=model.predict(images, verbose=0))
    script = (
        "import keras, numpy\n"
        "from attention_zoo import CBAM, add_attention, cbam_block, load_model\n"
        "assert CBAM.__module__.startswith('attention_zoo.')\n"
        "keras.saving.load_model('ours.keras', safe_mode=True)\n"
        "model, known = load_model('ours.keras'), numpy.load('ours.npz')\n"
        "found = model.predict(known['images'], verbose=0)\n"
        "numpy.testing.assert_array_equal(found, known['outputs'])\n"
        "model = add_attention(model, 'cbam_block', start='standard')\n"
        "model.save('theirs.keras')\n"
        "numpy.save('theirs.npy', model.predict(known['images'], verbose=0))\n"
    )
    run(installed, script, tmp_path)
    back = load_model(tmp_path / "theirs.keras")
    kinds = {keras.saving.get_registered_name(type(layer)) for layer in back.layers}
    assert {"attention_zoo>BAM", "attention_zoo>CBAM"} <= kinds
    found = back.predict(images, verbose=0)
    np.testing.assert_allclose(found, np.load(tmp_path / "theirs.npy"), rtol=1e-6)
