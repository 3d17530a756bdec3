"""`weights="imagenet"`: Keras's own networks stand for those that it would download."""

import inspect

import keras
import numpy as np
import pytest

from models import build_model
from models.attention.identity import IdentityStart
from models.attention.specification import AttentionSpec
from models.imagenet import twin_of
from models.pretrained import TWINS
from tests.models.transfer import randomize

pytestmark = pytest.mark.once

# of random weights: less, and nothing of the image arrives
SPREADS = {"MobileNet": 0.2}
SPREAD = 0.03  # of the others
ROUNDING = {"MobileNet": 1e-4, "ResNet50": 1e-3}  # of float32, by depth
LAST_MAPS = {
    "DenseNet121": "conv5_block16_concat",
    "DenseNet169": "conv5_block32_concat",
    "DenseNet201": "conv5_block32_concat",
    "InceptionResNetV2": "custom_scale_layer_39",
    "InceptionV3": "mixed10",
    "MobileNet": "conv_pw_13_relu",
    "ResNet50": "conv5_block3_out",
    "ResNet101": "conv5_block3_out",
    "ResNet152": "conv5_block3_out",
}
RESNET = "resnet(depth=50, stem='imagenet', stride_in='1x1', use_bias=True)"


@pytest.fixture
def downloaded(monkeypatch, rng):
    """Has `keras.applications` return random weights where it would download some."""
    made = []

    def stand_in(name):
        constructor = getattr(keras.applications, name)

        def build(weights, **options):
            assert weights == "imagenet"
            model = constructor(weights=None, **options)
            randomize(model, rng, SPREADS.get(name, SPREAD))
            made.append(model)
            return model

        build.__signature__ = inspect.signature(constructor)
        monkeypatch.setattr(keras.applications, name, build)

    for name in LAST_MAPS:
        stand_in(name)
    return made


def outputs(model, x):
    return keras.ops.convert_to_numpy(model(x))


@pytest.mark.parametrize("module", [None, "cbam_block(ratio=16)", "cot_block"])
@pytest.mark.parametrize(
    ("name", "twin"),
    [
        ("mobilenet(alpha=0.25)", "MobileNet"),
        pytest.param(RESNET, "ResNet50", marks=pytest.mark.long),
    ],
)
def test_it_computes_what_the_pretrained_network_does(name, twin, module, downloaded, rng):
    model = build_model(name, weights="imagenet", attention_module=module, classes=1000,
                        input_shape=(224, 224, 3))  # fmt: skip
    (theirs,) = downloaded
    x = rng.normal(size=(2, 224, 224, 3)).astype("float32")
    np.testing.assert_allclose(outputs(model, x), outputs(theirs, x), rtol=1e-3, atol=1e-5)
    ours = keras.Model(model.input, model.get_layer("avg_pool").input)
    theirs = keras.Model(theirs.input, theirs.get_layer(LAST_MAPS[twin]).output)
    expected = outputs(theirs, x)
    tolerance = ROUNDING[twin]
    assert np.ptp(expected, axis=0).max() > 100 * tolerance  # the image tells
    np.testing.assert_allclose(outputs(ours, x), expected, rtol=tolerance, atol=tolerance)
    attention = [layer for layer in model.layers if layer.name.endswith("_attention")]
    assert bool(attention) == (module is not None)
    if module == "cot_block":
        assert all(isinstance(layer, IdentityStart) for layer in attention)


@pytest.mark.parametrize("name", ["se_block", "cot_block"])
def test_attention_goes_where_its_specification_says(name, downloaded):
    model = build_model("mobilenet(alpha=0.25)", weights="imagenet",
                        attention_module=AttentionSpec.parse(name, at="stage"))  # fmt: skip
    names = [layer.name for layer in model.layers if layer.name.endswith("_attention")]
    assert names == [f"stage{number}_attention" for number in (1, 2, 3, 4)]


def test_another_classifier_and_none(downloaded, rng):
    x = rng.normal(size=(2, 224, 224, 3)).astype("float32")
    maps = build_model("mobilenet", weights="imagenet", include_top=False, alpha=0.25)
    theirs = downloaded[0]
    np.testing.assert_allclose(outputs(maps, x), outputs(theirs, x), rtol=1e-3, atol=1e-4)
    few = build_model("mobilenet", weights="imagenet", classes=5, alpha=0.25)
    assert few.output_shape == (None, 5)
    before = next(layer for layer in few.layers if layer.weights).get_weights()
    np.testing.assert_array_equal(before[0], downloaded[1].layers[1].get_weights()[0])


@pytest.mark.parametrize(
    ("architecture", "twin", "module"),
    [
        ("mobilenet", "MobileNet", "se_block"),
        *(
            pytest.param(architecture, twin, None, marks=pytest.mark.long)
            for architecture, twins in TWINS.items()
            for twin in twins
        ),
    ],
)
def test_feature_maps(architecture, twin, module, downloaded, rng):
    """The last ones are those of the pretrained network, which has more layers."""
    options = TWINS[architecture][twin] or ({"alpha": 0.25} if twin == "MobileNet" else {})
    model = build_model(architecture, weights="imagenet", features_only=True, classes=1000,
                        input_shape=(96, 96, 3), attention_module=module, **options)  # fmt: skip
    (theirs,) = downloaded
    x = 100 * rng.normal(size=(2, 96, 96, 3)).astype("float32")
    expected = outputs(keras.Model(theirs.input, theirs.get_layer(LAST_MAPS[twin]).output), x)
    spread = np.ptp(expected, axis=0).max()
    assert spread > 1e-3 * np.abs(expected).max()  # the image tells
    last = keras.Model(model.input, list(model.output.values())[-1])
    np.testing.assert_allclose(outputs(last, x), expected, rtol=0, atol=0.02 * spread)


def test_what_cannot_be_downloaded(monkeypatch):
    def fail(**options):
        raise Exception("URL fetch failure on https://...")

    monkeypatch.setattr(keras.applications, "MobileNet", fail)
    with pytest.raises(
        ValueError, match=r"cannot be had: URL fetch.*put this file into .*models, where Keras"
    ):
        build_model("mobilenet", weights="imagenet")


@pytest.mark.parametrize(
    ("name", "options", "says"),
    [
        ("resnet_v1", {}, "has no resnet_v1; it has the networks of densenet"),
        ("resnet(depth=18)", {}, "ResNet50 is depth=50, stem='imagenet'"),
        (RESNET.replace("True)", "True, shortcut='pool')"), {}, "shortcut='conv'"),
        (RESNET.replace("True)", "True, width=2.0)"), {}, "shortcut='conv', width=1.0"),
        ("densenet(depth=121, stem='cifar')", {}, "DenseNet121 is depth=121, stem='imagenet', gr"),
        ("densenet(depth=121, growth_rate=8)", {}, "growth_rate=32, compression=0.5; DenseNet169"),
        ("densenet(depth=121, compression=1)", {}, "growth_rate=32, compression=0.5; DenseNet169"),
        (RESNET, {"attention_module": lambda x: x}, "takes attention by its name"),
        (RESNET, {"attention_module": "se_block", "attention_at": "head"}, "'head' adds what"),
    ],
)
def test_refusals(name, options, says):
    with pytest.raises(ValueError, match=says):
        build_model(name, weights="imagenet", **options)


def test_gray_images_are_refused_before_a_download(downloaded):
    with pytest.raises(ValueError, match="are for images of 3 channels; received 1"):
        build_model("mobilenet", weights="imagenet", input_shape=(64, 64, 1), classes=5)
    assert not downloaded


@pytest.mark.parametrize("architecture", TWINS)
def test_every_twin_is_found(architecture):
    for name, options in TWINS[architecture].items():
        assert twin_of(architecture, options) == name
        assert hasattr(keras.applications, name)
    if architecture == "densenet":  # its defaults are the published values
        defaults = {"depth": 169, "stem": None, "growth_rate": None, "compression": None}
        assert twin_of(architecture, defaults) == "DenseNet169"
