"""Graphs without models inside: the same outputs and layers."""

import keras
import numpy as np
import pytest

from models.attention_module import se_block
from models.graphs import inlined
from models.private_api import calls, is_functional


def backbone(name="backbone"):
    image = keras.Input((6, 6, 3))
    x = se_block(keras.layers.Conv2D(4, 3, name=f"{name}_conv")(image))
    x = keras.layers.BatchNormalization(name=f"{name}_norm")(x)
    return keras.Model(image, x, name=name)


def nested(base, **call):
    image = keras.Input((6, 6, 3))
    head = keras.Sequential([keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(2)])
    return keras.Model(image, head(base(keras.layers.Rescaling(2.0)(image), **call)))


@pytest.fixture
def images(rng):
    return rng.normal(size=(3, 6, 6, 3)).astype("float32")


@pytest.mark.parametrize("call", [{}, {"training": False}])
def test_computes_the_same_with_the_same_layers(call, images):
    base = backbone()
    model = nested(base, **call)
    found = inlined(model)
    assert not any(is_functional(node.operation) for node in calls(found))
    assert base.get_layer("backbone_conv") in found.layers
    base.get_layer("backbone_conv").bias.assign(np.arange(4))
    np.testing.assert_allclose(
        keras.ops.convert_to_numpy(found(images)),
        keras.ops.convert_to_numpy(model(images)),
        rtol=1e-6,
    )


def test_models_in_models_and_several_calls(images):
    inner = backbone()
    middle = keras.Sequential([keras.Input((6, 6, 3)), inner], name="middle")
    one, other = keras.Input((6, 6, 3), name="a"), keras.Input((6, 6, 3), name="b")
    model = keras.Model({"a": one, "b": other}, {"difference": middle(one) - middle(other)})
    found = inlined(model)
    inputs = {"a": images, "b": 2 * images}
    np.testing.assert_allclose(
        keras.ops.convert_to_numpy(found(inputs)["difference"]),
        keras.ops.convert_to_numpy(model(inputs)["difference"]),
        rtol=1e-5,
        atol=1e-6,
    )


def test_a_model_without_models_is_itself():
    model = backbone()
    assert inlined(model) is model


def test_two_layers_of_one_name():
    image = keras.Input((6, 6, 3))
    x = keras.layers.Conv2D(3, 1, padding="same", name="backbone_conv")(image)
    with pytest.raises(ValueError, match="unique"):
        inlined(keras.Model(image, backbone()(x)))
