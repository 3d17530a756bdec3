"""Networks from settings: the line about networks for smaller images."""

from utils.config.settings import TrainSettings
from utils.evaluation.networks import hint_of_size


def test_networks_for_small_images_say_so_at_large_ones():
    hint = hint_of_size(TrainSettings(model="resnet_v1(depth=20)"), 224)
    assert hint.startswith(
        "resnet_v1 is made for images of 32x32 pixels: at 224x224 it computes 49"
    )
    assert "--model resnet " in hint
    assert not hint_of_size(TrainSettings(model="resnet_v1"), 64)
    assert not hint_of_size(TrainSettings(model="resnet"), 224)
