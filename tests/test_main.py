"""The command line, from flags to the files of a run."""

import csv
import datetime
import importlib.util
import json
import shutil
import subprocess
import types
from pathlib import Path

import keras
import matplotlib.image
import numpy as np
import pytest

from main import announcer, main
from tests.conftest import colored_images, write_batch
from tests.processes import ROOT, run_program, run_python
from utils.config.command_line import parse_settings
from utils.config.settings import TrainSettings
from utils.data.datasets import load_dataset
from utils.runs.predictions import read_predictions
from utils.system.backend import on_accelerator

# in float32, so that the same is computed on every machine
SMALL = ["--model", "resnet_v1", "--depth", "8", "--epochs", "2", "--batch-size", "20",
         "--precision", "float32"]  # fmt: skip


@pytest.fixture(scope="module")
def run(cifar10_dir, tmp_path_factory):
    """A folder in which `train` has run on a small set in the official CIFAR layout."""
    folder = tmp_path_factory.mktemp("runs") / "small"
    done = run_program(
        "train", *SMALL, "--data-dir", cifar10_dir, "--run-dir", folder, "--attention", "se_block",
        "--epochs", "4", "--learning-rate", "0.05", "--no-augment",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    folder.with_name("stdout").write_text(done.stdout)
    return folder


def rows(run):
    with open(run / "metrics.csv", newline="") as file:
        return [{key: float(value) for key, value in row.items()} for row in csv.DictReader(file)]


def test_train_fills_the_folder(run):
    assert {path.name for path in run.iterdir()} == {
        "config.json",
        "metrics.csv",
        "curves.png",
        "best.keras",
        "last",
        "predictions.npz",
        "summary.json",
    }
    history = rows(run)
    assert list(history[0]) == [
        "epoch", "loss", "accuracy", "val_loss", "val_accuracy", "learning_rate", "seconds",
        "images_per_second",
    ]  # fmt: skip
    assert [row["epoch"] for row in history] == [1, 2, 3, 4]
    assert history[-1]["loss"] < history[0]["loss"]
    assert history[-1]["learning_rate"] < 1e-3
    picture = matplotlib.image.imread(run / "curves.png")
    assert min(picture.shape[:2]) > 300
    said = run.with_name("stdout").read_text()
    assert said.count("\nepoch ") == 4
    assert "180 training, 20 validation, 40 test images" in said


def test_summary(run):
    summary = json.loads((run / "summary.json").read_text())
    history = rows(run)
    best = max(history, key=lambda row: row["val_accuracy"])
    assert summary["best_val_accuracy"] == pytest.approx(best["val_accuracy"])
    assert summary["best_epoch"] == best["epoch"]
    convolutions = 9 * (3 * 16 + 2 * 16 * 16 + 16 * 32 + 32 * 32 + 32 * 64 + 64 * 64)
    shortcuts, classifier = 16 * 32 + 32 * 64, 64 * 10 + 10
    norms = 2 * (3 * 16 + 3 * 32 + 3 * 64)
    attention = sum(2 * c * (c // 8) + c // 8 + c for c in (16, 32, 64))
    assert summary["params"] == convolutions + shortcuts + classifier + norms + attention
    assert summary["epochs"] == 4
    assert summary["seed"] == 0
    assert 0 < summary["test_accuracy"] <= 1
    assert summary["images_per_second"] > 0
    assert summary["class_names"] == [f"class{n}" for n in range(10)]
    assert summary["versions"]["backend"] == keras.backend.backend()
    assert datetime.datetime.fromisoformat(summary["date"]).tzinfo is datetime.UTC
    assert summary["command"].startswith("python ")
    assert (summary["hardware"]["device"] == "cpu") != on_accelerator()
    git = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True)
    if git.returncode == 0:
        assert git.stdout.startswith(summary["commit"].removesuffix("-dirty"))


@pytest.mark.once
def test_config_holds_every_setting_and_is_taken_back(run, tmp_path):
    config = json.loads((run / "config.json").read_text())
    assert config["model"] == "resnet_v1"
    assert config["depth"] == 8
    assert config["attention_at"] == ["block"]
    assert config["dataset"] == "cifar10"
    assert config["learning_rate"] == 0.05
    assert config["augment"] is False
    again = tmp_path / "again"
    main(["--config", str(run / "config.json"), "--epochs", "1", "--run-dir", str(again)])
    other = json.loads((again / "config.json").read_text())
    assert other == {**config, "epochs": 1}


def test_best_network_takes_raw_pixels(run, cifar10_dir):
    """`best.keras` alone gives the accuracy of the summary, from uint8 pixels."""
    import models.attention_module  # noqa: F401  (registers the layers)
    from utils.data.datasets import load_dataset

    data = load_dataset("cifar10", cifar10_dir)
    network = keras.saving.load_model(run / "best.keras", safe_mode=True)
    probabilities = network.predict(data.x_test, verbose=0)
    np.testing.assert_allclose(probabilities.sum(axis=-1), 1, atol=1e-5)
    accuracy = np.mean(probabilities.argmax(axis=-1) == data.y_test)
    summary = json.loads((run / "summary.json").read_text())
    assert accuracy == pytest.approx(summary["test_accuracy"])
    statistics = network.get_layer("normalization").get_config()
    assert 20 < np.mean(statistics["mean"]) < 80  # of the training images, in raw pixels


def test_predictions_are_kept(run):
    summary = json.loads((run / "summary.json").read_text())
    predictions = read_predictions(run)
    assert predictions.probabilities.shape == (40, 10)
    np.testing.assert_allclose(predictions.probabilities.sum(axis=-1), 1, atol=1e-5)
    np.testing.assert_array_equal(predictions.labels, np.arange(40) % 10)
    assert predictions.correct.mean() == pytest.approx(summary["test_accuracy"])


def test_evaluate_gives_the_same_again(run, tmp_path):
    copy = shutil.copytree(run, tmp_path / "copy")
    (copy / "predictions.npz").unlink()
    done = run_program("evaluate", copy)
    assert done.returncode == 0, done.stderr
    summary = json.loads((run / "summary.json").read_text())
    result = json.loads((copy / "evaluation.json").read_text())
    assert result["test_accuracy"] == pytest.approx(summary["test_accuracy"], abs=1e-9)
    assert result["test_loss"] == pytest.approx(summary["test_loss"], rel=1e-5)
    assert (copy / "predictions.npz").read_bytes() == (run / "predictions.npz").read_bytes()
    assert f"test accuracy {summary['test_accuracy']:.4f}" in done.stdout
    lines = (copy / "confusion_matrix.csv").read_text().splitlines()
    assert lines[0] == ",".join(f"class{i}" for i in range(10))
    matrix = np.loadtxt(lines[1:], delimiter=",")
    assert matrix.sum() == 40
    assert np.trace(matrix) / 40 == pytest.approx(summary["test_accuracy"])
    assert min(matplotlib.image.imread(copy / "confusion_matrix.png").shape[:2]) > 300


@pytest.mark.long
@pytest.mark.parametrize("backend", ["jax", "torch"])  # and on its own in the test above
def test_evaluates_on_every_backend(run, tmp_path, backend):
    if not importlib.util.find_spec(backend):
        pytest.skip(f"{backend} is not installed")
    copy = shutil.copytree(run, tmp_path / "copy")
    done = run_program("evaluate", copy, "--backend", backend)
    assert done.returncode == 0, done.stderr
    summary = json.loads((run / "summary.json").read_text())
    result = json.loads((copy / "evaluation.json").read_text())
    assert result["test_accuracy"] == pytest.approx(summary["test_accuracy"], abs=1e-9)
    assert result["test_loss"] == pytest.approx(summary["test_loss"], rel=1e-4)


def test_needs_tensorflow_only_on_its_own_backend(cifar10_dir, tmp_path):
    backend = keras.backend.backend()
    if backend == "tensorflow":
        pytest.skip("this is the TensorFlow backend")
    arguments = [*SMALL, "--epochs", "1", "--data-dir", str(cifar10_dir)]
    script = (
        "import sys\n"
        "from importlib.machinery import PathFinder\n"
        "class WithoutTensorFlow(PathFinder):\n"
        "    @classmethod\n"
        "    def find_spec(cls, name, path=None, target=None):\n"
        "        hidden = name.split('.')[0] == 'tensorflow'\n"
        "        return None if hidden else super().find_spec(name, path, target)\n"
        "sys.meta_path[sys.meta_path.index(PathFinder)] = WithoutTensorFlow\n"
        f"import main; main.main({[*arguments, '--run-dir', str(tmp_path / 'run')]})\n"
        f"main.main(['evaluate', {str(tmp_path / 'run')!r}])\n"
        "assert 'tensorflow' not in sys.modules\n"
    )
    done = run_python("-c", script)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("test accuracy") == 2


@pytest.mark.long
def test_same_seed_same_run(cifar10_dir, tmp_path):
    """On one thread, as the tests run, two runs of a seed are the same to the last digit."""
    results = []
    for name, seed in (("a", 5), ("b", 5), ("c", 6)):
        arguments = ["--data-dir", str(cifar10_dir), "--run-dir", str(tmp_path / name)]
        main([*SMALL, *arguments, "--seed", str(seed), "--cutout", "8"])
        results.append([(row["loss"], row["val_loss"]) for row in rows(tmp_path / name)])
    assert results[0] == results[1]
    assert results[0] != results[2]


@pytest.mark.once
def test_without_validation_the_last_epoch_is_reported(cifar10_dir, tmp_path):
    folder = tmp_path / "run"
    main(
        [
            *SMALL, "--data-dir", str(cifar10_dir), "--run-dir", str(folder), "--attention", "none",
            "--validation-split", "0", "--optimizer", "adam", "--schedule", "step",
            "--label-smoothing", "0.1",
        ]
    )  # fmt: skip
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["best_val_accuracy"] is None
    assert summary["best_epoch"] == 2
    assert "val_loss" not in rows(folder)[0]


def test_mixed_precision_trains_a_float32_network(cifar10_dir, tmp_path, capsys):
    run = tmp_path / "run"
    main(
        [
            *SMALL, "--data-dir", str(cifar10_dir), "--run-dir", str(run),
            "--precision", "mixed_bfloat16", "--epochs", "1",
        ]
    )  # fmt: skip
    assert "mixed_bfloat16" in capsys.readouterr().out
    assert np.isfinite(rows(run)[0]["loss"])
    summary = json.loads((run / "summary.json").read_text())
    assert summary["precision"] == "mixed_bfloat16"
    saved = keras.saving.load_model(run / "best.keras", compile=False)
    assert {layer.compute_dtype for layer in saved.layers[1:]} == {"float32"}
    predictions = (run / "predictions.npz").read_bytes()
    for precision, most in (("mixed_bfloat16", 0.0), ("float32", 2.01 / 40)):
        main(["evaluate", str(run), "--precision", precision])
        assert f"in {precision}" in capsys.readouterr().out
        evaluation = json.loads((run / "evaluation.json").read_text())
        assert evaluation["precision"] == precision
        assert abs(evaluation["test_accuracy"] - summary["test_accuracy"]) <= most
    assert (run / "predictions.npz").read_bytes() == predictions  # which comparisons read


def test_auto_precision_is_resolved_and_said(cifar10_dir, tmp_path, monkeypatch, capsys):
    from utils.system import backend_precision

    chosen = ("mixed_bfloat16", "the processor has AMX")
    monkeypatch.setattr(backend_precision, "_of_processor", lambda *_: chosen)
    run = tmp_path / "run"
    arguments = ["--data-dir", str(cifar10_dir), "--run-dir", str(run), "--epochs", "1"]
    main([*SMALL, *arguments, "--precision", "auto"])
    assert "in mixed_bfloat16 (the processor has AMX)" in capsys.readouterr().out
    assert json.loads((run / "config.json").read_text())["precision"] == "mixed_bfloat16"


@pytest.mark.once
def test_digits_and_default_folder(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    options = ["--epochs", "2", "--attention-at", "stage,head", "--learning-rate", "1e-9"]
    main(["--dataset", "digits", "--depth", "8", *options])
    attention = "cbam_block-start_identity-at_stage+head"
    folder = f"digits-resnet_v1-8-{attention}-epochs2-learning_rate1e-09-seed0"
    config = json.loads((Path("runs") / folder / "config.json").read_text())
    assert config["attention_at"] == ["stage", "head"]
    hint = "is no better than guessing (2.30): try more --epochs, a lower --learning-rate"
    assert capsys.readouterr().out.count(hint) == 1  # at such a rate nothing is learned


@pytest.mark.once
def test_help_needs_no_backend():
    script = (
        "import sys; sys.argv = ['main.py', '--help']\n"
        "import main\n"
        "try:\n    main.main(['--help'])\n"
        "except SystemExit as end:\n    assert end.code == 0\n"
        "assert not {'keras', 'tensorflow', 'jax', 'torch'} & set(sys.modules), 'too much imported'"
    )
    done = run_python("-c", script)
    assert done.returncode == 0, done.stderr
    for word in ("--attention-at", "--validation-split", "--no-augment", "evaluate", "list"):
        assert word in done.stdout


@pytest.mark.once
def test_who_hears_that_keras_is_loading(monkeypatch, capsys):
    for terminal, heard in ((False, ""), (True, "Loading")):
        monkeypatch.setattr("sys.stderr.isatty", lambda terminal=terminal: terminal)
        said = announcer("predict", None)
        if said is not None:
            said("Loading")
        assert capsys.readouterr() == ("", heard and f"{heard}\n")
    assert announcer("train", types.SimpleNamespace(host_id=1)) is None


@pytest.mark.once
def test_flags_stand_over_the_config_wherever_they_stand(tmp_path):
    path = tmp_path / "config.json"
    path.write_text('{"depth": 56, "epochs": 7}')
    for arguments in (
        ["--depth", "32", "--config", str(path)],
        ["--config", str(path), "--depth", "32"],
        [f"--config={path}", "--depth=32"],
        ["--depth=32", f"--config={path}"],
    ):
        settings = parse_settings(TrainSettings, arguments, "main.py train", "")
        assert (settings.depth, settings.epochs) == (32, 7)


@pytest.mark.once
def test_options_of_the_attention_module():
    words = "--pools lp,max --descriptor conv --order parallel --attention-batch-norm --ratio 4"
    settings = parse_settings(TrainSettings, words.split(), "main.py train", "")
    assert settings.attention_options() == {
        "ratio": 4,
        "pools": ("lp", "max"),
        "descriptor": "conv",
        "order": "parallel",
        "batch_norm": True,
    }
    assert TrainSettings(**json.loads(json.dumps(settings.config()))) == settings
    assert TrainSettings().attention_options() == {}


@pytest.mark.once
@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        ("--attention-batch-norm true", True),
        ("--attention-batch-norm=false", False),
        ("--no-attention-batch-norm", False),
        ("--epochs 2", None),
    ],
)
def test_a_switch_of_three_states_takes_a_word(words, wanted):
    settings = parse_settings(TrainSettings, words.split(), "main.py train", "")
    assert settings.attention_batch_norm is wanted


@pytest.mark.once
@pytest.mark.parametrize("config", sorted((ROOT / "configs").glob("*.json")), ids=lambda p: p.stem)
def test_published_configs_are_taken(config):
    settings = parse_settings(TrainSettings, ["--config", str(config)], "main.py train", "")
    assert settings.epochs == json.loads(config.read_text())["epochs"]


def test_a_run_is_never_overwritten(run, cifar10_dir, capsys):
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    with pytest.raises(SystemExit):
        main([*SMALL, "--data-dir", str(cifar10_dir), "--run-dir", str(run)])
    assert f"already holds a run; resume it with --resume {run}" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before


@pytest.mark.once
def test_foreign_folders_are_left_alone(cifar10_dir, tmp_path, capsys):
    (tmp_path / "thesis.txt").write_text("mine")
    for folder in (tmp_path, tmp_path / "thesis.txt", tmp_path / "thesis.txt" / "run"):
        with pytest.raises(SystemExit) as end:
            main([*SMALL, "--data-dir", str(cifar10_dir), "--run-dir", str(folder)])
        assert end.value.code == 2
        assert capsys.readouterr().err.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


@pytest.mark.once
@pytest.mark.parametrize("damage", ["config.json", "best.keras"])
@pytest.mark.parametrize("content", [None, b"", b"[]", b"nonsense", b"PK\x03\x04" + b"\0" * 99])
def test_evaluate_refuses_a_damaged_run(run, tmp_path, capsys, damage, content):
    copy = shutil.copytree(run, tmp_path / "copy")
    if content is None:
        (copy / damage).unlink()
    else:
        (copy / damage).write_bytes(content)
    with pytest.raises(SystemExit) as end:
        main(["evaluate", str(copy)])
    assert end.value.code == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert damage in err
    assert not (copy / "evaluation.json").exists()


@pytest.mark.once
def test_evaluate_with_mirror_images(run, cifar10_dir, tmp_path):
    """Averages the probabilities of an image and its mirror image; comparisons read others."""
    copy = shutil.copytree(run, tmp_path / "copy")
    main(["evaluate", str(copy), "--flip"])
    network = keras.saving.load_model(run / "best.keras", compile=False)
    images = load_dataset("cifar10", str(cifar10_dir)).x_test
    both = [network.predict(views, verbose=0) for views in (images, images[:, :, ::-1])]
    expected = np.mean(both, axis=0)[np.arange(40), np.arange(40) % 10]
    result = json.loads((copy / "evaluation.json").read_text())
    assert result["flip"]
    assert result["test_loss"] == pytest.approx(-np.log(expected).mean(), rel=1e-4)
    assert (copy / "predictions.npz").read_bytes() == (run / "predictions.npz").read_bytes()


@pytest.mark.once
def test_evaluate_on_other_data(run, cifar10_dir, rng, tmp_path):
    """The figures are of the other test images; `predictions.npz` stays, which `compare` reads."""
    copy = shutil.copytree(run, tmp_path / "copy")
    other = shutil.copytree(cifar10_dir, tmp_path / "other")
    labels = np.arange(30) % 10
    write_batch(other / "cifar-10-batches-py/test_batch", colored_images(rng, labels), labels)
    main(["evaluate", str(copy), "--data-dir", str(other)])
    assert np.loadtxt(copy / "confusion_matrix.csv", delimiter=",", skiprows=1).sum() == 30
    assert (copy / "predictions.npz").read_bytes() == (run / "predictions.npz").read_bytes()


@pytest.mark.once
def test_evaluate_refuses_mirror_images_of_digits(tmp_path, capsys):
    run = tmp_path / "run"
    main([*SMALL, "--dataset", "digits", "--epochs", "1", "--run-dir", str(run)])
    with pytest.raises(SystemExit) as end:
        main(["evaluate", str(run), "--flip"])
    assert end.value.code == 2
    assert "a mirror image of digits does not belong to the same class" in capsys.readouterr().err
    assert not (run / "evaluation.json").exists()


@pytest.mark.once
def test_evaluate_refuses_another_network(run, tmp_path, capsys):
    copy = shutil.copytree(run, tmp_path / "copy")
    image, other = keras.Input((32, 32, 3)), keras.Input((8, 8, 1))
    pooled = keras.layers.GlobalAveragePooling2D()(image)
    for network, message in (
        (keras.Model(image, keras.layers.Dense(3)(pooled)), "it has 3 classes, cifar10 has 10"),
        (keras.Model(image, keras.layers.Dense(10)(image)), "cannot be evaluated"),
        (keras.Model(other, keras.layers.Dense(10)(other)), "cannot be evaluated"),
        (keras.Model(image, {"a": pooled}), "cannot be evaluated"),
    ):
        network.save(copy / "best.keras")
        with pytest.raises(SystemExit) as end:
            main(["evaluate", str(copy)])
        assert end.value.code == 2
        err = capsys.readouterr().err
        assert err.startswith("error: ")
        assert err.count("\n") == 1
        assert message in err
    assert not (copy / "evaluation.json").exists()


@pytest.mark.once
def test_evaluate_refuses_hostile_settings(run, tmp_path, capsys):
    copy = shutil.copytree(run, tmp_path / "copy")
    for config in ({"dataset": []}, {"dataset": "digits", "data_dir": 5}, {"dataset": None}):
        (copy / "config.json").write_text(json.dumps(config))
        with pytest.raises(SystemExit) as end:
            main(["evaluate", str(copy)])
        assert end.value.code == 2
        assert "copy/config.json: " in capsys.readouterr().err


@pytest.mark.once
def test_safe_mode_refuses_code_in_a_model(run, tmp_path, capsys):
    copy = shutil.copytree(run, tmp_path / "copy")
    model = keras.Sequential([keras.Input((32, 32, 3)), keras.layers.Lambda(lambda x: x * 2)])
    model.save(copy / "best.keras")
    with pytest.raises(SystemExit):
        main(["evaluate", str(copy)])
    said = capsys.readouterr().err
    assert "best.keras holds a Python lambda, which is code and is not loaded" in said
