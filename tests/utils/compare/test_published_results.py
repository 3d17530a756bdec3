"""The results in the README: every run that is kept is one that its configuration names."""

import csv

import pytest

from tests.fake_comparison import DATA
from tests.processes import ROOT
from utils.compare.planning import plan_runs
from utils.config.command_line import parse_settings
from utils.config.compare_settings import CompareSettings

pytestmark = pytest.mark.once

CONFIGS = sorted((ROOT / "configs" / "results").glob("*.json"))


@pytest.mark.parametrize("config", CONFIGS, ids=lambda path: path.stem)
def test_runs_are_of_their_configuration(config, tmp_path):
    words = ["--config", str(config), "--seeds", "0-2"]
    settings = parse_settings(CompareSettings, words, "main.py compare", "")
    planned = {run.folder.name: run.settings for run in plan_runs(settings, DATA, tmp_path)}
    published = [path for path in (ROOT / "results" / config.stem).iterdir() if path.is_dir()]
    assert published
    for run in published:
        with open(run / "metrics.csv", newline="") as file:
            assert len(list(csv.DictReader(file))) == planned[run.name].epochs
