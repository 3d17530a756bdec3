"""The network that is trained if none is named."""

import pytest

from models import build_model
from utils.config.command_settings import ProfileSettings
from utils.config.compare_settings import CompareSettings
from utils.config.default_model import FOR_LARGE, FOR_SMALL, LARGE, known_model, with_model
from utils.config.recipes import DEFAULT_RECIPE, recipe_settings
from utils.config.settings import TrainSettings
from utils.evaluation.counting import multiply_adds
from utils.evaluation.networks import hint_of_size
from utils.runs.naming import default_comparison_dir, default_run_dir

pytestmark = pytest.mark.once


def cost(name, size, without_values):
    network = build_model(name, input_shape=(size, size, 3), classes=10)
    return multiply_adds(network)


def test_it_costs_least_where_it_is_chosen(without_values):
    small, large = (cost(name, 224, without_values) for name in (FOR_SMALL, FOR_LARGE))
    assert 3 * large < small
    assert cost(FOR_SMALL, LARGE - 1, without_values) < large


@pytest.mark.parametrize(
    ("given", "known"),
    [
        ({}, FOR_SMALL),
        ({"dataset": "digits"}, FOR_SMALL),
        ({"dataset": "folder"}, FOR_LARGE),
        ({"dataset": "folder", "image_size": 95}, FOR_SMALL),
        ({"dataset": "folder", "image_size": 96}, FOR_LARGE),
        ({"dataset": "folder", "model": "resnet"}, "resnet"),
        ({"data_dir": "somewhere"}, None),
        ({"data_dir": "somewhere", "dataset": "cifar10"}, FOR_SMALL),
    ],
)
def test_it_is_known_before_the_data_where_it_can_be(given, known):
    assert known_model(TrainSettings(**given)) == known


@pytest.mark.parametrize("settings", [TrainSettings, CompareSettings, ProfileSettings])
@pytest.mark.parametrize(("size", "model"), [(8, FOR_SMALL), (32, FOR_SMALL), (224, FOR_LARGE)])
def test_it_follows_from_the_size_of_the_images(settings, size, model):
    found = with_model(settings(), (size, size + 9, 3)).model
    assert found == ((model,) if settings is CompareSettings else model)
    named = with_model(settings(model="densenet"), (size, size, 3)).model
    assert named in ("densenet", ("densenet",))


def test_it_is_in_the_names_of_folders():
    photos = {**recipe_settings(DEFAULT_RECIPE), "dataset": "folder", "data_dir": "/photos"}
    found = with_model(TrainSettings(**photos), (224, 224, 3))
    assert (
        default_run_dir(found, "folder").name
        == "folder_photos-mobilenet-cbam_block-start_identity-seed0"
    )
    found = with_model(CompareSettings(**photos), (224, 224, 3))
    assert default_comparison_dir(found, "folder").name == "folder_photos-mobilenet-compare"


def test_nothing_is_said_about_a_network_that_fits():
    assert not hint_of_size(TrainSettings(), 224)
