"""Networks from settings: the line about networks for smaller images."""

import pytest

from utils.config.settings import TrainSettings
from utils.evaluation.networks import hint_of_size


def test_networks_for_small_images_say_so_at_large_ones():
    hint = hint_of_size(TrainSettings(model="resnet_v1(depth=20)"), 224)
    assert hint.startswith(
        "resnet_v1 is made here for images of 32x32 pixels: at 224x224 it computes 49"
    )
    assert "; --model resnet --stem imagenet makes" in hint
    assert not hint_of_size(TrainSettings(model="resnet_v1"), 64)


@pytest.mark.parametrize(
    ("small", "large"),
    [
        ({"model": "resnet"}, {"model": "resnet", "stem": "imagenet"}),
        ({"model": "resnet(depth=50)"}, {"model": "resnet(depth=50, stem='deep')"}),
        ({"model": "resnext"}, {"model": "resnext", "depth": 50}),
        ({"model": "densenet(depth=121)", "stem": "cifar"}, {"model": "densenet(depth=121)"}),
        ({"model": "resnet_v2"}, {"model": "mobilenet"}),
        ({"model": "resnet_v1"}, {"model": "keras.applications/ResNet50"}),
    ],
)
def test_the_stem_and_the_depth_decide(small, large):
    assert "makes a network for this size" in hint_of_size(TrainSettings(**small), 224)
    assert not hint_of_size(TrainSettings(**large), 224)
