"""Models change their precision, keep their weights, and are saved in float32."""

import keras
import numpy as np
import pytest

from models import build_model
from models.attention_module import SE, IdentityStart, cbam_block
from models.precision import FLOAT32_LAYERS, as_float32, in_precision, precision_of
from models.private_api import all_layers
from models.saving import load_model, save_model

pytestmark = pytest.mark.once


@pytest.fixture
def mixed():
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        return build_model("resnet_v1", depth=8, attention_module="cbam_block")
    finally:
        keras.config.set_dtype_policy("float32")


def policies(model):
    """The names of layers at any depth, without the input, and their policies."""
    layers = all_layers(model, include_self=False)
    return [(x.name, x.dtype_policy.name) for x in layers if x.name != "image"]


def images(rng):
    return rng.uniform(0, 1, (4, 32, 32, 3)).astype("float32")


def test_saved_as_float32_and_left_as_it_is(mixed, tmp_path):
    before = policies(mixed)
    save_model(mixed, tmp_path / "model.keras")
    assert policies(mixed) == before
    loaded = keras.saving.load_model(tmp_path / "model.keras", compile=False)
    assert {policy for _, policy in policies(loaded)} == {"float32"}
    for ours, saved in zip(mixed.get_weights(), loaded.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, saved)


@keras.saving.register_keras_serializable(package="test_precision")
class Gate(keras.layers.Layer):
    """A layer as others write one: the layers that it makes have no policy of their own."""

    def build(self, shape):
        self.excite = keras.layers.Dense(shape[-1], activation="sigmoid")
        self.excite.build(shape)

    def call(self, x):
        return x * self.excite(x)


@pytest.mark.parametrize("asked", ["float32", "mixed_bfloat16"])
def test_layers_that_a_layer_makes_have_its_precision(asked, tmp_path):
    path = tmp_path / "model.keras"
    image = keras.Input((4, 4, 8))
    save_model(keras.Model(image, Gate()(image)), path)
    for computed_in in ("float32", "mixed_bfloat16"):
        keras.config.set_dtype_policy(computed_in)
        try:
            gate = in_precision(load_model(path), asked).layers[-1]
            assert keras.config.dtype_policy().name == computed_in
        finally:
            keras.config.set_dtype_policy("float32")
        assert (gate.dtype_policy.name, gate.excite.dtype_policy.name) == (asked, asked)

    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        keras.Model(image, Gate()(image)).save(path)  # as Keras alone saves it
    finally:
        keras.config.set_dtype_policy("float32")
    assert load_model(path).layers[-1].excite.dtype_policy.name == "mixed_bfloat16"


def test_the_policy_comes_back_after_an_error(mixed):
    before = policies(mixed)
    with pytest.raises(OSError, match="full"), as_float32(mixed):
        raise OSError("full")
    assert policies(mixed) == before


def test_a_saved_network_computes_again_as_it_was_trained(mixed, tmp_path, rng):
    x = images(rng)
    save_model(mixed, tmp_path / "model.keras")
    loaded = load_model(tmp_path / "model.keras")
    again = in_precision(loaded, "mixed_bfloat16")
    assert (precision_of(loaded), precision_of(again)) == ("float32", "mixed_bfloat16")
    wanted = mixed.predict(x, verbose=0)
    np.testing.assert_array_equal(again.predict(x, verbose=0), wanted)
    in_float32 = loaded.predict(x, verbose=0)
    assert 0 < np.abs(in_float32 - wanted).max() < 0.02  # eight bits of a probability


def test_which_layers_stay_in_float32(mixed):
    found = {layer.name for layer in mixed.layers if layer.dtype_policy.name == "float32"}
    assert found == set(FLOAT32_LAYERS) - {"normalization"}
    gates = mixed.get_layer("stage1_block1_attention")
    assert gates.compute_dtype == "bfloat16"
    inner = [gates.channel.reduce, gates.channel.expand, gates.spatial.conv]
    assert {layer.compute_dtype for layer in inner} == {"float32"}
    assert {w.dtype for w in mixed.weights} == {"float32"}


def test_a_model_in_the_asked_precision_is_not_copied(mixed):
    assert in_precision(mixed, "mixed_bfloat16") is mixed
    again = in_precision(in_precision(mixed, "float32"), "mixed_bfloat16")
    assert policies(again) == policies(mixed)


def test_a_model_of_plain_layers_in_float32(rng):
    def network():
        image = keras.Input((8, 8, 3))
        x = keras.layers.Conv2D(16, 3)(image)
        x = cbam_block(keras.layers.BatchNormalization()(x), name="attention")
        return keras.Model(image, keras.layers.GlobalAveragePooling2D()(x))

    keras.config.set_dtype_policy("mixed_bfloat16")
    mixed = network()
    keras.config.set_dtype_policy("float32")
    plain = network()
    plain.set_weights(mixed.get_weights())
    images = rng.normal(size=(3, 8, 8, 3)).astype("float32")
    converted = in_precision(mixed, "float32")
    np.testing.assert_allclose(converted.predict(images), plain.predict(images), atol=1e-6)
    assert in_precision(plain, "float32") is plain


def nested_network():
    """Models in a model, in a wrapper and in an `IdentityStart`; the first scales pixels."""
    image = keras.Input((8, 8, 3))
    conv, scale = keras.layers.Conv2D(4, 3, padding="same"), keras.layers.Rescaling(1 / 255)
    x = keras.Sequential([keras.Input((8, 8, 3)), scale, conv], name="inner")(image)
    x = IdentityStart(SE(2, name="gate"), name="start")(x)
    own_input = keras.Input((8, 8, 4))
    own = keras.Model(own_input, keras.layers.Conv2D(4, 1, name="own")(own_input))
    x = IdentityStart(own, name="start_of_own")(x)
    film = keras.layers.Reshape((2, 4, 8, 4))(x)
    frame = keras.Input((4, 8, 4))
    each = keras.Model(frame, keras.layers.Conv2D(4, 3, name="frame_conv")(frame))
    return keras.Model(image, keras.layers.TimeDistributed(each)(film))


@pytest.mark.parametrize(
    ("policy", "other"), [("float32", "mixed_bfloat16"), ("mixed_bfloat16", "float32")]
)
def test_models_and_layers_inside_others(policy, other, rng):
    keras.config.set_dtype_policy(policy)
    model = nested_network()
    keras.config.set_dtype_policy("float32")
    for weight in model.trainable_weights:
        weight.assign(weight + 0.3 * rng.normal(size=weight.shape))
    converted = in_precision(model, other)
    found = dict(policies(converted))
    of_gates = {"reduce", "expand"} | {name for name in found if name.startswith("rescaling")}
    assert {found.pop(name) for name in of_gates} == {"float32"}
    assert set(found.values()) == {other}
    for ours, theirs in zip(converted.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    x = 255 * rng.uniform(size=(2, 8, 8, 3)).astype("float32")
    wanted = np.asarray(model.predict(x, verbose=0), "float32")
    got = np.asarray(converted.predict(x, verbose=0), "float32")
    assert 0 < np.abs(got - wanted).max() < 0.05 * np.abs(wanted).max()
