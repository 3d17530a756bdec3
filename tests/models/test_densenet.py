"""DenseNet: the networks of keras.applications and of the paper's tables, depths and sizes."""

import keras
import pytest

from models import densenet
from models.densenet import DenseNet
from models.private_api import operation_of
from models.resnext import ResNextImageNet
from tests.models.transfer import check_same_outputs
from utils.evaluation.counting import trainable_params

pytestmark = pytest.mark.once

BC = {"bottleneck": True, "compression": 0.5}


@pytest.mark.parametrize("depth", [121, 169, pytest.param(201, marks=pytest.mark.long)])
@pytest.mark.usefixtures("without_values")
def test_parameters_of_keras_applications(depth):
    ours = getattr(densenet, f"DenseNetImageNet{depth}")()
    theirs = getattr(keras.applications, f"DenseNet{depth}")(weights=None)
    assert ours.input_shape == theirs.input_shape
    assert ours.output_shape == theirs.output_shape
    assert ours.count_params() == theirs.count_params()
    assert trainable_params(ours) == trainable_params(theirs)


@pytest.mark.parametrize(
    "depth", [121, *(pytest.param(depth, marks=pytest.mark.long) for depth in (169, 201))]
)
def test_outputs_of_keras_applications(depth, rng):
    options = {"input_shape": (47, 61, 3), "classifier_activation": None}
    theirs = getattr(keras.applications, f"DenseNet{depth}")(weights=None, **options)
    ours = getattr(densenet, f"DenseNetImageNet{depth}")(**options)
    check_same_outputs(ours, theirs, rng, maps=("head_relu", "relu"))


@pytest.mark.parametrize(
    ("options", "published"),
    [
        # "Densely Connected Convolutional Networks", Table 2
        ({"depth": 40}, 1.0),
        ({"depth": 100}, 7.0),
        ({"depth": 100, "growth_rate": 24}, 27.2),
        ({"depth": 100, **BC}, 0.8),
    ],
)
@pytest.mark.usefixtures("without_values")
def test_parameters_of_the_paper(options, published):
    assert round(trainable_params(DenseNet(**options)) / 1e6, 1) == published


@pytest.mark.parametrize(("depth", "published"), [(161, 28_681_000), (121, 7_978_856)])
@pytest.mark.usefixtures("without_values")
def test_parameters_of_torchvision(depth, published):
    assert trainable_params(DenseNet(depth=depth, classes=1000)) == published


@pytest.mark.usefixtures("without_values")
def test_imagenet_264():
    model = densenet.DenseNetImageNet264()
    assert model.get_layer("stage3_layer64_conv2").filters == 32
    assert model.get_layer("stage4_layer48_conv2").filters == 32
    assert model.get_layer("stem_conv").filters == 64
    assert model.output_shape == (None, 1000)
    assert model.name == "densenet_264"


@pytest.mark.usefixtures("without_values")
def test_aliases_for_imagenet():
    for depth in densenet.DEPTHS:
        alias = getattr(densenet, f"DenseNetImageNet{depth}")
        assert alias.__name__ == f"DenseNetImageNet{depth}"
        assert f"{depth} layers" in alias.__doc__
    model = densenet.DenseNetImageNet121((32, 32, 3), 7, growth_rate=2)
    assert (model.name, model.output_shape) == ("densenet_121", (None, 7))
    model = ResNextImageNet((32, 32, 3), 50, 7, width=1)
    assert (model.name, model.output_shape) == ("resnext_50", (None, 7))
    assert model.get_layer("stage4_block3_conv2").groups == 32


@pytest.mark.parametrize("options", [{"depth": 40}, {"depth": 40, **BC}, {"depth": 161}])
@pytest.mark.usefixtures("without_values")
def test_depth_is_the_number_of_layers(options):
    model = DenseNet(**options)
    convolutions = [layer for layer in model.layers if isinstance(layer, keras.layers.Conv2D)]
    assert len(convolutions) + 1 == options["depth"]


def test_first_convolution():
    for options, filters in (({}, 16), (BC, 24), ({"bottleneck": True}, 16)):
        assert DenseNet(depth=10, **options).get_layer("stem_conv").filters == filters
    assert DenseNet(depth=121, stem="cifar").get_layer("stem_conv").strides == (1, 1)
    assert DenseNet(depth=10, stem="imagenet").input_shape == (None, 224, 224, 3)


@pytest.mark.parametrize(
    ("options", "least"),
    [
        ({"depth": 10}, 4),
        ({"depth": 10, "stem": "imagenet"}, 13),
        ({"depth": 121, "growth_rate": 2}, 29),
        ({"depth": 121, "growth_rate": 2, "stem": "cifar"}, 8),
    ],
)
def test_least_size(options, least):
    model = DenseNet((least, least, 3), include_top=False, **options)
    assert model.output_shape[1:3] == (1, 1)
    for shape in ((least - 1, least, 3), (least, least - 1, 3)):
        with pytest.raises(ValueError, match=f"at least {least}x{least} pixels, received"):
            DenseNet(shape, **options)


def attention_inputs(**options):
    model = DenseNet(depth=10, attention_module="se_block", **options)
    attended = [layer for layer in model.layers if layer.name.endswith("_attention")]
    return {layer.name: operation_of(layer.input).name for layer in attended}


@pytest.mark.usefixtures("without_values")
def test_attention_places():
    after_transitions = {
        "stage1_transition_attention": "stage1_transition_pool",
        "stage2_transition_attention": "stage2_transition_pool",
    }
    everywhere = {
        "stage1_block_attention": "stage1_layer2_concat",
        "stage2_block_attention": "stage2_layer2_concat",
        "stage3_block_attention": "stage3_layer2_concat",
        **after_transitions,
    }
    assert attention_inputs() == everywhere
    assert attention_inputs(attention_at="stage") == after_transitions
    assert attention_inputs(attention_at=("block", "stage")) == everywhere


@pytest.mark.usefixtures("without_values")
def test_features_are_those_of_the_dense_blocks():
    model = DenseNet(depth=10, features_only=True, attention_module="se_block")
    assert [x.shape[1:] for x in model.output.values()] == [
        (32, 32, 40),
        (16, 16, 64),
        (8, 8, 88),
    ]
    for name, x in model.output.items():
        assert x is model.get_layer(f"{name}_block_attention").output


@pytest.mark.parametrize(("options", "count"), [({}, 8), (BC, 8)])
@pytest.mark.usefixtures("without_values")
def test_dropout(options, count):
    model = DenseNet(depth=10, dropout_rate=0.2, **options)
    dropped = [layer for layer in model.layers if isinstance(layer, keras.layers.Dropout)]
    assert len(dropped) == count  # after every convolution but the first
    assert {layer.rate for layer in dropped} == {0.2}
    without = DenseNet(depth=10, **options)
    assert not [layer for layer in without.layers if isinstance(layer, keras.layers.Dropout)]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"depth": 41},
            "3n.4, 121, 161, 169, 201, 264 layers deep; the nearest are 40, 43; received depth=41",
        ),
        ({"depth": 43, "bottleneck": True}, "6n.4, 121, .* nearest are 40, 46; received depth=43"),
        ({"depth": 162}, "the nearest are 160, 161, 163; received depth=162"),
        ({"depth": 4}, "the nearest are 7, 10; received depth=4"),
        ({"depth": "40"}, "264 layers deep; received depth='40'"),
        ({"depth": 121, "bottleneck": False}, "densenet_121 must be one of None, True, received F"),
        ({"bottleneck": "yes"}, "must be one of None, False, True, received 'yes'"),
        ({"growth_rate": 0}, "growth_rate must be an integer of at least 1, received 0"),
        ({"compression": 1.5}, "compression must be a number above 0 and at most 1, received 1.5"),
        ({"compression": 0}, "compression must be a number above 0 and at most 1, received 0"),
        ({"stem": "large"}, "stem must be one of None, 'cifar', 'imagenet', received 'large'"),
        ({"dropout_rate": 2}, "between 0 and 1. Received: rate=2"),
    ],
)
def test_refuses(options, message):
    with pytest.raises(ValueError, match=message):
        DenseNet((32, 32, 3), **options)
