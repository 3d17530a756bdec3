"""The Inception networks: those of `keras.applications`, at any size, with attention."""

import keras
import numpy as np
import pytest

from models import build_model
from models.builder import Builder
from models.inception import inception_stem
from tests.models.transfer import check_same_outputs
from utils.evaluation.counting import multiply_adds, trainable_params

pytestmark = pytest.mark.once

THEIRS = {
    "inception_v3": keras.applications.InceptionV3,
    "inception_resnet_v2": keras.applications.InceptionResNetV2,
}
BLOCKS = {"inception_v3": (3, 5, 3), "inception_resnet_v2": (10, 20, 10)}
LEAST = {"cifar": 7, "imagenet": 75}


@pytest.mark.parametrize(
    ("name", "params", "multiplications"),
    [
        # "Learning Transferable Architectures for Scalable Image Recognition", Table 2
        ("inception_v3", 23.8, 5.72),
        ("inception_resnet_v2", 55.8, 13.2),
    ],
)
@pytest.mark.usefixtures("without_values")
def test_published_size(name, params, multiplications):
    ours, theirs = build_model(name), THEIRS[name](weights=None)
    assert ours.input_shape == (None, 299, 299, 3)
    assert ours.get_layer("stem_conv1").strides == (2, 2)
    assert ours.name == name
    assert ours.count_params() == theirs.count_params()
    assert trainable_params(ours) == trainable_params(theirs)
    assert trainable_params(ours) / 1e6 == pytest.approx(params, abs=0.05)
    assert multiply_adds(ours) / 1e9 == pytest.approx(multiplications, rel=0.005)


@pytest.mark.parametrize(
    "name", ["inception_v3", pytest.param("inception_resnet_v2", marks=pytest.mark.long)]
)
@pytest.mark.parametrize("shape", [(75, 75, 3), pytest.param((96, 107, 3), marks=pytest.mark.long)])
def test_outputs_of_keras_applications(name, shape, rng):
    options = {"input_shape": shape, "classes": 5, "classifier_activation": None}
    ours, theirs = build_model(name, **options), THEIRS[name](weights=None, **options)
    check_same_outputs(ours, theirs, rng, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("inception_v3", "block"),
        ("inception_v3", ("block", "stage", "head")),
        ("inception_resnet_v2", "addition"),
        ("inception_resnet_v2", ("block", "stage", "head", "addition")),
    ],
)
@pytest.mark.usefixtures("without_values")
def test_attention_places(name, place):
    model = build_model(
        name, input_shape=(32, 32, 3), attention_module="se_block", attention_at=place
    )
    blocks = [
        f"stage{stage}_block{number}"
        for stage, count in enumerate(BLOCKS[name], start=1)
        for number in range(1, count + 1)
    ]
    names = {
        "block": blocks,
        "stage": ["stage1", "stage2"],
        "head": ["head"],
        "addition": [f"{block}_addition" for block in blocks],
    }
    places = [place] if isinstance(place, str) else place
    wanted = sorted(f"{name}_attention" for place in places for name in names[place])
    found = [layer.name for layer in model.layers if layer.name.endswith("attention")]
    assert sorted(found) == wanted


@pytest.mark.parametrize("name", BLOCKS)
@pytest.mark.usefixtures("without_values")
def test_width_is_a_factor_on_the_channels_of_every_convolution(name):
    whole, narrow = (
        build_model(name, input_shape=(32, 32, 3), width=width, classes=7) for width in (1, 0.25)
    )
    for layer in whole.layers:
        if isinstance(layer, keras.layers.Conv2D):
            assert narrow.get_layer(layer.name).filters == layer.filters / 4
    assert narrow.output_shape == whole.output_shape == (None, 7)


@pytest.mark.parametrize(
    ("name", "places"),
    [
        ("inception_v3", "'block', 'head', 'stage'"),
        ("inception_resnet_v2", "'addition', 'block', 'head', 'stage'"),
    ],
)
def test_refuses_other_places(name, places):
    message = f"attention_at of {name} must be one or more of {places}; received .'nowhere',."
    with pytest.raises(ValueError, match=message):
        build_model(name, input_shape=(32, 32, 3), attention_at="nowhere")


@pytest.mark.usefixtures("without_values")
def test_place_of_attention_in_inception_v3():
    model = build_model("inception_v3", input_shape=(32, 32, 3), attention_module="se_block")
    for block, channels in (
        ("stage1_block1", 256),
        ("stage2_block1", 768),
        ("stage3_block3", 2048),
    ):
        attention = model.get_layer(f"{block}_attention")
        assert attention.input is model.get_layer(f"{block}_concat").output
        assert attention.output.shape[-1] == channels


@pytest.mark.usefixtures("without_values")
def test_place_of_attention_in_inception_resnet_v2():
    model = build_model(
        "inception_resnet_v2",
        input_shape=(32, 32, 3),
        attention_module="se_block",
        attention_at=("block", "addition"),
    )
    # the very last block is not scaled down and has no rectifier
    for block, scale, end in (
        ("stage1_block1", 0.17, "relu"),
        ("stage2_block20", 0.1, "relu"),
        ("stage3_block9", 0.2, "relu"),
        ("stage3_block10", 1.0, "add"),
    ):
        attention = model.get_layer(f"{block}_attention")
        assert attention.input is model.get_layer(f"{block}_up_conv").output
        scaled = model.get_layer(f"{block}_scale")
        assert scaled.input is attention.output
        assert scaled.scale == scale
        assert model.get_layer(f"{block}_add").input[1] is scaled.output
        after = model.get_layer(f"{block}_addition_attention")
        assert after.input is model.get_layer(f"{block}_{end}").output


@pytest.mark.parametrize(
    ("shape", "stem", "size"),
    [
        ((299, 299, 3), None, (35, 35)),
        ((75, 75, 3), None, (7, 7)),
        ((74, 74, 3), None, (74, 74)),
        ((224, 74, 3), None, (224, 74)),
        ((32, 224, 3), None, (32, 224)),
        ((7, 7, 3), None, (7, 7)),
        ((None, None, 3), None, (None, None)),
        ((None, 74, 3), None, (None, 74)),
        ((75, None, 3), None, (7, None)),
        ((96, 96, 3), "cifar", (96, 96)),
        ((96, 107, 3), "imagenet", (9, 11)),
    ],
)
@pytest.mark.usefixtures("without_values")
def test_stem_by_the_size(shape, stem, size):
    for given in ({"input_shape": shape}, {"input_tensor": keras.Input(shape)}):
        net = Builder(**given)
        assert inception_stem(net, stem).shape == (None, *size, 192)


def test_stem_of_an_unknown_size():
    net = Builder((None, None, 3))
    model = keras.Model(net.input, inception_stem(net))
    assert model.compute_output_shape((1, 299, 299, 3)) == (1, 35, 35, 192)


@pytest.mark.parametrize("name", THEIRS)
@pytest.mark.usefixtures("without_values")
def test_stem_option(name):
    assert build_model(name, stem="cifar").input_shape == (None, 32, 32, 3)
    with pytest.raises(ValueError, match=r"one of None, 'cifar', 'imagenet', received 'large'"):
        build_model(name, stem="large")


@pytest.mark.parametrize("name", THEIRS)
@pytest.mark.parametrize("stem", LEAST)
def test_least_size(name, stem, rng):
    """The least image leaves one pixel at the end, and one pixel less is refused."""
    least = LEAST[stem]
    model = build_model(
        name, input_shape=(least, least, 3), stem=stem, include_top=False, features_only=True
    )
    assert [x.shape[1:3] for x in model.output.values()] == [(7, 7), (3, 3), (1, 1)]
    x = rng.normal(size=(1, least, least, 3)).astype("float32")
    assert all(np.isfinite(keras.ops.convert_to_numpy(y)).all() for y in model(x).values())
    for shape in ((least - 1, 300, 3), (300, least - 1, 3)):
        message = f"{name} takes images of at least {least}x{least} pixels, received "
        with pytest.raises(ValueError, match=message + f"{shape[0]}x{shape[1]}"):
            build_model(name, input_shape=shape, stem=stem)
