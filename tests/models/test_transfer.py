"""Weights are taken over by layer; what does not fit is named, and nothing is copied then."""

import keras
import numpy as np
import pytest

from models import build_model
from models.attention_module import CBAM, SCSE, SE, ChannelAttention, IdentityStart, SimAM
from models.transfer import attention_differences, transfer_weights

pytestmark = pytest.mark.once


def network(classes=10, attention=None, **options):
    return build_model(
        "resnet_v1", **{"depth": 8, **options}, classes=classes, attention_module=attention
    )


def test_all_weights(rng):
    model, source = network(), network()
    transfer = transfer_weights(model, source)
    x = rng.uniform(size=(2, 32, 32, 3)).astype("float32")
    np.testing.assert_array_equal(*(m.predict_on_batch(x) for m in (model, source)))
    assert set(transfer.taken) == {layer.name for layer in source.layers if layer.weights}
    assert (transfer.attention, transfer.classifier) == ([], False)


def test_an_adapted_normalization_is_taken_over(rng):
    def network():
        image = keras.Input((4, 4, 3))
        return keras.Model(image, keras.layers.Normalization(name="pixels")(image))

    x = rng.normal(30, 7, size=(16, 4, 4, 3)).astype("float32")
    model, source = network(), network()
    source.get_layer("pixels").adapt(x)
    transfer_weights(model, source)
    y = keras.ops.convert_to_numpy(model(x))
    expected = (x - x.mean((0, 1, 2))) / x.std((0, 1, 2))
    np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-4)


def test_attention_and_classes_are_new(rng):
    model, source = network(7, "cbam_block(start='identity')"), network(10)
    before = [w.copy() for w in model.get_layer("logits").get_weights()]
    transfer = transfer_weights(model, source)
    assert transfer.attention == [f"stage{n}_block1_attention" for n in (1, 2, 3)]
    assert transfer.classifier
    assert "logits" not in transfer.taken
    for now, then in zip(model.get_layer("logits").get_weights(), before, strict=True):
        np.testing.assert_array_equal(now, then)
    x = rng.uniform(size=(2, 32, 32, 3)).astype("float32")
    features = (keras.Model(m.inputs, m.get_layer("avg_pool").output) for m in (model, source))
    np.testing.assert_allclose(*(f.predict_on_batch(x) for f in features), rtol=1e-5)


@pytest.mark.parametrize(
    ("own", "other", "message"),
    [
        ({"depth": 14}, {}, "stage1_block2_conv1 is 3x3x16x16 here and not there"),
        ({}, {"depth": 14}, "is there only; .* and [0-9]+ more"),
        ({}, {"attention": "se_block"}, "stage1_block1_attention is there only"),
        (
            {"attention": "se_block(ratio=4)"},
            {"attention": "se_block"},
            "stage1_block1_attention is 16x4, 4, 4x16, 16 here and 16x2, 2, 2x16, 16 there",
        ),
        (
            {"attention": "se_block(start='identity')"},
            {"attention": "se_block"},
            "stage1_block1_attention has start='identity' here and start='published' there",
        ),
    ],
)
def test_refuses_other_networks(own, other, message):
    model, source = network(**own), network(**other)
    before = [w.copy() for w in model.get_weights()]
    with pytest.raises(ValueError, match=message):
        transfer_weights(model, source)
    for now, then in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(now, then)


def attended(layer):
    image = keras.Input((4, 4, 8))
    return keras.Model(image, layer(image))


def own_model(activation, image=(4, 4, 8)):
    """A user's module of two layers, whose names Keras numbers."""
    x = keras.Input(image)
    return keras.Model(x, keras.layers.Activation(activation)(keras.layers.Conv2D(8, 1)(x)))


@pytest.mark.parametrize(
    ("own", "other", "text"),
    [
        (CBAM, lambda **names: CBAM(start="authors", **names), ""),
        (CBAM, lambda **names: CBAM(dtype="mixed_bfloat16", trainable=False, **names), ""),
        (CBAM, lambda **names: CBAM(pools=["avg", "max"], **names), ""),
        (CBAM, lambda **names: CBAM(bias_initializer="ones", **names), ""),
        (
            CBAM,
            lambda **names: CBAM(order="parallel", **names),
            "has order='channel_first' here and",
        ),
        (SCSE, lambda **names: SCSE(combine="max", start="half", **names), ""),
        (SimAM, lambda **names: SimAM(e_lambda=0.1, **names), "and e_lambda=0.1 there"),
        (SimAM, lambda **names: IdentityStart(SimAM(), **names), "is SimAM here and IdentityStart"),
        (
            lambda **names: IdentityStart(SE(name="module"), **names),
            lambda **names: IdentityStart(ChannelAttention(name="module"), **names),
            "is SE here and ChannelAttention there",
        ),
        (
            lambda **names: IdentityStart(own_model("relu"), **names),
            lambda **names: IdentityStart(own_model("relu", (None, None, 8)), **names),
            "",
        ),
        (
            lambda **names: IdentityStart(own_model("relu"), **names),
            lambda **names: IdentityStart(own_model("tanh"), **names),
            "has activation='relu' here and activation='tanh' there",
        ),
    ],
)
def test_what_attention_computes_from_the_same_weights(own, other, text):
    model, source = (attended(layer(name="attention")) for layer in (own, other))
    found = attention_differences(model, source)
    assert len(found) == bool(text)
    assert text in "".join(found)
