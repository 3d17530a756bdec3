"""Where gates start: at one, at a half, or as their authors have them."""

import re
from pathlib import Path

import keras
import numpy as np
import pytest

from models import build_model
from models.attention.registry import at_identity, attention_options
from models.attention_module import (
    BAM,
    CBAM,
    CBAM_OFFICIAL,
    ECA,
    EMA,
    GE,
    SCSE,
    SE,
    AttentionSpec,
    ChannelAttention,
    PolarizedAttention,
    SpatialAttention,
    attach_attention_module,
    list_attention,
)
from models.saving import load_model

pytestmark = pytest.mark.once

MODULES = [name for name in list_attention() if "start" in (attention_options(name) or [])]
# a GE without weights has no other start; gates in parallel start at a half, and their sum at one
OPTIONS = {"ge_block": {"use_mlp": True}, "polarized_block": {"order": "sequential"}}


def numpy(x):
    return keras.ops.convert_to_numpy(x)


def attended(module, x, **options):
    image = keras.Input(x.shape[1:])
    options = {**OPTIONS.get(module, {}), **options}
    y = attach_attention_module(image, module, name="attention", **options)
    model = keras.Model(image, y)
    return model, model.get_layer("attention")


@pytest.mark.parametrize("module", MODULES)
def test_identity_returns_its_input_and_learns(module, rng):
    x = rng.normal(size=(4, 6, 5, 16)).astype("float32")
    model, layer = attended(module, x, start="identity")
    np.testing.assert_allclose(model.predict(x, verbose=0), x, rtol=1e-6)
    _, maps = layer(x, return_maps=True)
    for gate in maps.values():
        np.testing.assert_allclose(numpy(gate), 1.0, rtol=1e-6)
    check_learns(model, x)


def check_learns(model, x):
    model.compile(keras.optimizers.Adam(0.02), "mse")
    losses = [model.train_on_batch(x, 0.2 * x) for _ in range(30)]
    assert losses[-1] < 0.99 * losses[0]


@pytest.mark.parametrize("module", MODULES)
def test_half(module, rng):
    x = rng.normal(size=(4, 6, 5, 16)).astype("float32")
    _, layer = attended(module, x, start="half")
    _, maps = layer(x, return_maps=True)
    for gate in maps.values():
        np.testing.assert_allclose(numpy(gate), 0.5, rtol=1e-6)


@pytest.mark.parametrize(
    ("layer_class", "options"),
    [
        (CBAM, {"batch_norm": True}),
        (CBAM, {"order": "parallel"}),
        (SCSE, {"combine": "add"}),
        (BAM, {"combine": "sum"}),
        (EMA, {"groups": 2}),
        (GE, {"extra_params": True, "extent": 2}),
        (GE, {"extra_params": True, "use_mlp": True}),
        (PolarizedAttention, {"order": "parallel"}),
    ],
)
def test_identity_with_other_options(layer_class, options, rng):
    x = rng.normal(size=(4, 6, 5, 8)).astype("float32")
    layer = layer_class(**options, start="identity")
    for training in (False, True):
        np.testing.assert_allclose(numpy(layer(x, training=training)), x, rtol=1e-6)
    check_learns(keras.Sequential([keras.Input(x.shape[1:]), layer]), x)


@pytest.mark.parametrize("start", ["half", "identity"])
def test_without_weights_there_is_no_other_start(start):
    with pytest.raises(ValueError, match=f"received start='{start}'; give extra_params=True or"):
        GE(start=start)
    assert at_identity(AttentionSpec.parse("ge_block")) is None
    started = at_identity(AttentionSpec.parse("ge_block(use_mlp=True)", at="stage"))
    assert started == AttentionSpec.parse("ge_block(use_mlp=True, start='identity')", at="stage")


def test_a_network_starts_as_the_one_without_attention(rng):
    x = rng.uniform(size=(2, 32, 32, 3)).astype("float32")
    plain = build_model("resnet_v1", depth=8)
    model = build_model("resnet_v1", depth=8, attention_module="cbam_block(start='identity')")
    for layer in plain.layers:
        if layer.weights:
            model.get_layer(layer.name).set_weights(layer.get_weights())
    np.testing.assert_allclose(*(m.predict_on_batch(x) for m in (model, plain)), rtol=1e-5)


def test_the_authors_start(rng):
    """`model_resnet.py`: SpatialGate's normalization has scale 0; linear layers are PyTorch's."""
    layer = CBAM(**CBAM_OFFICIAL)
    x = rng.normal(size=(4, 8, 8, 64)).astype("float32")
    _, maps = layer(x, training=True, return_maps=True)
    np.testing.assert_allclose(numpy(maps["spatial"]), 0.5, rtol=1e-6)
    assert np.std(numpy(maps["channel"])) > 0.01
    np.testing.assert_array_equal(numpy(layer.spatial.norm.gamma), 0.0)
    for dense, inputs in ((layer.channel.reduce, 64), (layer.channel.expand, 4)):
        kernel = numpy(dense.kernel)
        assert 0.8 * inputs**-0.5 < np.abs(kernel).max() <= inputs**-0.5
        np.testing.assert_array_equal(numpy(dense.bias), 0.0)
    # kaiming_normal with fan_out: 7 * 7 * 1
    assert np.std(numpy(layer.spatial.conv.kernel)) == pytest.approx((2 / 49) ** 0.5, rel=0.3)


def test_two_layers_do_not_start_alike():
    one, other = (ChannelAttention(start="authors") for _ in range(2))
    for layer in (one, other):
        layer.build((None, 4, 4, 16))
    assert np.abs(numpy(one.reduce.kernel) - numpy(other.reduce.kernel)).max() > 0.01


@pytest.mark.parametrize("layer", [ECA, SE, SpatialAttention, CBAM])
def test_refuses_another_start(layer):
    with pytest.raises(ValueError, match="start must be one of 'published', 'half', 'identity'"):
        layer(start="zero")


def test_a_start_is_saved(tmp_path):
    image = keras.Input((4, 4, 8))
    model = keras.Model(image, CBAM(start="identity", name="attention")(image))
    model.save(tmp_path / "model.keras")
    layer = load_model(tmp_path / "model.keras").get_layer("attention")
    assert (layer.channel.starting.gain, layer.spatial.starting.gain) == (2.0, 2.0)
    assert layer.get_config()["start"] == "identity"


def test_the_page_names_the_modules_that_have_the_option():
    page = (Path(__file__).parents[3] / "docs" / "modules.md").read_text("utf-8")
    sentence = page.partition("The option `start` of ")[2].partition(":")[0]
    assert re.findall(r"`(\w+)`", sentence) == MODULES
