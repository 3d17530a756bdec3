"""The weights that are shipped: they load, compute what they did, and say what they are of."""

import json
from pathlib import Path

import keras
import numpy as np
import pytest
from sklearn.datasets import load_sample_images

import models
from models import build_model, list_weights, trained_model
from models.attention.specification import AttentionSpec
from models.pretrained import FOLDER, class_names, trained_weights
from models.specification import parse_specification

LOGITS = json.loads((Path(__file__).parent / "trained_logits.json").read_text())
NAMES = list(list_weights())
# three large networks more take as long as all others, and one of a kind shows what five do
KINDS = ("-56-", "mobilenet", "resnet_v2")
MORE = [name for kind in KINDS for name in [n for n in NAMES if kind in n][1:]]
SOME = [pytest.param(n, marks=pytest.mark.long) if n in MORE else n for n in NAMES]


def sample_crops():
    """Eight 32x32 crops of scikit-learn's photographs, the same everywhere."""
    crops = [photo[y : y + 320 : 10, x : x + 320 : 10] for photo in load_sample_images().images
             for y, x in ((0, 0), (50, 100), (100, 200), (100, 300))]  # fmt: skip
    images = np.stack(crops).astype("float32")
    if keras.config.image_data_format() == "channels_first":
        images = images.transpose(0, 3, 1, 2)
    return images


def test_there_are_some_and_they_are_small():
    assert {"cifar10/resnet_v1-20-none", "cifar10/resnet_v1-20-cbam_block-start_identity"} <= {
        *NAMES
    }
    files = sorted(FOLDER.rglob("*.safetensors"))
    assert files == sorted(entry.path for entry in trained_weights().values())
    assert sum(file.stat().st_size for file in files) < 25 * 2**20
    assert models.list_weights is list_weights


@pytest.mark.parametrize("name", SOME)
def test_it_computes_what_it_did(name):
    model = trained_model(name)
    logits = keras.Model(model.input, model.get_layer("logits").output)
    found = keras.ops.convert_to_numpy(logits(sample_crops()))
    np.testing.assert_allclose(found, LOGITS[name], rtol=1e-4, atol=1e-4)


@pytest.mark.once
@pytest.mark.parametrize("name", SOME)
def test_the_architecture_has_the_weights_too(name):
    entry = trained_weights()[name]
    whole = trained_model(name)
    model = build_model(entry.model, attention_module=entry.attention, weights="cifar10")
    crops = sample_crops()
    pixels = whole.get_layer("normalization")(crops)
    np.testing.assert_allclose(
        keras.ops.convert_to_numpy(model(pixels)), keras.ops.convert_to_numpy(whole(crops)),
        rtol=1e-5, atol=1e-6,
    )  # fmt: skip
    assert model.count_params() > entry.params
    few = build_model(entry.model, attention_module=entry.attention, weights="cifar10", classes=3)
    stem = next(layer.name for layer in few.layers if layer.weights)
    np.testing.assert_array_equal(
        few.get_layer(stem).get_weights()[0], model.get_layer(stem).get_weights()[0]
    )
    maps = build_model(
        entry.model, attention_module=entry.attention, weights="cifar10", include_top=False
    )
    assert len(maps.output_shape) == 4


def test_stem_and_classes_may_be_left_to_the_weights():
    model = build_model("mobilenet", alpha=0.25, weights="cifar10")
    assert model.input_shape[1:] == build_model("mobilenet", stem="cifar").input_shape[1:]
    assert model.output_shape == (None, 10)
    with pytest.raises(ValueError, match="are not there for this mobilenet"):
        build_model("mobilenet", alpha=0.25, weights="cifar10", stem="imagenet")
    with pytest.raises(ValueError, match="are not there for this mobilenet"):
        build_model("mobilenet", weights="cifar10")


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("resnet_v1", {"depth": 26}),
        ("resnet_v1", {"depth": 20, "attention_module": "gam_block"}),
        ("resnet_v1", {"depth": 20, "attention_module": AttentionSpec("se_block", at=("stage",))}),
        ("resnet_v1", {"depth": 20, "attention_module": "se_block", "attention_at": "stage"}),
        ("mobilenet", {"alpha": 0.5}),
        ("densenet", {}),
    ],
)
def test_other_networks_are_told_which_have_weights(name, options):
    of_kind = [e.model for e in trained_weights().values() if e.model.startswith(name + "(")]
    with pytest.raises(ValueError, match="they are for ") as error:
        build_model(name, weights="cifar10", **options)
    models_with_weights = of_kind or [entry.model for entry in trained_weights().values()]
    said = str(error.value).partition("they are for ")[2].split("; ")
    assert [text.partition(" with ")[0] for text in said] == models_with_weights


@pytest.mark.parametrize("options", [{"block": "bottleneck"}, {"input_shape": (32, 32, 1)}])
def test_weights_that_do_not_fit_are_refused(options):
    with pytest.raises(ValueError, match=r"20-none do not fit this network: .* has weights"):
        build_model("resnet_v1", depth=20, weights="cifar10", **options)


@pytest.mark.once
@pytest.mark.parametrize(
    ("weights", "says"),
    [
        (
            "ImageNet",
            "must be None, 'cifar10', 'imagenet' or .*received 'ImageNet'; did you mean 'im",
        ),
        ("cifar-10", "received 'cifar-10'; did you mean 'cifar10'"),
        ("weights.h5", r"the path of a \.keras file .*received 'weights\.h5'$"),
        ("missing.keras", r"received 'missing\.keras', a file that is not there$"),
        (5, "must be None, .* received 5$"),
    ],
)
def test_other_weights_are_refused_before_a_network_is_built(weights, says, monkeypatch):
    monkeypatch.setattr("models.resnet_v1.cifar_stem", lambda *args: pytest.fail("it is built"))
    with pytest.raises(ValueError, match=f"weights.*{says}"):
        build_model("resnet_v1", depth=8, weights=weights)


@pytest.mark.once
@pytest.mark.parametrize("weights", ["cifar10", "imagenet"])
def test_a_network_of_ones_own_has_no_weights_by_name(weights, tmp_path):
    (tmp_path / "own.py").write_text(
        "from models.builder import Builder, takes_common_options\n"
        "@takes_common_options\n"
        "def mine(input_shape=None, **common):\n"
        "    net = Builder(input_shape, **common)\n"
        "    return net.model(net.input)\n"
    )
    with pytest.raises(ValueError, match=f"weights='{weights}' are for .*; mine takes the path of"):
        build_model(f"{tmp_path}/own.py:mine", weights=weights)


def test_unknown_names():
    for function in (trained_model, class_names):
        with pytest.raises(ValueError, match=r"no weights 'cifar10/other'; known: cifar10/"):
            function("cifar10/other")


@pytest.mark.parametrize("name", NAMES)
def test_what_is_said_of_them(name):
    entry = trained_weights()[name]
    assert entry.class_names[:2] == ["airplane", "automobile"]
    assert class_names(name) == tuple(entry.class_names)
    architecture, options = parse_specification(entry.model)
    assert name.startswith(f"cifar10/{architecture}-")
    assert all(str(value) in name for value in options.values())
    assert 0.8 < entry.test_accuracy < 1
    root = Path(__file__).parents[2]
    percent = f"{100 * entry.test_accuracy:.2f} %"
    assert f"| `{name}` | {percent} |" in (root / "docs" / "weights.md").read_text("utf-8")
    readme = (root / "README.md").read_text("utf-8")
    assert name not in readme or percent in readme
