"""A comparison: which runs it has, what is missing, and the numbers in its table."""

import csv
import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest

from main import main
from models import build_model
from models.attention import registry
from models.attention_module import register_attention
from utils import comparison
from utils.comparison import costs_of, note_jobs, read_jobs, write_comparison
from utils.comparison_runs import Variant, planned_runs, variants_of
from utils.counting import multiply_adds, trainable_params
from utils.data import Dataset
from utils.errors import UserError
from utils.files import write_json
from utils.plotting import plot_comparison
from utils.predictions import Predictions, write_predictions
from utils.settings import CompareSettings

pytestmark = pytest.mark.once

ROOT = Path(__file__).parents[2]
LABELS = np.arange(10) % 2
DATA = Dataset(
    name="cifar10",
    x_train=np.zeros((0, 32, 32, 3), "uint8"),
    y_train=np.zeros(0, "int64"),
    x_test=np.zeros((10, 32, 32, 3), "uint8"),
    y_test=LABELS,
    class_names=("a", "b"),
    crop_padding=4,
    flips=True,
)
# right answers among ten test images, as the places that are wrong, by variant and seed
WRONG = {
    "none": {0: [0, 1, 2], 1: [0, 1], 2: [0, 1, 2, 3]},
    "se_block": {0: [0, 1], 1: [0, 9], 2: [0, 1, 2]},
}


def settings_of(**options):
    return CompareSettings(**{"attention": "none,se_block", "depth": 8, "epochs": 2, **options})


def fake(run, wrong=(), speed=100.0):
    """Fills a run's folder as training does."""
    run.folder.mkdir(parents=True)
    write_json(run.folder / "config.json", run.settings.config())
    write_json(run.folder / "summary.json", {"images_per_second": speed})
    rows = ["epoch,loss,accuracy,val_loss,val_accuracy", "1,2.5,0.5,3.5,0.25", "2,1.5,0.75,2,0.5"]
    (run.folder / "metrics.csv").write_text("\n".join(rows))
    said = LABELS.copy()
    said[list(wrong)] = 1 - said[list(wrong)]
    write_predictions(run.folder, Predictions(np.eye(2, dtype="float32")[said], LABELS))


def fake_comparison(folder, **options):
    runs = planned_runs(settings_of(**options), DATA, folder)
    for run in runs:
        seed = run.settings.seed
        fake(run, WRONG[run.variant.name][seed], 100 if run.variant.name == "none" else 80 + seed)
        note_jobs(folder, run, 1)
    return runs


COSTS = {Variant("none"): (1000, 2_000_000), Variant("se_block"): (1100, 2_500_000)}


def table(folder):
    with open(folder / "comparison.csv", newline="") as file:
        return {row["variant"]: row for row in csv.DictReader(file)}


def test_variants():
    def names(**options):
        return [variant.name for variant in variants_of(settings_of(**options))]

    assert names() == ["none", "se_block"]
    assert names(attention="none,none,se_block") == ["none", "se_block"]
    assert names(ratio="4,16") == ["none", "se_block-ratio4", "se_block-ratio16"]
    assert names(attention="cbam_block", kernel_size=[3, 7], ratio=4) == [
        "cbam_block-ratio4-kernel_size3",
        "cbam_block-ratio4-kernel_size7",
    ]
    places = ["block", "stage,head"]
    assert names(attention_at=places) == ["none", "se_block", "se_block-at_stage+head"]
    assert names(attention="cbam_block", pools="avg", order="parallel", attention_at="head") == [
        "cbam_block-pools_avg-order_parallel-at_head"
    ]
    assert names(attention="cbam_block", attention_batch_norm=["true", False]) == [
        "cbam_block-batch_norm",
        "cbam_block-no_batch_norm",
    ]


def test_several_options_make_a_grid():
    """Each option goes to the modules that have it; a module with none of them is trained once."""
    settings = settings_of(
        attention="none,se_block,cbam_block,simam_block",
        ratio=[4, 16],
        descriptor=["conv", "avg,max"],
        attention_at=["block", "stage"],
    )
    options = [(v.attention, dict(v.options), v.attention_at) for v in variants_of(settings)]
    places = [("block",), ("stage",)]
    assert options == [
        ("none", {}, ("block",)),
        *(("se_block", {"ratio": ratio}, place) for ratio in (4, 16) for place in places),
        *(
            ("cbam_block", {"ratio": ratio, "descriptor": descriptor}, place)
            for ratio in (4, 16)
            for descriptor in ("conv", ("avg", "max"))
            for place in places
        ),
        *(("simam_block", {}, place) for place in places),
    ]


def test_options_of_a_module_of_ones_own(monkeypatch):
    """One that passes options on may have any; its layer says later."""
    for name in ("_REGISTRY", "_LAYERS"):
        monkeypatch.setattr(registry, name, dict(getattr(registry, name)))
    register_attention("open")(lambda x, **options: x)
    register_attention("closed")(lambda x, ratio=2, name=None: x)
    settings = settings_of(attention="open,closed", ratio=4, order="parallel")
    assert [variant.name for variant in variants_of(settings)] == [
        "open-ratio4-order_parallel",
        "closed-ratio4",
    ]


def test_runs_of_a_seed_lie_together(tmp_path):
    runs = planned_runs(settings_of(seeds="3,5", ratio=4), DATA, tmp_path)
    assert [run.name for run in runs] == [
        "none-seed3",
        "se_block-ratio4-seed3",
        "none-seed5",
        "se_block-ratio4-seed5",
    ]
    none, se, *_ = [run.settings for run in runs]
    assert (none.ratio, none.seed, se.ratio, se.seed) == (None, 3, 4, 3)
    others = {"attention", "ratio"}
    assert all(se.config()[k] == v for k, v in none.config().items() if k not in others)


def test_what_is_missing(tmp_path):
    finished, begun, missing = planned_runs(settings_of(attention="none"), DATA, tmp_path)
    fake(finished)
    fake(begun)
    (begun.folder / "summary.json").unlink()
    assert (finished.is_begun(), finished.is_finished()) == (True, True)
    assert (begun.is_begun(), begun.is_finished()) == (True, False)
    assert (missing.is_begun(), missing.is_finished()) == (False, False)
    # where the data lie makes no difference to a result
    moved = dataclasses.replace(finished.settings, data_dir="elsewhere")
    assert dataclasses.replace(finished, settings=moved).is_finished()


def test_other_settings_are_refused(tmp_path):
    fake(planned_runs(settings_of(epochs=3), DATA, tmp_path)[0])
    run = planned_runs(settings_of(), DATA, tmp_path)[0]
    with pytest.raises(UserError, match="none-seed0 holds a run with other settings: epochs was 3"):
        run.is_finished()


def test_a_run_of_a_version_without_a_setting(tmp_path):
    """It has the setting's default: the run is there still, and is no other one."""
    plain, parallel = (
        planned_runs(settings_of(attention="cbam_block", seeds=0, **more), DATA, tmp_path)[0]
        for more in ({}, {"order": "parallel"})
    )
    fake(plain)
    config = plain.settings.config()
    for name in ("pools", "descriptor", "order", "attention_batch_norm"):
        assert config.pop(name) is None
    write_json(plain.folder / "config.json", config)
    assert plain.is_finished()
    with pytest.raises(UserError, match='order was null, is "parallel"'):
        dataclasses.replace(parallel, folder=plain.folder).is_finished()


def test_a_foreign_folder_is_refused(tmp_path):
    run = planned_runs(settings_of(), DATA, tmp_path)[0]
    run.folder.mkdir()
    (run.folder / "thesis.txt").touch()
    with pytest.raises(UserError, match="is not empty"):
        run.is_begun()


def test_numbers_of_the_table(tmp_path):
    runs = fake_comparison(tmp_path)
    write_comparison(runs, DATA, COSTS, tmp_path)
    found = table(tmp_path)
    assert list(found) == ["none", "se_block"]
    none, se = found["none"], found["se_block"]
    assert (se["params"], se["multiply_adds"], se["seeds"]) == ("1100", "2500000", "3")
    assert float(none["test_accuracy"]) == pytest.approx(0.7)
    assert float(none["test_accuracy_deviation"]) == pytest.approx(0.1)
    assert float(se["test_accuracy"]) == pytest.approx(2.3 / 3)
    assert (float(none["relative_images_per_second"]), none["difference"]) == (1, "")
    assert float(se["relative_images_per_second"]) == pytest.approx(0.81)
    # differences 0.1, 0 and 0.1: mean 0.2 / 3, standard error 0.1 / 3, t(0.975; 2) = 4.302653
    assert float(se["difference"]) == pytest.approx(0.2 / 3)
    assert float(se["difference_low"]) == pytest.approx((0.2 - 0.4302653) / 3, rel=1e-5)
    assert float(se["difference_high"]) == pytest.approx((0.2 + 0.4302653) / 3, rel=1e-5)
    # gained: place 2 of seed 0, 1 of seed 1, 3 of seed 2; lost: 9 of seed 1
    assert (se["mcnemar_gained"], se["mcnemar_lost"]) == ("3", "1")
    assert float(se["mcnemar_p"]) == pytest.approx(2 * (1 + 4) / 2**4)


def test_table_to_read(tmp_path):
    write_comparison(fake_comparison(tmp_path), DATA, COSTS, tmp_path)
    text = (tmp_path / "comparison.md").read_text("utf-8")
    assert "| none | 1,000 | 2.00 M | 1.00 x | 3 | 70.00 % ± 10.00 |  |  |  |" in text
    assert (
        "| se_block | 1,100 | 2.50 M | 0.81 x | 3 | 76.67 % ± 5.77 | +6.67 [-7.68, +21.01] "
        "| 0.62 | 3, 1 |"
    ) in text
    assert "seeds: 0, 1, 2;" in text
    assert "Missing" not in text
    assert len({line.count("|") for line in text.splitlines() if "|" in line}) == 1
    assert min(matplotlib.image.imread(tmp_path / "comparison.png").shape[:2]) > 300


def test_speeds_only_of_runs_that_were_alone(tmp_path):
    runs = fake_comparison(tmp_path)
    note_jobs(tmp_path, runs[3], 2)
    assert read_jobs(tmp_path)[runs[3].name] == 2
    note_jobs(tmp_path, runs[3], 1)  # goes on alone: it was not all the time
    assert read_jobs(tmp_path)[runs[3].name] == 2
    write_comparison(runs, DATA, COSTS, tmp_path)
    assert table(tmp_path)["se_block"]["relative_images_per_second"] == ""
    assert "No speeds" in (tmp_path / "comparison.md").read_text("utf-8")


def test_missing_runs_are_said(tmp_path):
    runs = fake_comparison(tmp_path)
    shutil.rmtree(runs[0].folder)  # none-seed0
    (runs[3].folder / "summary.json").unlink()  # se_block-seed1
    write_comparison(runs, DATA, COSTS, tmp_path)
    se = table(tmp_path)["se_block"]
    assert float(se["difference"]) == pytest.approx(0.1)  # of seed 2 alone
    assert (se["difference_low"], se["seeds"]) == ("", "2")
    text = (tmp_path / "comparison.md").read_text("utf-8")
    assert "**Missing: none-seed0, se_block-seed1.**" in text


def test_without_none_the_first_is_the_base(tmp_path):
    runs = fake_comparison(tmp_path)
    se_alone = planned_runs(settings_of(attention="se_block"), DATA, tmp_path)
    write_comparison(se_alone, DATA, {Variant("se_block"): (1100, 2_500_000)}, tmp_path)
    assert "se_block stands in its place" in (tmp_path / "comparison.md").read_text("utf-8")
    # none is the base, wherever it is named
    backwards = dict(reversed(COSTS.items()))
    write_comparison(runs, DATA, backwards, tmp_path)
    assert list(table(tmp_path)) == ["se_block", "none"]
    assert table(tmp_path)["none"]["difference"] == ""


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("predictions.npz", b"", "damaged"),
        ("summary.json", b"[]", "no images_per_second"),
        ("metrics.csv", b"epoch,val_accuracy\n", "does not hold the epochs"),
        ("metrics.csv", b"epoch,val_accuracy\n1,nan\n", "does not hold the epochs"),
        ("metrics.csv", b"epoch,val_accuracy\n1,2,3,4\n", "does not hold the epochs"),
        ("metrics.csv", b"epoch,loss\n1,2\n", "no val_accuracy"),
        ("metrics.csv", b"epoch,loss,accuracy,val_accuracy\n1,2,3,4\n", "each of 2 epochs"),
        ("metrics.csv", b"\xff\x00", "does not hold the epochs"),
    ],
)
def test_damaged_runs_are_named(tmp_path, name, content, reason):
    runs = fake_comparison(tmp_path)
    (runs[0].folder / name).write_bytes(content)
    with pytest.raises(UserError, match=reason):
        write_comparison(runs, DATA, COSTS, tmp_path)


def test_runs_on_other_test_images_are_refused(tmp_path):
    runs = fake_comparison(tmp_path)
    other = dataclasses.replace(DATA, y_test=1 - LABELS)
    with pytest.raises(UserError, match="other test images"):
        write_comparison(runs, other, COSTS, tmp_path)
    other = dataclasses.replace(DATA, class_names=("a", "b", "c"))
    with pytest.raises(UserError, match="other test images"):
        write_comparison(runs, other, COSTS, tmp_path)


def test_costs_are_those_of_the_networks(tmp_path):
    data = dataclasses.replace(DATA, class_names=tuple("abcdefghij"))
    runs = planned_runs(settings_of(seeds="0,1", ratio=4), data, tmp_path)
    costs = costs_of(runs, data)
    network = build_model("resnet_v1", depth=8)
    assert costs[Variant("none")] == (trainable_params(network), multiply_adds(network))
    gates = sum(2 * c * (c // 4) + c // 4 + c for c in (16, 32, 64))
    assert costs[Variant("se_block", (("ratio", 4),))][0] == trainable_params(network) + gates


def test_picture_of_many_variants(tmp_path, monkeypatch):
    """More variants than colours, one seed, one epoch."""
    runs = fake_comparison(tmp_path, seeds=0)
    drawn = []
    monkeypatch.setattr(comparison, "plot_comparison", lambda path, rows, title: drawn.extend(rows))
    write_comparison(runs, DATA, COSTS, tmp_path)
    one = dataclasses.replace(drawn[0], curves=[[0.5]])
    plot_comparison(tmp_path / "many.png", [one] * 9, "nine")
    assert min(matplotlib.image.imread(tmp_path / "many.png").shape[:2]) > 300


# what only building the network finds out, in a process of its own
LONG_TO_FIND = [
    (["--pools", "avg", "mean"], "pools must be one or more of 'avg', 'max', 'lp', 'lse'"),
    (["--descriptor", "cnv"], "descriptor, if not 'conv', must be one or more of 'avg', 'max'"),
    (["--order", "parallel", "last"], "order must be one of 'channel_first', 'spatial_first'"),
    (["--attention-at", "block", "foot"], "must be one or more of 'block', 'head', 'stage'"),
]
BAD = [
    *(pytest.param(*bad, marks=pytest.mark.long) for bad in LONG_TO_FIND),
    (["--attention", "none", "cbam"], "Did you mean 'cbam_block'"),
    (["--attention", "se_block", "--kernel-size", "3"], "se_block has no option 'kernel_size'"),
    (["--attention", "none", "se_block", "--order", "parallel"], "compare one of cbam_block"),
    (["--attention", "none", "--ratio", "4"], "none has no option 'ratio'; leave it out"),
    (["--attention-batch-norm", "yes"], "must be one of true, false; received 'yes'"),
    (["--ratio", *map(str, range(1, 50))], "99 variants are too many to compare, at most 50"),
    (["--seeds", "4-0"], "must be seeds such as 0-4 or 0,2,5; received '4-0'"),
    (["--seeds", "0-4294967295"], "must be at most 1000 seeds"),
    (["--ratio", "4", "none"], "must be a whole number of at least 1; received 'none'"),
    (["--jobs", "0"], "must be a whole number of at least 1"),
    (["--resume", "run"], "--resume"),
    (["--depth", "21"], "the nearest are 20, 26, 29"),
    (["--validation-split", "0.999"], "validation split 0.999"),
]


def test_a_grid_is_counted_before_it_is_made():
    many = list(range(1, 10**5))
    settings = settings_of(attention="cbam_block", ratio=many, kernel_size=many)
    with pytest.raises(UserError, match="9,999,800,001 variants"):
        variants_of(settings)


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


def trained_runs(said):
    return [line.split(":")[0] for line in said.splitlines() if ": training;" in line]


def test_compares_and_goes_on(cifar10_dir, tmp_path, capsys):
    """All is trained once; what is there, never again; what fails is said, and the rest done."""
    folder = tmp_path / "comparison"
    arguments = arguments_of(cifar10_dir, folder)
    main([*arguments, "--jobs", "2"])
    everything = ["none-seed0", "se_block-seed0"]
    said = capsys.readouterr().out
    assert trained_runs(said) == everything
    assert said.count("test accuracy 0.") == 2
    written = {"comparison.md", "comparison.csv", "comparison.png", "explanation.png"}
    files = {*written, "report.html", "jobs.json", "logs"}
    assert {path.name for path in folder.iterdir()} == {*everything, *files}
    assert "What the networks attend to" in (folder / "report.html").read_text("utf-8")
    before = table(folder)
    for name in ("none", "se_block"):
        summary = json.loads((folder / f"{name}-seed0/summary.json").read_text())
        assert float(before[name]["test_accuracy"]) == pytest.approx(summary["test_accuracy"])
        assert int(before[name]["params"]) == summary["params"]

    (folder / "none-seed0" / "summary.json").unlink()  # to be resumed: at its end already
    for checkpoint in (folder / "none-seed0" / "last").iterdir():
        (checkpoint / "state.json").write_text("{}")
    with pytest.raises(SystemExit) as end:
        main(arguments)
    assert end.value.code == 1
    said = capsys.readouterr()
    assert trained_runs(said.out) == ["none-seed0"]
    assert "none-seed0 (1/1): FAILED: error: all checkpoints in" in said.out
    assert said.err == "error: 1 of 2 runs failed: none-seed0\n"
    assert table(folder).keys() == {"se_block"}
    assert table(folder)["se_block"]["test_accuracy"] == before["se_block"]["test_accuracy"]


@pytest.mark.long
def test_a_comparison_that_is_stopped_goes_on(cifar10_dir, tmp_path):
    folder = tmp_path / "comparison"
    arguments = [*arguments_of(cifar10_dir, folder), "--seeds", "0", "--epochs", "500"]
    process = subprocess.Popen(
        [sys.executable, "main.py", *arguments],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    metrics, give_up = folder / "none-seed0" / "metrics.csv", time.monotonic() + 300
    while not metrics.exists() and process.poll() is None and time.monotonic() < give_up:
        time.sleep(0.1)
    os.kill(process.pid, signal.SIGTERM)
    _, err = process.communicate()
    assert process.returncode == 128 + signal.SIGTERM, err
    assert "the same command goes on where the comparison stands" in err
    assert list((folder / "none-seed0" / "last").iterdir())
    assert not (folder / "none-seed0" / "lock").exists()
    assert not (folder / "se_block-seed0").exists()
    assert not (folder / "comparison.md").exists()
