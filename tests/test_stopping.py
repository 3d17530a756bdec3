"""Runs that stop before their end: what is said, what stands, and how they go on."""

import errno
import json
import shutil
import signal
import subprocess

import keras
import numpy as np
import PIL
import pytest

from main import main
from models import load_model
from tests.processes import start_python
from tests.run_folders import without_times
from utils.runs import checkpoint, resuming
from utils.runs import run_folder as runs
from utils.runs.checkpoint import checkpoints
from utils.system import files
from utils.training import callbacks

pytestmark = pytest.mark.once

SMALL = ["--model", "resnet_v1", "--depth", "8", "--attention", "none", "--epochs", "2",
         "--batch-size", "45", "--learning-rate", "0.05"]  # four steps in an epoch # fmt: skip


def start(cifar10_dir, run, *arguments):
    main([*SMALL, "--data-dir", str(cifar10_dir), "--run-dir", str(run), *arguments])


def resume(run, *arguments):
    main(["--resume", str(run), *arguments])


def refused(capsys, code, function, *arguments):
    """The one line that is said when a command exits with a code."""
    with pytest.raises(SystemExit) as end:
        function(*arguments)
    assert end.value.code == code
    err = capsys.readouterr().err.splitlines()
    return err[-1]


def at_step(monkeypatch, number, act):
    """Has something happen at the end of a step, before anything else looks at it."""
    count, original = [0], callbacks.CountSteps.on_train_batch_end

    def on_train_batch_end(self, batch, logs=None):
        original(self, batch, logs)
        count[0] += 1
        if count[0] == number:
            act(logs)

    monkeypatch.setattr(callbacks.CountSteps, "on_train_batch_end", on_train_batch_end)


@pytest.fixture(scope="module")
def whole(cifar10_dir, tmp_path_factory):
    run = tmp_path_factory.mktemp("whole") / "run"
    start(cifar10_dir, run)
    return run


@pytest.fixture
def copy(whole, tmp_path):
    return shutil.copytree(whole, tmp_path / "copy")


def same_result(run, whole):
    a, b = (json.loads((folder / "summary.json").read_text()) for folder in (run, whole))
    same = (run / "best.keras").read_bytes() == (whole / "best.keras").read_bytes()
    return same and without_times(a) == without_times(b)


@pytest.mark.parametrize(
    ("number", "step"),
    [
        (signal.SIGINT, 2),
        (signal.SIGTERM, 4),
        pytest.param(signal.SIGTERM, 8, marks=pytest.mark.long),
    ],
)
def test_a_signal_ends_with_a_checkpoint(number, step, whole, cifar10_dir, tmp_path, capsys,
                                         monkeypatch):  # fmt: skip
    run = tmp_path / "run"
    at_step(monkeypatch, step, lambda logs: signal.raise_signal(number))
    said = refused(capsys, 128 + number, start, cifar10_dir, run)
    assert said == f"stopped; resume with: python main.py train --resume {run}"
    # an epoch that is at its last step is ended first
    expected = {2: "00000-step-0000002", 4: "00001-step-0000000", 8: "00002-step-0000000"}
    assert checkpoints(run / "last")[-1].name == f"epoch-{expected[step]}"
    monkeypatch.undo()
    resume(run)
    assert same_result(run, whole)


def test_before_the_first_checkpoint(whole, cifar10_dir, tmp_path, monkeypatch, capsys):
    run = tmp_path / "run"

    def die(logs):
        raise KeyboardInterrupt

    at_step(monkeypatch, 1, die)
    assert refused(capsys, 130, start, cifar10_dir, run) == "interrupted"
    monkeypatch.undo()
    resume(run)
    assert "no checkpoint yet" in capsys.readouterr().out
    assert same_result(run, whole)


def test_a_finished_run_stays_as_it_is(copy, whole, capsys):
    resume(copy)
    assert "all 2 epochs are done; --epochs N --force" in capsys.readouterr().out
    assert same_result(copy, whole)


def test_a_finished_run_without_checkpoints_is_not_trained_again(copy, whole, capsys):
    shutil.rmtree(copy / "last")
    said = refused(capsys, 2, resume, copy)
    assert f"{copy} is finished and has no checkpoint to go on from; train another run" in said
    assert same_result(copy, whole)


def test_a_run_that_goes_on_is_not_finished(copy, monkeypatch, capsys):
    """A comparison would take the results of fewer epochs for those of all."""

    def die(logs):
        raise KeyboardInterrupt

    at_step(monkeypatch, 1, die)
    more = ["--epochs", "3", "--force"]
    assert refused(capsys, 130, resume, copy, *more) == "interrupted"
    assert not (copy / "summary.json").exists()
    monkeypatch.undo()
    resume(copy)
    assert json.loads((copy / "summary.json").read_text())["epochs"] == 3


def test_a_damaged_checkpoint(copy, whole, capsys):
    newest = checkpoints(copy / "last")[-1]
    content = bytearray((newest / "variables.npz").read_bytes())
    content[len(content) // 2] ^= 4
    (newest / "variables.npz").write_bytes(content)
    resume(copy)
    said = capsys.readouterr().out
    assert f"{newest} is damaged (variables.npz does not match its checksum)" in said
    assert "resuming after epoch 1, step 0" in said
    assert same_result(copy, whole)
    for path in checkpoints(copy / "last"):
        (path / "state.json").write_text("{}")
    assert "all checkpoints in" in refused(capsys, 1, resume, copy)


def test_the_best_network_goes_back_with_the_checkpoint(copy, whole):
    """One of an epoch that is to come again must not decide which is the best."""
    (copy / "best.keras").write_bytes(b"of an epoch that nobody remembers")
    resume(copy)
    assert same_result(copy, whole)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--batch-size", "20"], "cannot be resumed with other settings: batch_size was 45, is 20"),
        (["--seed", "7", "--force"], "cannot be resumed with other settings: seed was 0, is 7"),
        (["--epochs", "3"], "not continue exactly: epochs was 2, is 3; 'python main.py"),
        (["--epochs", "1", "--force"], "has 2 epochs, more than --epochs 1"),
        (["--depth", "21"], "depth was 8, is 21"),
    ],
)
def test_refuses_other_settings(arguments, message, copy, capsys):
    assert message in refused(capsys, 2, resume, copy, *arguments)


def test_a_lower_rate_is_for_another_run(copy, capsys):
    said = refused(capsys, 2, resume, copy, "--learning-rate", "0.001", "--force")
    assert said.rstrip().endswith(f"start another run from its weights: --init {copy}")


def test_more_epochs_with_force(copy):
    resume(copy, "--epochs", "3", "--force")
    assert json.loads((copy / "config.json").read_text())["epochs"] == 3
    assert json.loads((copy / "summary.json").read_text())["epochs"] == 3
    assert len((copy / "metrics.csv").read_text().splitlines()) == 4
    resume(copy)  # and is a run of three epochs from then on


def test_refuses_other_data(copy, cifar10_dir, tmp_path, capsys):
    data = shutil.copytree(cifar10_dir, tmp_path / "data")
    batches = data / "cifar-10-batches-py"
    shutil.copy(batches / "data_batch_1", batches / "test_batch")
    said = refused(capsys, 2, resume, copy, "--data-dir", str(data))
    assert "cannot be resumed with other data" in said
    moved = shutil.copytree(cifar10_dir, tmp_path / "moved")
    resume(copy, "--data-dir", str(moved))


def test_refuses_another_library_version(copy, monkeypatch, capsys):
    versions = resuming.versions()
    monkeypatch.setattr(resuming, "versions", lambda: {**versions, "keras": "2.0"})
    said = refused(capsys, 2, resume, copy)
    command = f"python main.py train --resume {copy} --force"
    assert f"""keras was "{versions["keras"]}", is "2.0"; '{command}' resumes it""" in said
    resume(copy, "--force")


def test_packages_that_make_pixels_are_part_of_the_environment():
    found = resuming.environment(("pillow", "no-such-package"))
    assert (found["pillow"], found["no-such-package"]) == (PIL.__version__, None)


@pytest.mark.parametrize(
    ("folder", "hint"),
    [
        ("nothing", ""),
        ("empty", ""),
        ("study", "; it holds runs, such as '{}/study/a'"),
        ("study/a/best.keras", "; its run is '{}/study/a'"),
    ],
)
def test_refuses_what_is_no_run(folder, hint, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    (tmp_path / "study" / "a").mkdir(parents=True)
    for name in ("config.json", "best.keras"):
        (tmp_path / "study" / "a" / name).touch()
    said = refused(capsys, 2, resume, tmp_path / folder)
    wanted = f"must be the folder of a run, with a config.json; received '{tmp_path / folder}'"
    wanted += hint.format(tmp_path)
    assert said == f"error: argument --resume: {wanted}; see 'main.py train --help'"
    assert not list((tmp_path / "empty").iterdir())


def test_a_loss_that_is_no_number(cifar10_dir, tmp_path, capsys, monkeypatch):
    run = tmp_path / "run"
    at_step(monkeypatch, 6, lambda logs: logs.update(loss=float("nan")))
    said = refused(capsys, 1, start, cifar10_dir, run, "--checkpoint-every", "1")
    assert said.startswith("error: the loss is nan at step 2 of epoch 2; what was written")
    assert [path.name for path in checkpoints(run / "last")] == [
        "epoch-00001-step-0000000",
        "epoch-00001-step-0000001",
    ]
    best = keras.saving.load_model(run / "best.keras")
    assert all(np.isfinite(weight).all() for weight in best.get_weights())
    assert not (run / "summary.json").exists()


def test_a_rate_that_blows_up(cifar10_dir, tmp_path, capsys):
    run = tmp_path / "run"
    said = refused(capsys, 1, start, cifar10_dir, run, "--learning-rate", "1e30")
    assert "at step" in said
    assert "epoch 1" in said
    assert {path.name for path in run.iterdir()} == {"config.json"}


def test_weights_that_blow_up_in_the_last_step(tmp_path, capsys):
    """No validation sees them, and the loss of a step is that before its update."""
    options = ["--dataset", "digits", "--depth", "8", "--attention", "none", "--run-dir"]
    options += [str(tmp_path / "run"), "--validation-split", "0", "--optimizer", "sgd"]
    with pytest.raises(SystemExit) as end:
        main([*options, "--epochs", "2", "--batch-size", "400", "--learning-rate", "1000"])
    assert end.value.code == 1
    assert "is not finite after epoch 2" in capsys.readouterr().err
    network = load_model(tmp_path / "run" / "best.keras")  # of epoch 1
    assert all(np.isfinite(weight).all() for weight in network.get_weights())
    assert not (tmp_path / "run" / "summary.json").exists()


def test_a_network_without_a_finite_answer(tmp_path, capsys):
    run = tmp_path / "run"
    options = ["--dataset", "digits", "--depth", "8", "--attention", "none", "--run-dir", str(run)]
    options += ["--validation-split", "0", "--epochs", "1", "--batch-size", "5000"]
    options += ["--optimizer", "sgd"]
    with pytest.raises(SystemExit) as end:
        main([*options, "--learning-rate", "1e9", "--schedule", "constant"])
    assert end.value.code == 1
    assert "with the network of epoch 1: the training has diverged" in capsys.readouterr().err
    assert not (run / "summary.json").exists()


@pytest.mark.parametrize(
    "module", [checkpoint, *(pytest.param(m, marks=pytest.mark.long) for m in (files, runs))]
)
def test_a_full_disk(module, whole, cifar10_dir, tmp_path, capsys, monkeypatch):
    """While best.keras, a checkpoint or metrics.csv is written."""
    run = tmp_path / "run"

    def full(*args, **kwargs):
        raise OSError(errno.ENOSPC, "No space left on device")

    def fill_the_disk(logs):
        name = {files: "os", checkpoint: "os", runs: "open"}[module]
        if name == "os":
            monkeypatch.setattr(module.os, "fsync", full)
        else:
            monkeypatch.setattr(module, "open", full, raising=False)

    at_step(monkeypatch, 8, fill_the_disk)
    said = refused(capsys, 1, start, cifar10_dir, run)
    assert said == (
        f"error: {run} cannot be written to: No space left on device; what was written before "
        f"is kept; resume with: python main.py train --resume {run}"
    )
    monkeypatch.undo()
    assert not list(run.rglob("*partial*"))
    assert [path.name for path in checkpoints(run / "last")] == ["epoch-00001-step-0000000"]
    resume(run)
    assert same_result(run, whole)


def test_a_folder_that_is_removed_while_it_is_written_to(
    cifar10_dir, tmp_path, capsys, monkeypatch
):
    run = tmp_path / "run"
    at_step(monkeypatch, 2, lambda logs: shutil.rmtree(run))
    said = refused(capsys, 1, start, cifar10_dir, run)
    assert said == f"error: {run} was removed while the run wrote to it"


HOLDER = (
    "import sys\n"
    "from pathlib import Path\n"
    "from utils.runs.run_folder import locked\n"
    "with locked(Path(sys.argv[1])):\n"
    "    print('locked', flush=True)\n"
    "    sys.stdin.read()\n"
)


def holder(run):
    """A process that holds the lock of a run until it is killed."""
    process = start_python("-c", HOLDER, run, stdin=subprocess.PIPE)
    assert process.stdout.readline() == "locked\n"
    return process


def test_one_process_at_a_time(copy, whole, cifar10_dir, tmp_path, capsys):
    process = holder(copy)
    try:
        said = refused(capsys, 2, resume, copy)
        assert f"{copy} is in use by process {process.pid} on " in said
        fresh = holder(tmp_path / "fresh")
        try:
            said = refused(capsys, 2, start, cifar10_dir, tmp_path / "fresh")
            assert "is in use by process" in said
        finally:
            fresh.kill()
            fresh.wait()
    finally:
        process.kill()
        process.wait()
    resume(copy)  # that process is gone
    assert same_result(copy, whole)
    assert not (copy / "lock").exists()
