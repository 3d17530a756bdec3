"""A folder of images through every command, and killed and resumed."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from main import main
from tests.commands import refused
from tests.processes import run_killed, start_python
from tests.run_folders import contents, variables
from utils.runs.checkpoint import checkpoint_name
from utils.training import callbacks

pytest.importorskip("grain")
NETWORK = ["--model", "resnet_v1", "--depth", "8", "--attention", "se_block", "--batch-size", "6",
           "--image-size", "16"]  # fmt: skip
WAYS = ["--rand-augment", "5", "--mixup", "0.2", "--cutmix", "1", "--learning-rate", "0.05"]


def training(image_folder, run, *arguments):
    """The words of a command line that trains."""
    data = ["--dataset", "folder", "--data-dir", image_folder, "--run-dir", run]
    return ["train", *map(str, [*data, *NETWORK, *arguments])]


def train(image_folder, run, *arguments):
    main(training(image_folder, run, *arguments))


@pytest.mark.once  # too long for all; every backend has the one below
def test_stopped_in_an_epoch_and_resumed_a_run_ends_the_same(image_folder, tmp_path, monkeypatch):
    whole, run = tmp_path / "whole", tmp_path / "run"
    train(image_folder, whole, *WAYS, "--epochs", "2", "--workers", "0")
    count = callbacks.CountSteps.on_train_batch_end

    def stopped(self, batch, logs=None):
        count(self, batch, logs)
        if self.progress.step == 2:
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(callbacks.CountSteps, "on_train_batch_end", stopped)
    with pytest.raises(SystemExit):
        train(image_folder, run, *WAYS, "--epochs", "2", "--workers", "0")
    monkeypatch.undo()
    assert [path.name for path in (run / "last").iterdir()] == [checkpoint_name(0, 2)]
    main(["train", "--resume", str(run)])
    assert [variables(path) for path in (run, whole)] == [variables(whole)] * 2


@pytest.mark.long
def test_killed_and_resumed_a_run_ends_the_same(image_folder, tmp_path):
    data = ["--dataset", "folder", "--data-dir", image_folder, "--epochs", "2", "--workers", "1"]
    arguments = [*NETWORK, *WAYS, *data, "--checkpoint-every", "2"]
    whole, run, events = tmp_path / "whole", tmp_path / "run", tmp_path / "count"
    run_killed(*arguments, "--run-dir", whole, count=events)
    run_killed(*arguments, "--run-dir", run, at=int(events.read_text()) // 2)
    run_killed("--resume", run)
    assert contents(run) == contents(whole)


@pytest.mark.once
def test_evaluate_and_explain_take_a_run_from_any_folder(
    image_folder, tmp_path, capsys, monkeypatch
):
    run = tmp_path / "run"
    monkeypatch.chdir(image_folder.parent)
    train(image_folder.name, run, "--epochs", "1", "--workers", "0")
    monkeypatch.chdir(tmp_path)
    config = json.loads((run / "config.json").read_text())
    assert (config["dataset"], config["image_size"]) == ("folder", 16)
    assert config["data_dir"] == str(image_folder)
    summary = json.loads((run / "summary.json").read_text())
    main(["evaluate", str(run)])
    evaluation = json.loads((run / "evaluation.json").read_text())
    assert evaluation["test_loss"] == pytest.approx(summary["test_loss"], rel=1e-6)
    assert set(evaluation["class_accuracy"]) == {"flower", "temple"}
    photo = next((image_folder / "test" / "temple").iterdir())
    main(["explain", str(run), "--images", "0", str(photo), "--faithfulness", "2"])
    report = json.loads((run / "explanation.json").read_text())
    assert [image["label"] for image in report["images"]] == ["flower", "temple"]


@pytest.mark.long
def test_large_photographs_get_a_network_for_their_size(image_folder, tmp_path, capsys):
    data = ["--data-dir", image_folder, "--image-size", "96"]  # the folder tells the data set
    run = tmp_path / "run"
    options = [*data, "--run-dir", run, "--attention", "none", "--epochs", "1", "--workers", "0"]
    with pytest.raises(SystemExit):
        main(["train", *map(str, options), "--depth", "20"])
    said = capsys.readouterr().err
    assert "MobileNet has no option 'depth'" in said
    assert "(without --model, images of this size get mobilenet)" in said
    assert not run.exists()
    main(["train", *map(str, options)])
    assert json.loads((run / "config.json").read_text())["model"] == "mobilenet"
    assert json.loads((run / "summary.json").read_text())["model"] == "mobilenet"
    assert "mobilenet, attention none, 3," in capsys.readouterr().out


@pytest.mark.once
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--cutout", "4"], "cutout is for data in memory"),
        (["--dataset", "digits"], "image_size is for data in a folder"),
        (["--crop", "2"], "crop"),
        (["--data-dir", "nowhere"], "is not there"),
    ],
)
def test_refuses_settings_that_do_not_fit_the_data(
    image_folder, tmp_path, capsys, arguments, message
):
    assert message in refused(capsys, *training(image_folder, tmp_path / "run", *arguments))
    assert not (tmp_path / "run").exists()


@pytest.mark.once
def test_a_folder_needs_a_data_dir_and_packages(image_folder, tmp_path, capsys, monkeypatch):
    with pytest.raises(SystemExit):
        main(["train", "--dataset", "folder", "--run-dir", str(tmp_path / "run")])
    assert "needs --data-dir, a folder of images with a folder per class" in capsys.readouterr().err
    for module in ("grain", "simplejpeg"):
        monkeypatch.setitem(sys.modules, module, None)
    said = refused(capsys, *training(image_folder, tmp_path / "run"))
    assert "pip install grain simplejpeg\n" in said


@pytest.mark.long
@pytest.mark.skipif(not hasattr(os, "killpg"), reason="of POSIX")
def test_no_worker_stays_when_a_training_is_killed(image_folder, tmp_path):
    """Neither by Ctrl-C or `timeout`, which reach the group, nor by `kill -9`, which one hears."""
    run = tmp_path / "run"
    begun = ["train", "--dataset", "folder", "--data-dir", image_folder, "--run-dir", run, *NETWORK,
             "--epochs", "1000", "--workers", "1"]  # fmt: skip
    for arguments, kill, sent, code in (
        (begun, os.killpg, signal.SIGINT, 128 + signal.SIGINT),
        (["train", "--resume", run], os.killpg, signal.SIGTERM, 128 + signal.SIGTERM),
        (["train", "--resume", run], os.kill, signal.SIGKILL, -signal.SIGKILL),
    ):
        process = start_python(
            "main.py", *arguments, start_new_session=True, stdout=subprocess.DEVNULL
        )
        before = _epochs(run)
        while _epochs(run) <= before:
            assert process.poll() is None, process.stderr.read()
            time.sleep(0.1)
        kill(process.pid, sent)
        said = process.communicate()[1]  # ends when no process holds the pipe any more
        assert process.returncode == code, said
        assert "Traceback" not in said


def _epochs(run):
    metrics = run / "metrics.csv"
    return len(metrics.read_text().splitlines()) if metrics.exists() else 0
