"""The ImageNet tables of the CBAM paper: every row is a config, with what it published."""

import json
from pathlib import Path

import keras
import pytest

from models import build_model
from tests.models.transfer import check_same_outputs
from utils.config.settings import TrainSettings
from utils.evaluation.counting import multiply_adds, trainable_params
from utils.evaluation.networks import network_from_settings

pytestmark = pytest.mark.once

CONFIGS = Path(__file__).parents[2] / "configs" / "cbam-paper"

# network -> (parameters in millions, multiply-adds in 10^9) without attention, with SE, with CBAM
PUBLISHED = {
    # Table 4
    "resnet18": [(11.69, 1.814), (11.78, 1.814), (11.78, 1.815)],
    "resnet34": [(21.80, 3.664), (21.96, 3.664), (21.96, 3.665)],
    "wide_resnet18-1.5": [(25.88, 3.866), (26.07, 3.867), (26.08, 3.868)],
    "wide_resnet18-2.0": [(45.62, 6.696), (45.97, 6.696), (45.97, 6.697)],
    "resnext50": [(25.03, 3.768), (27.56, 3.771), (27.56, 3.774)],
    "resnet50": [(25.56, 3.858), (28.09, 3.860), (28.09, 3.864)],
    "resnet101": [(44.55, 7.570), (49.33, 7.575), (49.33, 7.581)],
    "resnext101": [(44.18, 7.508), (48.96, 7.512), (48.96, 7.519)],
    # Table 5
    "mobilenet": [(4.23, 0.569), (5.07, 0.570), (5.07, 0.576)],
    "mobilenet-0.7": [(2.30, 0.283), (2.71, 0.283), (2.71, 0.289)],
}
ROWS = {
    f"{network}-{attention}": row
    for network, rows in PUBLISHED.items()
    for attention, row in zip(("none", "se", "cbam"), rows, strict=True)
}


def build_config(name):
    settings = TrainSettings(**json.loads((CONFIGS / f"{name}.json").read_text()))
    return network_from_settings(
        settings,
        settings.attention_spec,
        input_shape=(224, 224, 3),
        classes=1000,
    )


def test_every_row_is_a_config():
    assert {path.stem for path in CONFIGS.glob("*.json")} == set(ROWS)


@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=[] if "50" in n or "18" in n else pytest.mark.long) for n in ROWS],
)
@pytest.mark.usefixtures("without_values")
def test_parameters_and_multiply_adds(name):
    params, multiplications = ROWS[name]
    model = build_config(name)
    assert trainable_params(model) / 1e6 == pytest.approx(params, abs=0.01)
    assert multiply_adds(model) / 1e9 == pytest.approx(multiplications, abs=0.002)


@pytest.mark.usefixtures("without_values")
def test_stride_in_the_3x3_convolution():
    """The form of the authors' code and torchvision, where the published sizes are the paper's."""
    for name, expected in (("resnet50", 4.089), ("resnext50", 4.230)):
        settings = json.loads((CONFIGS / f"{name}-none.json").read_text())
        del settings["attention"]
        model = build_model(
            settings.pop("model"),
            input_shape=(224, 224, 3),
            classes=1000,
            **{**settings, "stride_in": "3x3"},
        )
        assert multiply_adds(model) / 1e9 == pytest.approx(expected, abs=0.002)


@pytest.mark.usefixtures("without_values")
def test_resnet50_of_keras_applications():
    ours = build_model("resnet", depth=50, stem="imagenet", classes=1000, stride_in="1x1",
                       use_bias=True, input_shape=(224, 224, 3))  # fmt: skip
    theirs = keras.applications.ResNet50(weights=None)
    assert ours.count_params() == theirs.count_params()
    assert trainable_params(ours) == trainable_params(theirs)


def test_outputs_of_resnet50_of_keras_applications(rng):
    options = {"input_shape": (64, 97, 3), "classes": 1000, "classifier_activation": None}
    ours = build_model(
        "resnet", depth=50, stem="imagenet", stride_in="1x1", use_bias=True, **options
    )
    theirs = keras.applications.ResNet50(weights=None, **options)
    check_same_outputs(ours, theirs, rng, maps=("stage4_block3_relu", "conv5_block3_out"))
