"""The benchmarks start, and say what is wrong with their options; nothing here is timed."""

import dataclasses
import importlib
import mmap
import re
import sys

import numpy as np
import pytest

from benchmarks import devices, memory, original_pixels, overhead, throughput
from benchmarks.networks import NETWORKS, OTHERS, least_times
from benchmarks.training import our_loop, random_dataset
from tests.processes import ROOT

pytestmark = pytest.mark.once

SCRIPTS = sorted(
    path.stem for path in ROOT.glob("benchmarks/*.py") if "\ndef main():" in path.read_text("utf-8")
)


def run(monkeypatch, module, *words):
    """Runs a script in this process up to its exit; returns the exit code."""
    monkeypatch.setattr(sys, "argv", ["", *words])
    with pytest.raises(SystemExit) as ended:
        module.main()
    return ended.value.code


def settings_of(monkeypatch, module, *words):
    monkeypatch.setattr(sys, "argv", ["", *words])
    return module.parse(module.BenchSettings, module.__name__, module.__doc__)


@pytest.mark.parametrize("name", SCRIPTS)
def test_help(monkeypatch, capsys, name):
    module = importlib.import_module(f"benchmarks.{name}")
    assert run(monkeypatch, module, "--help") == 0
    assert " ".join(module.__doc__.splitlines()[0].split()) in " ".join(
        capsys.readouterr().out.split()
    )


def test_what_pages_and_make_run_is_there():
    pages = [
        ROOT / "Makefile",
        ROOT / "README.md",
        ROOT / "CONTRIBUTING.md",
        *ROOT.glob("docs/*.md"),
    ]
    texts = (page.read_text("utf-8") for page in pages)
    named = {name for text in texts for name in re.findall(r"benchmarks\.([a-z]\w*)", text)}
    assert named
    assert named <= {*SCRIPTS}


def test_wrong_options_are_refused_in_one_line(monkeypatch, capsys):
    for module, words, reason in (
        (overhead, ["--attention", "sam_block"], "must be one of none, se_block, cbam_block"),
        (throughput, ["--attention", "se_block("], "se_block("),
        (original_pixels, ["--copy", "DIR"], "original must be given"),
        (memory, ["--config", "no-such-file.json"], "no-such-file.json"),
    ):
        assert run(monkeypatch, module, *words) == 2
        said = capsys.readouterr().err
        assert said.startswith("error: ")
        assert reason in said
        assert said.count("\n") == 1


def test_commas_within_a_modules_options_do_not_part_modules(monkeypatch):
    module = "cbam_block(ratio=4, order='parallel')"
    for script in (throughput, importlib.import_module("benchmarks.accelerator")):
        assert settings_of(monkeypatch, script, "--attention", f"none,{module}").attention == (
            "none",
            module,
        )
    assert settings_of(monkeypatch, devices, "--attention", module).attention == module


def test_networks_to_time_have_a_plain_one_or_are_others():
    assert all(timed.plain is not None for timed in NETWORKS.values())
    assert all(timed.plain is None for timed in OTHERS.values())
    assert NETWORKS["resnet50"].shape == (224, 224, 3)


def test_least_times_of_both_kinds():
    calls = []
    pairs = {"a": (lambda: calls.append("step"), lambda: calls.append("predict"))}
    found = dict(least_times(pairs, rounds=2))
    assert list(found) == ["training step", "inference batch"]
    assert all(least["a"] > 0 for least in found.values())
    assert calls == ["step"] * 3 + ["predict"] * 3


def test_plain_batches_of_few_images(monkeypatch):
    monkeypatch.setattr(throughput, "BATCH", 4)
    images = np.arange(1, 6, dtype="uint8")[:, None, None, None] * np.ones((40, 40, 3), "uint8")
    rng = np.random.default_rng(0)
    batches = list(throughput.plain_batches(rng, images, np.arange(1, 6), steps=7))
    assert len(batches) == 7
    for x, y in batches:
        assert x.shape == (4, 32, 32, 3)
        np.testing.assert_array_equal(x[:, 0, 0, 0], y)
    _, counts = np.unique(np.concatenate([y for _, y in batches]), return_counts=True)
    assert counts.max() - counts.min() <= 1


def test_training_on_few_images():
    """The images come again where there are too few for the steps."""
    run, network = our_loop(random_dataset(5), 3, 4, model="resnet_v1", depth=8, attention="none")
    before = network.get_layer("logits").get_weights()[0]
    run()
    assert np.abs(network.get_layer("logits").get_weights()[0] - before).max() > 0


def test_training_of_devices_has_an_image_for_each_row(monkeypatch):
    settings = dataclasses.replace(devices.BenchSettings(), steps=2, attention="none")
    made = []
    monkeypatch.setattr(devices, "epoch_of", lambda model, batches, *_: made.append(batches))
    devices.training(settings, 1, 8)
    (batches,) = made
    assert len(batches) == 2
    assert batches.batch_size == 8


def test_a_mistake_is_one_line(monkeypatch, capsys, tmp_path):
    command = importlib.import_module("benchmarks.mirror_images")
    assert run(monkeypatch, command, "--data-dir", str(tmp_path / "nowhere")) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: the data folder")
    assert error.count("\n") == 1


def test_the_peak_of_memory_is_forgotten():
    if not memory.forget_peak():
        pytest.skip("Linux alone has it, and may forbid it")
    held = memory.process_memory()["VmRSS"]
    # Not an array: its memory may come from the heap, which keeps it when the array is gone.
    with mmap.mmap(-1, 200_000_000) as block:
        for page in range(0, len(block), mmap.PAGESIZE):
            block[page] = 1
    assert memory.process_memory()["VmHWM"] - held > 150e6
    memory.forget_peak()
    assert memory.process_memory()["VmHWM"] - held < 50e6
