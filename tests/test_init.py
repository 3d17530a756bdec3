"""`--init`: a run that starts from the weights of another one, or of a `.keras` file."""

import json
import shutil

import keras
import numpy as np
import pytest

from main import main
from models.saving import load_model

pytestmark = pytest.mark.once

SMALL = ["--depth", "8", "--epochs", "1", "--batch-size", "20", "--precision", "float32"]
# so small a rate that the weights stay what they were
STAND_STILL = ["--recipe", "plain", "--learning-rate", "1e-12", "--weight-decay", "0"]


@pytest.fixture(scope="module")
def first(cifar10_dir, tmp_path_factory):
    """A run without attention."""
    run = tmp_path_factory.mktemp("init") / "first"
    train(cifar10_dir, run, "--attention", "none")
    return run


def train(data, run, *arguments):
    main([*SMALL, "--data-dir", str(data), "--run-dir", str(run), *arguments])


def summary(run):
    return json.loads((run / "summary.json").read_text())


def test_attention_that_is_new_changes_nothing_at_first(first, cifar10_dir, tmp_path, capsys):
    run = tmp_path / "second"
    train(
        cifar10_dir, run, "--attention", "cbam_block(ratio=4)", "--init", str(first), *STAND_STILL
    )
    said = capsys.readouterr().out
    assert f"layers from {first}" in said
    assert "new: 3 attention layers" in said
    config = json.loads((run / "config.json").read_text())
    assert config["attention"] == "cbam_block(ratio=4, start='identity')"
    before, after = (load_model(folder / "best.keras") for folder in (first, run))
    kernels = (network.get_layer("stem_conv").get_weights()[0] for network in (before, after))
    np.testing.assert_allclose(*kernels, atol=1e-9)
    (kernel,) = after.get_layer("stage1_block1_attention").spatial.conv.get_weights()
    np.testing.assert_allclose(kernel, 0.0, atol=1e-9)


def test_from_a_file(first, cifar10_dir, tmp_path, capsys):
    file = shutil.copy(first / "best.keras", tmp_path / "network.keras")
    run = tmp_path / "run"
    train(cifar10_dir, run, "--attention", "none", "--init", str(file), *STAND_STILL)
    assert "new: nothing" in capsys.readouterr().out
    before, after = (load_model(path) for path in (file, run / "best.keras"))
    trained = [(b, a) for b, a in zip(before.layers, after.layers, strict=True) if b.weights]
    for b, a in trained:
        if isinstance(b, keras.layers.Conv2D):
            np.testing.assert_allclose(*(x.get_weights()[0] for x in (b, a)), atol=1e-9)


def test_resumes_without_the_file(first, cifar10_dir, tmp_path):
    """What the weights were at first is in the checkpoints."""
    file = shutil.copy(first / "best.keras", tmp_path / "network.keras")
    run = tmp_path / "run"
    train(cifar10_dir, run, "--attention", "se_block", "--init", str(file))
    before = summary(run)
    file.unlink()
    main(["--resume", str(run), "--epochs", "2", "--force"])
    assert (before["epochs"], summary(run)["epochs"]) == (1, 2)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--depth", "14"], "stage1_block2_conv1 is 3x3x16x16 here and not there"),
        (["--init", "missing.keras"], "--init must be the folder of a run or a .keras file"),
    ],
)
def test_refuses(arguments, message, first, cifar10_dir, tmp_path, capsys):
    run = tmp_path / "run"
    with pytest.raises(SystemExit) as end:
        train(cifar10_dir, run, "--attention", "none", "--init", str(first), *arguments)
    assert end.value.code == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not run.exists()
