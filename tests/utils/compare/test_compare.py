"""The command `compare`: what it trains, what it writes, what it refuses."""

import base64
import contextlib
import dataclasses
import json
import os
import signal
import time

import pytest

from main import main
from models import build_model
from models.attention.specification import AttentionSpec
from tests.fake_comparison import COSTS, DATA, fake_comparison, settings_of, table
from tests.processes import start_python
from utils.compare import compare as command
from utils.compare.costs import costs_of
from utils.compare.planning import Variant, plan_runs
from utils.evaluation.counting import multiply_adds, trainable_params
from utils.system.errors import RunError, UserError
from utils.system.files import read_json, write_json

pytestmark = pytest.mark.once


def test_costs_are_those_of_the_networks(tmp_path):
    data = dataclasses.replace(DATA, class_names=tuple("abcdefghij"))
    runs = plan_runs(settings_of(seeds="0,1", ratio=4), data, tmp_path)
    costs = costs_of(runs, data)
    network = build_model("resnet_v1", depth=8)
    assert costs[Variant(AttentionSpec())] == (trainable_params(network), multiply_adds(network))
    gates = sum(2 * c * (c // 4) + c // 4 + c for c in (16, 32, 64))
    assert (
        costs[Variant(AttentionSpec.parse("se_block(ratio=4)"))][0]
        == trainable_params(network) + gates
    )


# errors that are found only when the network is built, which takes a process
SLOW_ERRORS = [
    (["--pools", "avg", "mean"], "pools must be one or more of 'avg', 'max', 'lp', 'lse'"),
    (["--descriptor", "cnv"], "descriptor, if not 'conv', must be one or more of 'avg', 'max'"),
    (["--order", "parallel", "last"], "order must be one of 'channel_first', 'spatial_first'"),
    (["--attention-at", "block", "foot"], "must be one or more of 'block', 'head', 'stage'"),
]


BAD = [
    *(pytest.param(*bad, marks=pytest.mark.long) for bad in SLOW_ERRORS),
    (["--attention", "none", "cbam"], "Did you mean 'cbam_block'"),
    (["--attention", "se_block", "--kernel-size", "3"], "se_block has no option 'kernel_size'"),
    (["--attention", "none", "se_block", "--order", "parallel"], "compare one of cbam_block"),
    (["--attention", "none", "--ratio", "4"], "none has no option 'ratio' to vary; leave it out"),
    (["--attention-batch-norm", "yes"], "must be true or false; received 'yes'"),
    (["--ratio", *map(str, range(1, 50))], "99 variants are too many to compare, at most 50"),
    (["--seeds", "4-0"], "must be numbers such as 0-4 or 0,2,5; received '4-0'"),
    (["--seeds", "0-4294967295"], "must be at most 1000 seeds"),
    (["--ratio", "4", "none"], "must be a whole number of at least 1; received 'none'"),
    (["--no-train"], "holds none of these 9 runs, such as none-seed0, finished"),
    (["--jobs", "0"], "must be a whole number of at least 1"),
    (["--resume", "run"], "--resume"),
    (["--depth", "21"], "the nearest are 20, 26, 29"),
    (["--validation-split", "0.999"], "validation split 0.999"),
    (["--freeze", "backbone", "--unfreeze-after", "30"], "must be less than the 30 epochs"),
]


@pytest.mark.parametrize(("arguments", "message"), BAD)
def test_bad_input_is_one_line(arguments, message, cifar10_dir, tmp_path, capsys):
    folder = tmp_path / "comparison"
    with pytest.raises(SystemExit) as end:
        main(["compare", "--data-dir", str(cifar10_dir), "--run-dir", str(folder), *arguments])
    assert end.value.code == 2
    err = capsys.readouterr().err
    assert err.startswith("error: ")
    assert err.count("\n") == 1, err
    assert message in err
    assert not folder.exists()


def arguments_of(cifar10_dir, folder):
    return [
        "compare", "--depth", "8", "--epochs", "1", "--batch-size", "60", "--attention", "none",
        "se_block", "--seeds", "0", "--data-dir", str(cifar10_dir), "--run-dir", str(folder),
    ]  # fmt: skip


def trained_runs(output):
    return [line.split(":")[0] for line in output.splitlines() if ": training;" in line]


def test_compares_and_continues(cifar10_dir, tmp_path, capsys):
    """Finished runs are not trained again; a failed run is named, and the others are compared."""
    folder = tmp_path / "comparison"
    arguments = arguments_of(cifar10_dir, folder)
    main([*arguments, "--jobs", "2"])
    everything = ["none-seed0", "se_block-seed0"]
    output = capsys.readouterr().out
    assert trained_runs(output) == everything
    assert output.count("test accuracy 0.") == 2
    written = {
        "comparison.md",
        "comparison.csv",
        "comparison.tex",
        "comparison.png",
        "explanation.png",
    }
    files = {*written, "report.html", "jobs.json", "logs"}
    assert {path.name for path in folder.iterdir()} == {*everything, *files}
    assert "What the networks look at" in (folder / "report.html").read_text("utf-8")
    before = table(folder)
    for name in ("none", "se_block"):
        summary = json.loads((folder / f"{name}-seed0/summary.json").read_text())
        assert float(before[name]["test_accuracy"]) == pytest.approx(summary["test_accuracy"])
        assert int(before[name]["params"]) == summary["params"]

    # as if the run had stopped before its last step
    (folder / "none-seed0" / "summary.json").unlink()
    for checkpoint in (folder / "none-seed0" / "last").iterdir():
        (checkpoint / "state.json").write_text("{}")
    with pytest.raises(SystemExit) as end:
        main(arguments)
    assert end.value.code == 1
    output = capsys.readouterr()
    assert trained_runs(output.out) == ["none-seed0"]
    assert "none-seed0 (1/1): FAILED: error: all checkpoints in" in output.out
    assert output.err == "error: 1 of 2 runs failed: none-seed0\n"
    assert table(folder).keys() == {"se_block"}
    assert table(folder)["se_block"]["test_accuracy"] == before["se_block"]["test_accuracy"]


@pytest.fixture
def without_work(monkeypatch):
    """The command without data, and without a network to build."""
    monkeypatch.setattr(command, "load_dataset", lambda **options: DATA)
    monkeypatch.setattr(command, "validation_indices", lambda *arguments: None)
    monkeypatch.setattr(command, "costs_of", lambda *arguments: COSTS)


@pytest.mark.usefixtures("without_work")
@pytest.mark.parametrize("error", [UserError, RunError, MemoryError])
def test_tables_do_not_depend_on_the_picture(error, tmp_path, monkeypatch):
    """They are there before it, and an error that it may have is announced."""

    def fail(*arguments):
        assert "report.html" in {path.name for path in tmp_path.iterdir()}
        raise error("of the picture")

    monkeypatch.setattr(command, "call_in_process", fail)
    for run in fake_comparison(tmp_path):
        (run.folder / "best.keras").touch()
    announced: list[str] = []
    settings = settings_of(run_dir=str(tmp_path), train=False)
    with pytest.raises(error) if error is MemoryError else contextlib.nullcontext():
        command.compare(settings, announced.append)
        assert announced[1:] == ["explanation.png is not written: of the picture"]
    assert table(tmp_path).keys() == {"none", "se_block"}


@pytest.mark.usefixtures("without_work")
def test_the_picture_is_on_the_page(tmp_path, monkeypatch):
    for run in fake_comparison(tmp_path):
        (run.folder / "best.keras").touch()
    picture = (tmp_path / "explanation.png").write_bytes
    monkeypatch.setattr(command, "call_in_process", lambda *_: picture(b"\x89PNG\r\n\x1a\n new"))
    command.compare(settings_of(run_dir=str(tmp_path), train=False), lambda line: None)
    page = (tmp_path / "report.html").read_text("utf-8")
    assert base64.b64encode(b"\x89PNG\r\n\x1a\n new").decode() in page


@pytest.mark.usefixtures("without_work")
def test_no_train_compares_what_is_finished(tmp_path):
    unfinished = fake_comparison(tmp_path)[3].folder
    (unfinished / "summary.json").unlink()
    announced: list[str] = []
    settings = settings_of(run_dir=str(tmp_path), train=False, figure_format="svg")
    command.compare(settings, announced.append)
    assert announced == [f"{tmp_path}: 6 runs, 5 of them finished"]
    assert "**Missing runs: se_block-seed1.**" in (tmp_path / "comparison.md").read_text("utf-8")
    assert (tmp_path / "comparison.svg").read_bytes().startswith(b"<?xml")
    assert {name: row["seeds"] for name, row in table(tmp_path).items()} == {
        "none": "3",
        "se_block": "2",
    }


@pytest.mark.parametrize("mine", ["report.html", "photos/0.png"])
def test_the_files_of_others_stay(mine, tmp_path):
    (tmp_path / mine).parent.mkdir(exist_ok=True)
    (tmp_path / mine).write_text("mine")
    (tmp_path / ".configs").mkdir()
    with pytest.raises(UserError, match=f"holds other files, such as {mine.split('/')[0]}, and no"):
        command.compare(settings_of(run_dir=str(tmp_path)), lambda line: None)
    assert (tmp_path / mine).read_text() == "mine"


@pytest.mark.usefixtures("without_work")
def test_runs_on_other_images_are_refused(tmp_path):
    """Labels are the same, as those of a copy of a data set in another compression."""
    summary = fake_comparison(tmp_path)[1].folder / "summary.json"
    settings = settings_of(run_dir=str(tmp_path), train=False)
    for data in (DATA, dataclasses.replace(DATA, x_test=DATA.x_test + 1)):
        write_json(summary, {**read_json(summary), "data": data.fingerprint()})
        refused = pytest.raises(UserError, match="se_block-seed0 was trained on other images")
        with contextlib.nullcontext() if data is DATA else refused:
            command.compare(settings, lambda line: None)


@pytest.mark.long
def test_a_stopped_comparison_can_continue(cifar10_dir, tmp_path):
    folder = tmp_path / "comparison"
    arguments = [*arguments_of(cifar10_dir, folder), "--seeds", "0", "--epochs", "500"]
    process = start_python("main.py", *arguments)
    metrics, give_up = folder / "none-seed0" / "metrics.csv", time.monotonic() + 300
    while not metrics.exists() and process.poll() is None and time.monotonic() < give_up:
        time.sleep(0.1)
    os.kill(process.pid, signal.SIGTERM)
    _, err = process.communicate()
    assert process.returncode == 128 + signal.SIGTERM, err
    assert "stopped; run the same command again to continue" in err
    assert list((folder / "none-seed0" / "last").iterdir())
    assert not (folder / "none-seed0" / "lock").exists()
    assert not (folder / "se_block-seed0").exists()
    assert not (folder / "comparison.md").exists()
