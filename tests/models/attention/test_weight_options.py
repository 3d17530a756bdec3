"""Initializers and regularizers of every module, and the activation of those that have one."""

import keras
import numpy as np
import pytest

from models.attention.registry import _LAYERS, attention_options
from models.attention_module import (
    CBAM,
    CSE,
    SCSE,
    SE,
    ChannelAttention,
    attach_attention_module,
    list_attention,
)
from models.private_api import all_layers
from models.saving import load_model

pytestmark = pytest.mark.once

WITH_KERNELS = [name for name in list_attention() if _LAYERS[name].has_kernels]
WITHOUT = [name for name in list_attention() if name not in WITH_KERNELS]


def attended(name, **options):
    if name == "ge_block":  # which has none otherwise
        options["extra_params"] = True
    image = keras.Input((8, 8, 16))
    return keras.Model(image, attach_attention_module(image, name, name="attention", **options))


def kernels_of(model):
    """The kernels of dense layers and convolutions in a module."""
    return [
        layer.kernel
        for layer in all_layers(model.get_layer("attention"))
        if isinstance(layer, (keras.layers.Dense, keras.layers.Conv1D, keras.layers.Conv2D))
        or type(layer).__name__ == "DepthwiseConv2D"
    ]


@pytest.mark.parametrize("name", WITH_KERNELS)
def test_all_kernels_are_initialized_and_penalized(name, tmp_path):
    usual = attended(name)
    options = {"kernel_initializer": "ones", "kernel_regularizer": keras.regularizers.L2(0.5)}
    model = attended(name, **options)
    pairs = list(zip(kernels_of(usual), kernels_of(model), strict=True))
    assert pairs
    for before, after in pairs:  # those that start at zero do so for a reason
        expected = np.any(keras.ops.convert_to_numpy(before)) * 1.0
        np.testing.assert_array_equal(keras.ops.convert_to_numpy(after), expected)
    total = sum(np.sum(keras.ops.convert_to_numpy(kernel) ** 2) for _, kernel in pairs)
    np.testing.assert_allclose(
        keras.ops.convert_to_numpy(sum(model.losses)), 0.5 * total, rtol=1e-5
    )
    model.save(tmp_path / "model.keras")
    copy = load_model(tmp_path / "model.keras")
    assert copy.get_layer("attention").weight_options == model.get_layer("attention").weight_options
    assert len(copy.losses) == len(model.losses)


def test_no_option_counts_as_one_object_with_another(monkeypatch):
    """Keras marks an option where its memory was another's before, and would load that one."""
    mark = {"shared_object_id": 1}
    serialize = keras.regularizers.serialize
    monkeypatch.setattr(keras.regularizers, "serialize", lambda of: {**serialize(of), **mark})
    initializer = {**keras.initializers.serialize(keras.initializers.Ones()), **mark}
    layer = CBAM(kernel_initializer=initializer, kernel_regularizer=keras.regularizers.L2(0.5))
    assert layer.weight_options.keys() == {"kernel_initializer", "kernel_regularizer"}
    assert "shared_object_id" not in str(layer.get_config())


@pytest.mark.parametrize("name", WITH_KERNELS)
def test_biases_are_initialized(name):
    model = attended(name, bias_initializer=keras.initializers.Constant(0.25))
    for layer in all_layers(model.get_layer("attention")):
        if getattr(layer, "bias", None) is not None:
            # a layer that starts at zero does so with its bias
            expected = 0.25 if np.any(kernel_of(layer)) else 0
            np.testing.assert_array_equal(keras.ops.convert_to_numpy(layer.bias), expected)


def kernel_of(layer):
    kernel = getattr(layer, "depthwise_kernel", None)
    return keras.ops.convert_to_numpy(layer.kernel if kernel is None else kernel)


@pytest.mark.parametrize("name", [n for n in WITH_KERNELS if "start" in attention_options(n)])
def test_no_initializer_changes_the_identity(name, rng):
    ones = {"kernel_initializer": "ones", "bias_initializer": "ones"}
    x = rng.normal(size=(2, 8, 8, 16)).astype("float32")
    y = attended(name, start="identity", **ones)(x)
    np.testing.assert_allclose(keras.ops.convert_to_numpy(y), x, rtol=1e-6)


@pytest.mark.parametrize("name", WITHOUT)
def test_a_module_without_kernels_refuses_them(name):
    assert not kernels_of(attended(name))
    with pytest.raises(ValueError, match="kernel_initializer"):
        attended(name, kernel_initializer="ones")


class Twos(keras.initializers.Initializer):
    """Not registered in Keras."""

    def __call__(self, shape, dtype=None):
        return 2 * keras.ops.ones(shape, dtype)

    def get_config(self):
        return {}


def twos(shape, dtype=None):
    return Twos()(shape, dtype)


@pytest.mark.parametrize("initializer", [twos, Twos(), Twos])
def test_options_that_keras_cannot_load_can_be_trained_with(initializer):
    options = {"kernel_initializer": initializer, "kernel_regularizer": lambda x: keras.ops.sum(x)}
    model = attended("cbam_block", **options)
    for kernel in kernels_of(model):
        np.testing.assert_array_equal(keras.ops.convert_to_numpy(kernel), 2)
    sizes = [keras.ops.size(kernel) for kernel in kernels_of(model)]
    assert float(sum(model.losses)) == 2 * sum(map(int, sizes))
    assert "kernel_initializer" in model.get_layer("attention").get_config()


def test_options_of_keras_are_known_by_name_too():
    spec = "se_block(dtype='float64', trainable=False, activity_regularizer='l2')"
    layer = attended(spec).get_layer("attention")
    assert (layer.dtype, layer.trainable, layer.reduce.trainable) == ("float64", False, False)
    assert layer.activity_regularizer is not None


def test_two_layers_draw_their_own_weights():
    initializer = keras.initializers.RandomNormal()
    one, other = (kernels_of(attended("se_block", kernel_initializer=initializer)) for _ in "ab")
    assert not np.array_equal(*(keras.ops.convert_to_numpy(part[0]) for part in (one, other)))


@pytest.mark.parametrize(
    "layer", [ChannelAttention, SE, CSE, lambda **o: SCSE(**o).channel,
              lambda **o: CBAM(**o).channel]
)  # fmt: skip
def test_the_activation_of_the_hidden_layer(layer, rng):
    x = rng.normal(size=(2, 5, 5, 8)).astype("float32")
    made = layer(activation="silu", ratio=2)
    made(x)
    hidden = rng.normal(size=(2, 8)).astype("float32")
    kernel, bias = made.reduce.get_weights()
    logits = hidden @ kernel + bias
    np.testing.assert_allclose(
        keras.ops.convert_to_numpy(made.reduce(hidden)), logits / (1 + np.exp(-logits)), rtol=1e-5
    )
    assert type(made).from_config(made.get_config()).activation is keras.activations.silu


@pytest.mark.fast_attention
def test_the_fast_form_leaves_another_activation_alone(rng):
    x = rng.normal(size=(4, 16, 16, 32)).astype("float32")
    image = keras.Input(x.shape[1:])
    model = keras.Model(image, CBAM(activation="silu", name="attention")(image))
    np.testing.assert_allclose(
        model.predict(x, verbose=0), keras.ops.convert_to_numpy(model(x)), rtol=1e-5
    )
