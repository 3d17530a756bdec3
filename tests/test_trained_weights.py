"""Trained weights on the command line: in the place of a run, and where none is given."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_sample_images

from main import main
from models import saving
from models.pretrained import list_weights
from models.saving import load_model
from utils.data import cifar
from utils.runs.trained_runs import trained_run
from utils.system.errors import UserError

pytestmark = pytest.mark.once

NAME = "cifar10/resnet_v1-20-none"


@pytest.fixture
def alone(tmp_path, monkeypatch):
    """An empty folder to work in, and no network."""

    def refuse(*arguments, **options):
        raise UserError("there is no network")

    monkeypatch.setattr(cifar, "download", refuse)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    return tmp_path


def test_predict(alone, capsys):
    Image.fromarray(load_sample_images().images[0]).save(alone / "photo.png")
    main(["predict", NAME, "photo.png", "--format", "json"])
    (found,) = json.loads(capsys.readouterr().out)
    assert {each["class"] for each in found["predictions"]} <= {
        "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"
    }  # fmt: skip
    assert (alone / "runs" / NAME / "best.keras").exists()
    main(["predict", NAME, "photo.png", "--format", "json"])  # the folder is taken as it is


def test_a_folder_of_other_weights_is_made_anew(alone):
    folder = trained_run(NAME)
    before = (folder / "best.keras").stat().st_mtime_ns
    assert trained_run(NAME) == folder
    assert (folder / "best.keras").stat().st_mtime_ns == before
    summary = json.loads((folder / "summary.json").read_text())
    (folder / "summary.json").write_text(json.dumps({**summary, "weights": "of another version"}))
    (folder / "best.keras").write_bytes(b"of another version")
    assert load_model(trained_run(NAME) / "best.keras").count_params()
    assert json.loads((folder / "summary.json").read_text()) == summary


def test_a_run_is_complete_from_its_first_moment(alone, monkeypatch):
    """Another process makes the same run between the look for it and the making."""
    mkdir, save, seen = Path.mkdir, saving.save_model, []

    def first_the_other(path, *arguments, **options):
        monkeypatch.setattr(Path, "mkdir", mkdir)
        trained_run(NAME)
        mkdir(path, *arguments, **options)

    def look(*arguments):
        seen.append((Path("runs") / NAME / "config.json").exists())
        save(*arguments)

    monkeypatch.setattr(Path, "mkdir", first_the_other)
    monkeypatch.setattr(saving, "save_model", look)
    folder = trained_run(NAME)
    assert seen == [False, True]  # the other's is not taken away
    assert load_model(folder / "best.keras").count_params()
    assert sorted(path.name for path in folder.iterdir()) == [
        "best.keras", "config.json", "summary.json",
    ]  # fmt: skip
    assert list(folder.parent.iterdir()) == [folder]


def test_files_of_ones_own_beside_a_run_stay(alone):
    folder = trained_run(NAME)
    (folder / "evaluation.json").write_text("mine")
    summary = json.loads((folder / "summary.json").read_text())
    (folder / "summary.json").write_text(json.dumps({**summary, "weights": "of another version"}))
    trained_run(NAME)
    assert (folder / "evaluation.json").read_text() == "mine"


def test_a_run_of_ones_own_is_not_overwritten(alone):
    folder = trained_run(NAME)
    summary = json.loads((folder / "summary.json").read_text())
    del summary["weights"]  # as a training writes it
    (folder / "summary.json").write_text(json.dumps(summary))
    (folder / "best.keras").write_bytes(b"mine")
    with pytest.raises(UserError, match="holds a run of your own; move it"):
        trained_run(NAME)
    assert (folder / "best.keras").read_bytes() == b"mine"


def test_fine_tuning(alone, cifar10_dir, capsys):
    main(["train", "--init", NAME, "--data-dir", str(cifar10_dir), "--epochs", "1",
          "--freeze", "backbone", "--run-dir", "run"])  # fmt: skip
    said = capsys.readouterr().out
    assert "weights of" in said
    config = json.loads((alone / "run" / "config.json").read_text())
    assert (config["model"], config["depth"], config["attention"]) == ("resnet_v1", 20, "none")


def test_list_names_them(capsys):
    main(["list"])
    said = capsys.readouterr().out
    for name, accuracy in list_weights().items():
        assert f"{name} " in said
        assert f"{accuracy:.2%}" in said


@pytest.mark.parametrize("command", ["evaluate", "predict"])
def test_unknown_weights(command, alone, capsys):
    with pytest.raises(SystemExit) as stop:
        main([command, "cifar10/other", *(["photo.png"] if command == "predict" else [])])
    assert stop.value.code == 2
    assert "trained weights that 'main.py list' names" in capsys.readouterr().err


def test_explain_without_a_run_or_data(alone, capsys):
    main(["explain", "--output", "pictures"])
    assert "no test images: there is no network" in capsys.readouterr().out
    picture = np.asarray(Image.open(alone / "pictures" / "explanation.png"))
    assert min(picture.shape[:2]) > 300
    report = json.loads((alone / "pictures" / "explanation.json").read_text())
    assert [image["name"] for image in report["images"]] == ["china.jpg", "flower.jpg"]
    assert len(report["networks"]) == 2
