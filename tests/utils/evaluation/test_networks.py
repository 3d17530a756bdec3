"""Networks from settings: the line about networks for smaller images, and which run one is of."""

import pytest

from utils.config.settings import TrainSettings
from utils.evaluation.networks import hint_of_size, run_of
from utils.system.files import write_json


def test_networks_for_small_images_say_so_at_large_ones():
    hint = hint_of_size(TrainSettings(model="resnet_v1(depth=20)"), 224)
    assert hint.startswith(
        "resnet_v1 is built for images of 32x32 pixels: at 224x224 it computes 49"
    )
    assert "; --model resnet --stem imagenet is for this size" in hint
    assert not hint_of_size(TrainSettings(model="resnet_v1"), 64)


@pytest.mark.parametrize(
    ("small", "large"),
    [
        ({"model": "resnet"}, {"model": "resnet", "stem": "imagenet"}),
        ({"model": "resnet(stem='deep')", "stem": "cifar"}, {"model": "resnet", "stem": "tiered"}),
        ({"model": "resnet(depth=50)"}, {"model": "resnet(depth=50, stem='deep')"}),
        ({"model": "resnext"}, {"model": "resnext", "depth": 50}),
        ({"model": "densenet(depth=121)", "stem": "cifar"}, {"model": "densenet(depth=121)"}),
        ({"model": "resnet_v2"}, {"model": "mobilenet"}),
        ({"model": "resnet_v1"}, {"model": "keras.applications/ResNet50"}),
    ],
)
def test_the_stem_and_the_depth_decide(small, large):
    assert "--stem imagenet is for this size" in hint_of_size(TrainSettings(**small), 224)
    assert not hint_of_size(TrainSettings(**large), 224)


@pytest.mark.parametrize(
    "content",
    ['{"model_type": "x"}', '{"dataset": "imagenet-1k"}', '["dataset", "attention"]', "{"],
)
def test_a_file_beside_the_config_of_another_program_is_of_no_run(content, tmp_path):
    (tmp_path / "config.json").write_text(content)
    assert run_of(tmp_path / "best.keras") is None
    assert run_of(tmp_path) == tmp_path  # who names a folder is told what is wrong with it


def test_a_file_in_the_folder_of_a_run_is_of_that_run(tmp_path):
    assert run_of(tmp_path) is run_of(tmp_path / "best.keras") is None
    write_json(tmp_path / "config.json", TrainSettings().config())
    assert run_of(tmp_path) == run_of(str(tmp_path / "best.keras")) == tmp_path
