"""Recipes by name: under flags and files, never under what was made before there were any."""

import json

import pytest

from tests.commands import parse
from tests.fake_comparison import DATA
from tests.processes import ROOT
from utils.compare.planning import plan_runs
from utils.config.compare_settings import CompareSettings
from utils.config.recipes import DEFAULT_RECIPE, FINE_TUNING, PLAIN, RECIPES, recipe_settings
from utils.config.settings import RecipeSettings, TrainSettings
from utils.runs.naming import default_comparison_dir, default_run_dir
from utils.system.errors import UserError

pytestmark = pytest.mark.once


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_is_the_settings_of_its_entry_and_defaults(name):
    expected = {**TrainSettings().config(), **RECIPES[name].settings, "recipe": name}
    assert parse("--recipe", name).config() == expected
    assert RecipeSettings(**recipe_settings(name)).recipe == name


def test_the_default_is_a_recipe_and_settings_stand_over_it():
    assert parse().config() == parse("--recipe", DEFAULT_RECIPE).config()
    assert parse("--recipe", "seed").optimizer == "adam"
    given = parse("--recipe", "seed", "--optimizer", "sgd", "--epochs", "3")
    assert (given.optimizer, given.epochs, given.schedule) == ("sgd", 3, "step")


def test_a_file_that_names_no_recipe_means_what_it_meant(tmp_path):
    file = tmp_path / "file.json"
    file.write_text(json.dumps({"epochs": 5}))
    found = parse("--config", str(file))
    assert found.config() == {**TrainSettings().config(), "epochs": 5}
    assert found.recipe == PLAIN
    other = parse("--config", str(file), "--recipe", "seed")
    assert (other.epochs, other.optimizer) == (5, "adam")
    file.write_text(json.dumps({"recipe": "seed", "schedule": "cosine"}))
    found = parse("--config", str(file), "--epochs", "7")
    assert (found.epochs, found.optimizer, found.schedule) == (7, "adam", "cosine")


def test_a_run_resumes_with_its_own_settings(tmp_path):
    """Those of an older version name no recipe."""
    for own in ({"optimizer": "sgd", "epochs": 4}, {"recipe": "seed", "optimizer": "adam"}):
        (tmp_path / "config.json").write_text(json.dumps(own))
        found = parse("--resume", str(tmp_path))
        assert found.recipe == own.get("recipe", PLAIN)
        assert found.optimizer == own["optimizer"]


def test_weights_to_start_from_are_fine_tuned_with_a_file_too(tmp_path):
    file = tmp_path / "settings.json"
    file.write_text(json.dumps({"epochs": 3}))
    found = parse("--config", str(file), "--init", "cifar10/resnet_v1-20-none")
    assert (found.recipe, found.epochs) == (FINE_TUNING, 3)


def test_a_comparison_takes_the_network_of_the_run_that_it_starts_from(tmp_path):
    words = ["--init", "cifar10/resnet_v1-56-none"]
    found = parse(*words, settings_class=CompareSettings)
    assert found.depth == (56,)
    assert found.attention == CompareSettings().attention  # its modules, not that of the run
    file = tmp_path / "settings.json"
    file.write_text(json.dumps({"init": "cifar10/resnet_v1-56-none"}))
    assert parse("--config", str(file), settings_class=CompareSettings) == found


def test_comparisons_take_recipes_too(tmp_path):
    words = ["--recipe", "seed", "--attention", "none", "--seeds", "0", "--epochs", "2"]
    settings = parse(*words, settings_class=CompareSettings)
    (run,) = plan_runs(settings, DATA, tmp_path)
    assert (run.settings.recipe, run.settings.optimizer) == ("seed", "adam")
    assert (run.settings.epochs, run.settings.weight_decay) == (2, 2e-4)
    varied = [*words, "--optimizer", "sgd", "adam"]
    settings = parse(*varied, settings_class=CompareSettings)
    runs = plan_runs(settings, DATA, tmp_path)
    assert [found.settings.optimizer for found in runs] == ["sgd", "adam"]
    name = default_comparison_dir(settings, "cifar10").name
    assert name == "cifar10-resnet_v1-recipe_seed-epochs2-compare"


def test_the_name_of_a_run_tells_what_differs_from_its_recipe():
    common = "runs/cifar10-resnet_v1-cbam_block-start_identity"
    settings = parse("--recipe", "seed", "--schedule", "cosine")
    found = default_run_dir(settings, "cifar10")
    assert str(found) == f"{common}-recipe_seed-schedule_cosine-seed0"
    found = default_run_dir(parse("--recipe", PLAIN, "--epochs", "3"), "cifar10")
    assert str(found) == f"{common}-recipe_plain-epochs3-seed0"
    found = default_run_dir(parse("--epochs", "3"), "cifar10")  # of the default recipe
    assert str(found) == f"{common}-epochs3-seed0"


def test_the_seeds_recipe_is_that_of_its_file():
    file = json.loads((ROOT / "configs" / "cifar10-seed-recipe.json").read_text())
    # the seed knows one form of CBAM, which is not our default
    network = {"attention": "cbam_block", "dataset": "cifar10"}
    assert {**network, **RECIPES["seed"].settings} == file


@pytest.mark.parametrize("name", ["slow", ["seed"], None])
def test_other_names_are_refused(name, tmp_path):
    (tmp_path / "file.json").write_text(json.dumps({"recipe": name}))
    with pytest.raises(
        UserError, match="recipe must be one of muon, plain, finetune, seed, pytorch_seed"
    ):
        parse("--config", str(tmp_path / "file.json"))


def test_help_shows_the_defaults_of_the_default_recipe(capsys):
    with pytest.raises(SystemExit):
        parse("--help")
    said = " ".join(capsys.readouterr().out.split())
    assert f"(default: {DEFAULT_RECIPE})" in said
    assert f"(default: {parse().optimizer})" in said
