"""`--log`: what goes to Weights & Biases and MLflow, without a network."""

import csv
import json

import pytest

from main import main

pytestmark = pytest.mark.once

SMALL = ["--dataset", "digits", "--depth", "8", "--attention", "none", "--precision", "float32"]


@pytest.fixture(autouse=True)
def no_servers(monkeypatch):
    """None of the user's servers takes these runs, and a name that the code sets is gone after."""
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME", "MLFLOW_ALLOW_FILE_STORE"):
        monkeypatch.setenv(name, "")  # is undone at the end even if it was not set before
        monkeypatch.delenv(name)
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")


def rows_of(run):
    with open(run / "metrics.csv", newline="") as file:
        return list(csv.DictReader(file))


def test_mlflow(tmp_path):
    mlflow = pytest.importorskip("mlflow")
    run = tmp_path / """it's "my" run"""
    main([*SMALL, "--epochs", "2", "--run-dir", str(run), "--log", "mlflow"])
    client = mlflow.MlflowClient(f"file:{tmp_path / 'mlruns'}")
    experiment = client.get_experiment_by_name("attention-zoo")
    (logged,) = client.search_runs([experiment.experiment_id])
    assert logged.info.status == "FINISHED"
    assert logged.data.params["optimizer"] == "muon"
    history = client.get_metric_history(logged.info.run_id, "val_accuracy")
    expected = [float(row["val_accuracy"]) for row in rows_of(run)]
    assert [metric.value for metric in sorted(history, key=lambda m: m.step)] == expected
    summary = json.loads((run / "summary.json").read_text())
    assert logged.data.metrics["summary_test_accuracy"] == summary["test_accuracy"]
    main(["train", "--resume", str(run), "--log", "mlflow"])  # goes on in the same place
    assert len(client.search_runs([experiment.experiment_id])) == 1


def test_tensorboard(tmp_path):
    pytest.importorskip("tensorboard")
    pytest.importorskip("tensorflow")
    run = tmp_path / "run"
    main([*SMALL, "--epochs", "1", "--run-dir", str(run), "--log", "tensorboard"])
    parts = {path.parent.name for path in run.glob("tensorboard/*/events.out.tfevents.*")}
    assert parts == {"train", "validation"}


def test_weights_and_biases(tmp_path, monkeypatch):
    wandb = pytest.importorskip("wandb")
    logged = {}

    class Run:
        id = "abc"
        summary = logged.setdefault("summary", {})

        def log(self, row, step):
            logged.setdefault("rows", {})[step] = row

        def __enter__(self):
            return self

        def __exit__(self, *error):
            logged["ended"] = error == (None, None, None)

    def init(**options):
        logged["options"] = options
        return Run()

    monkeypatch.setattr(wandb, "init", init)
    monkeypatch.delenv("WANDB_PROJECT", raising=False)
    run = tmp_path / "run"
    main([*SMALL, "--epochs", "2", "--run-dir", str(run), "--log", "wandb"])
    assert logged["options"]["project"] == "attention-zoo"
    assert logged["options"]["config"]["dataset"] == "digits"
    assert list(logged["rows"]) == [1, 2]
    accuracies = [row["val_accuracy"] for row in logged["rows"].values()]
    assert accuracies == [float(row["val_accuracy"]) for row in rows_of(run)]
    summary = json.loads((run / "summary.json").read_text())
    assert logged["summary"]["test_accuracy"] == summary["test_accuracy"]
    assert logged["ended"]
    assert logged["options"]["id"] is None  # a run of its own
    main(["train", "--resume", str(run), "--log", "wandb"])
    assert logged["options"]["id"] == "abc"  # the same one
    main([*SMALL, "--epochs", "1", "--run-dir", str(tmp_path / "other"), "--log", "wandb"])
    assert logged["options"]["id"] is None


def test_a_log_that_fails_does_not_end_the_training(tmp_path, monkeypatch, capsys):
    mlflow = pytest.importorskip("mlflow")
    calls = []

    def fail(*arguments, **named):
        calls.append(arguments)
        raise mlflow.exceptions.MlflowException("no server")

    monkeypatch.setattr(mlflow.MlflowClient, "log_metric", fail)
    run = tmp_path / "run"
    main([*SMALL, "--epochs", "2", "--run-dir", str(run), "--log", "mlflow"])
    assert capsys.readouterr().out.count("--log mlflow failed, and takes no more of this run") == 1
    assert len(calls) == 1
    assert len(rows_of(run)) == 2
    assert (run / "summary.json").exists()


def test_who_is_not_logged_in_is_told_so(tmp_path, monkeypatch, capsys):
    wandb = pytest.importorskip("wandb")

    def init(**options):
        raise RuntimeError("no API key")

    monkeypatch.setattr(wandb, "init", init)
    with pytest.raises(SystemExit) as stop:
        main([*SMALL, "--epochs", "1", "--run-dir", str(tmp_path / "run"), "--log", "wandb"])
    assert stop.value.code == 2
    assert "--log wandb: no API key; WANDB_MODE=offline" in capsys.readouterr().err


@pytest.mark.long
def test_weights_and_biases_offline(tmp_path, monkeypatch):
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    run = tmp_path / "run"
    main([*SMALL, "--epochs", "1", "--run-dir", str(run), "--log", "wandb"])
    (file,) = run.glob("wandb/offline-run-*/*.wandb")
    assert file.stat().st_size > 1000


def test_what_is_not_installed_is_named(tmp_path, monkeypatch, capsys):
    import importlib.util

    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *a: None if name == "wandb" else find(name, *a)
    )
    with pytest.raises(SystemExit) as stop:
        main([*SMALL, "--run-dir", str(tmp_path / "run"), "--log", "wandb"])
    assert stop.value.code == 2
    assert "--log wandb needs more packages: pip install wandb" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
