"""The results in the README: every run that is kept is one that its configuration names."""

import csv
import functools
import json

import pytest

from tests.fake_comparison import DATA
from tests.processes import ROOT
from utils.compare.planning import plan_runs
from utils.config.command_line import parse_settings
from utils.config.compare_settings import CompareSettings
from utils.config.default_model import with_model
from utils.data.datasets import load_dataset

pytestmark = pytest.mark.once

CONFIGS = sorted((ROOT / "configs" / "results").glob("*.json"))


# of the machine or the place, not of the recipe
OF_THE_PLACE = ("backend", "data_dir", "workers")


@functools.cache
def dataset(name):
    return DATA if name == "cifar10" else load_dataset(name)


@pytest.mark.parametrize("config", CONFIGS, ids=lambda path: path.stem)
def test_runs_are_of_their_configuration(config, tmp_path):
    words = ["--config", str(config), "--seeds", "0-4"]
    settings = parse_settings(CompareSettings, words, "main.py compare", "")
    settings = with_model(settings, dataset(settings.dataset).image_shape)
    runs = plan_runs(settings, dataset(settings.dataset), tmp_path)
    planned = {run.folder.name: run.settings for run in runs}
    published = [path for path in (ROOT / "results" / config.stem).iterdir() if path.is_dir()]
    assert published
    for run in published:
        with open(run / "metrics.csv", newline="") as file:
            assert len(list(csv.DictReader(file))) == planned[run.name].epochs
        if (run / "config.json").exists():  # the oldest runs have none
            found = json.loads((run / "config.json").read_text())
            expected = json.loads(json.dumps(planned[run.name].config()))
            assert {name for name in found if found[name] != expected[name]} <= {*OF_THE_PLACE}
