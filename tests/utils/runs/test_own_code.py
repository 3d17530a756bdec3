"""A run with a module and a network of the user's own: recorded, found again, and held to."""

import hashlib
import json
import re
import shutil

import pytest

from main import main

pytestmark = pytest.mark.once

BLOCK = """
import keras

@keras.saving.register_keras_serializable(package="mine")
class Halve(keras.layers.Layer):
    def call(self, x):
        return 0.5 * x

    def compute_output_shape(self, shape):
        return shape

def halve(x, name=None):
    return Halve(name=name)(x)
"""
NETWORK = """
import keras

from models.attention_module import attach_attention_module

def tiny(input_tensor, classes, filters=4, attention_module=None, attention_at="block"):
    x = keras.layers.Conv2D(filters, 3, activation="relu")(input_tensor)
    x = attach_attention_module(x, attention_module)
    x = keras.layers.GlobalAveragePooling2D()(x)
    x = keras.layers.Dense(classes, name="logits")(x)
    return keras.Model(keras.utils.get_source_inputs(input_tensor),
                       keras.layers.Activation("softmax")(x))
"""


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder with the user's files and a run that was made with them."""
    folder = tmp_path_factory.mktemp("own")
    (folder / "blocks.py").write_text(BLOCK)
    (folder / "networks.py").write_text(NETWORK)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        main(["--dataset", "digits", "--epochs", "1", "--model", "networks.py:tiny(filters=3)",
              "--attention", "blocks.py:halve"])  # fmt: skip
    return folder


@pytest.fixture
def copy(trained, tmp_path, monkeypatch):
    """A copy of the run, used from another folder."""
    monkeypatch.chdir(tmp_path)
    run = trained / "runs" / "digits-tiny-filters3-halve-epochs1-seed0"
    return shutil.copytree(run, tmp_path / "run")


def test_config_records_the_files(trained, copy):
    config = json.loads((copy / "config.json").read_text())
    assert config["attention"] == f"{trained}/blocks.py:halve"
    assert config["model"] == f"{trained}/networks.py:tiny(filters=3)"
    assert config["code"] == {
        f"{trained}/blocks.py:halve": hashlib.sha256(BLOCK.encode()).hexdigest(),
        f"{trained}/networks.py:tiny": hashlib.sha256(NETWORK.encode()).hexdigest(),
    }


def test_the_run_is_evaluated_and_resumed_from_anywhere(copy, capsys):
    main(["evaluate", str(copy)])
    main(["--resume", str(copy), "--epochs", "2", "--force"])
    assert "test accuracy" in capsys.readouterr().out


@pytest.mark.parametrize("command", [["--resume"], ["evaluate"]])
def test_refuses_a_file_that_has_changed(trained, copy, command, capsys):
    path = trained / "blocks.py"
    path.write_text(BLOCK + "# changed\n")
    try:
        with pytest.raises(SystemExit) as end:
            main([*command, str(copy)])
    finally:
        path.write_text(BLOCK)
    assert end.value.code == 2
    err = capsys.readouterr().err
    assert f"{path}:halve has changed since the run began; bring back the file" in err
    assert err.count("\n") == 1


def test_refuses_a_file_that_is_gone(trained, copy, capsys):
    path = trained / "blocks.py"
    path.rename(trained / "elsewhere.py")
    try:
        with pytest.raises(SystemExit):
            main(["evaluate", str(copy)])
    finally:
        (trained / "elsewhere.py").rename(path)
    assert "points to no file" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("file", "message"),
    [
        ("README.md", "points to no file of Python: write FILE.py:NAME"),
        ("plain.py", "Halve is a class that Keras does not know, .*; decorate it with @keras"),
    ],
)
@pytest.mark.parametrize("command", [["train"], ["compare", "--seeds", "0"]])
def test_refuses_a_file_before_it_trains(command, file, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / file).write_text(re.sub("@keras.*", "", BLOCK))
    with pytest.raises(SystemExit) as end:
        main([*command, "--attention", f"{file}:halve", "--dataset", "digits", "--depth", "8"])
    assert end.value.code == 2
    assert re.search(message, capsys.readouterr().err)
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("place", ["{run}/evil.py:f", "evil.py:f", "run/evil.py:f"])
def test_runs_nothing_that_comes_with_a_run(copy, tmp_path, place, capsys):
    """Whoever sends a run also knows the checksum of what is sent along."""
    evil = "open('executed', 'w')\n\ndef f(x): return x\n"
    for folder in (tmp_path, copy):
        (folder / "evil.py").write_text(evil)
    name = place.format(run=copy)
    config = json.loads((copy / "config.json").read_text())
    config |= {"attention": name, "code": {name: hashlib.sha256(evil.encode()).hexdigest()}}
    (copy / "config.json").write_text(json.dumps(config))
    with pytest.raises(SystemExit) as end:
        main(["evaluate", str(copy)])
    assert end.value.code == 2
    assert "is not imported" in capsys.readouterr().err
    assert not (tmp_path / "executed").exists()


def test_runs_nothing_that_the_network_does_not_need(copy, tmp_path):
    (tmp_path / "evil.py").write_text(evil := "open('executed', 'w')\n\ndef f(x): return x\n")
    config = json.loads((copy / "config.json").read_text())
    config["code"][f"{tmp_path}/evil.py:f"] = hashlib.sha256(evil.encode()).hexdigest()
    (copy / "config.json").write_text(json.dumps(config))
    main(["evaluate", str(copy)])
    assert not (tmp_path / "executed").exists()
