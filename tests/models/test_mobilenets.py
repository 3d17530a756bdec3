"""MobileNet: the network of keras.applications, sizes of the CBAM paper, stems, places."""

from functools import partial

import keras
import pytest

from models.attention_module import cbam_block, se_block
from models.mobilenets import MobileNet
from tests.models.transfer import check_same_outputs
from utils.evaluation.counting import multiply_adds, trainable_params

pytestmark = pytest.mark.once


@pytest.mark.parametrize("options", [{}, {"alpha": 0.5}, {"depth_multiplier": 2}])
@pytest.mark.usefixtures("without_values")
def test_parameters_of_keras_applications(options):
    ours = MobileNet(**options)
    theirs = keras.applications.MobileNet(weights=None, input_shape=(224, 224, 3), **options)
    assert ours.count_params() == theirs.count_params()
    assert trainable_params(ours) == trainable_params(theirs)


@pytest.mark.parametrize(
    ("shape", "options"),
    [
        ((224, 224, 3), {"classifier_activation": None}),
        ((97, 131, 3), {"include_top": False}),
        ((97, 130, 3), {"include_top": False, "alpha": 0.5, "depth_multiplier": 2}),
    ],
)
def test_outputs_of_keras_applications(shape, options, rng):
    theirs = keras.applications.MobileNet(weights=None, input_shape=shape, **options)
    ours = MobileNet(shape, **options)
    check_same_outputs(ours, theirs, rng, spread=0.2)


@pytest.mark.parametrize(
    ("alpha", "base", "se", "cbam", "multiplications"),
    [
        # the CBAM paper, Table 5; its attention follows every convolution of a block
        (1.0, 4.23, 5.07, 5.07, 0.569),
        (0.7, 2.30, 2.71, 2.71, 0.283),
    ],
)
@pytest.mark.usefixtures("without_values")
def test_sizes_of_the_cbam_paper(alpha, base, se, cbam, multiplications):
    model = MobileNet(alpha=alpha)
    assert trainable_params(model) / 1e6 == pytest.approx(base, abs=0.01)
    assert multiply_adds(model) / 1e9 == pytest.approx(multiplications, abs=0.002)
    for module, published in ((se_block, se), (cbam_block, cbam)):
        attention = partial(module, ratio=16)
        model = MobileNet(alpha=alpha, attention_module=attention, attention_at="conv")
        assert trainable_params(model) / 1e6 == pytest.approx(published, abs=0.01)


@pytest.mark.parametrize(
    ("shape", "options", "maps"),
    [
        (None, {}, [112, 56, 28, 14, 7]),
        (None, {"stem": "cifar"}, [32, 32, 16, 8, 4]),
        ((32, 32, 3), {}, [32, 32, 16, 8, 4]),
        ((32, 32, 3), {"stem": "imagenet"}, [16, 8, 4, 2, 1]),
        ((63, 64, 3), {}, [63, 63, 31, 15, 7]),
        ((64, 64, 3), {}, [32, 16, 8, 4, 2]),
        ((None, 63, 3), {}, [None] * 5),
    ],
)
def test_stem_by_size(shape, options, maps):
    model = MobileNet(shape, alpha=0.125, features_only=True, **options)
    assert [x.shape[1] for x in model.output.values()] == maps


def test_stem_of_unknown_and_of_narrow_images():
    open_size = MobileNet((None, None, 3), alpha=0.125)
    narrow = MobileNet((None, 63, 3), alpha=0.125)
    assert open_size.get_layer("stem_conv").strides == (2, 2)
    assert narrow.get_layer("stem_conv").strides == (1, 1)
    image = keras.Input((48, 48, 3))
    assert MobileNet(alpha=0.125, input_tensor=image).get_layer("stem_conv").strides == (1, 1)


@pytest.mark.parametrize(("stem", "least"), [("cifar", 8), ("imagenet", 31)])
def test_least_size(stem, least):
    model = MobileNet((least, least, 3), alpha=0.125, stem=stem, include_top=False)
    assert model.output_shape[1:3] == (1, 1)
    for shape in ((least - 1, least, 3), (least, least - 1, 3)):
        with pytest.raises(ValueError, match=f"at least {least}x{least} pixels, received"):
            MobileNet(shape, alpha=0.125, stem=stem)


@pytest.mark.parametrize(
    ("place", "count"), [("block", 13), ("conv", 26), (("block", "conv"), 26), ("stage", 4)]
)
@pytest.mark.usefixtures("without_values")
def test_attention_places(place, count):
    model = MobileNet((32, 32, 3), alpha=0.125, attention_module="se_block", attention_at=place)
    names = [layer.name for layer in model.layers if layer.name.endswith("_attention")]
    assert len(names) == count
    if place != "stage":
        attention = model.get_layer("stage4_block6_attention")
        assert attention.input is model.get_layer("stage4_block6_pointwise_relu6").output
    if count == 26:
        attention = model.get_layer("stage4_block6_depthwise_attention")
        assert attention.input is model.get_layer("stage4_block6_depthwise_relu6").output


def test_dropout():
    assert MobileNet((32, 32, 3), alpha=0.125).get_layer("dropout").rate == 1e-3
    without = MobileNet((32, 32, 3), alpha=0.125, dropout=0)
    assert "dropout" not in [layer.name for layer in without.layers]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"alpha": 0}, "alpha must be a number above 0, received 0"),
        ({"alpha": float("nan")}, "alpha must be a number above 0, received nan"),
        ({"alpha": "wide"}, "alpha must be a number above 0, received 'wide'"),
        ({"depth_multiplier": 0}, "depth_multiplier must be an integer of at least 1, received 0"),
        ({"depth_multiplier": 1.5}, "depth_multiplier must be an integer of at least 1"),
        ({"stem": "large"}, r"stem must be one of None, 'cifar', 'imagenet', received 'large'"),
        ({"attention_at": "depthwise"}, "'block', 'conv', 'head', 'stage'; received"),
    ],
)
def test_refuses(options, message):
    with pytest.raises(ValueError, match=message):
        MobileNet((32, 32, 3), **{"alpha": 0.125, **options})
