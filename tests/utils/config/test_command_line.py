"""Flags over files over defaults, and how several values are told apart."""

import json

import pytest

from tests.commands import parse
from utils.config.compare_settings import CompareSettings
from utils.config.parsing import several, specification, split_specifications
from utils.config.settings import TrainSettings
from utils.system.errors import UserError

pytestmark = pytest.mark.once


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("a,b", ["a", "b"]),
        ("a(x=1, y=(2, 3)),b", ["a(x=1, y=(2, 3))", "b"]),
        ("a", ["a"]),
        ("a(x=1", ["a(x=1"]),
    ],
)
def test_commas_in_parentheses_part_nothing(text, parts):
    assert split_specifications(text) == parts


def test_modules_with_options_are_values_of_their_own():
    found = several(specification)(["none,se_block(ratio=4)", "cbam_block(ratio=4, order='x')"])
    assert found == ("none", "se_block(ratio=4)", "cbam_block(ratio=4, order='x')")


def test_flags_over_later_files_over_earlier_ones_over_defaults(tmp_path):
    for name, content in (("a", {"epochs": 2, "depth": 32, "seed": 5}), ("b", {"epochs": 3})):
        (tmp_path / name).write_text(json.dumps(content))
    files = [f"--config={tmp_path / name}" for name in "ab"]
    settings = parse(*files, "--depth", "56")
    assert (settings.epochs, settings.depth, settings.seed) == (3, 56, 5)
    assert settings.batch_size == TrainSettings().batch_size


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("--resume {run} --run-dir other", "goes on in {run}: leave --run-dir out"),
        ("--force", "--force is for a run that is resumed"),
        ("--no-augment --crop-padding 2", "--crop-padding has no effect with --no-augment"),
        ("--init imagenet --weights none", "--init imagenet and --weights none contradict"),
        ("--init {run} --weights imagenet", "both say where to begin"),
        ("--config {run}/resume.json", "resume must be the folder of a run; received 5"),
        ("--resume {run}", "--resume: {run}/config.json has 'epoch', which is no setting"),
    ],
)
def test_contradictions(words, says, tmp_path):
    (tmp_path / "config.json").write_text('{"epoch": 3}')
    (tmp_path / "resume.json").write_text('{"resume": 5}')
    with pytest.raises(UserError) as error:
        parse(*words.format(run=tmp_path).split())
    assert says.format(run=tmp_path) in str(error.value)


def test_a_config_may_have_what_has_no_effect(tmp_path):
    (tmp_path / "config.json").write_text('{"augment": false, "crop_padding": 4}')
    assert parse("--config", str(tmp_path / "config.json")).crop_padding == 4


@pytest.mark.parametrize(
    ("words", "value"),
    [
        ([], (True,)),
        (["--augment"], (True,)),
        (["--no-augment"], (False,)),
        (["--augment", "true", "false"], (True, False)),
    ],
)
def test_booleans_of_a_comparison(words, value):
    assert parse(*words, settings_class=CompareSettings).augment == value


def test_common_and_varied_settings_of_a_comparison():
    settings = parse(
        "--learning-rate", "0.1", "0.05", "--epochs", "3", settings_class=CompareSettings
    )
    assert settings.varied_settings() == {"learning_rate": (0.1, 0.05)}
    assert settings.single_settings()["epochs"] == 3
    assert "learning_rate" not in settings.single_settings()
