"""Which layers freeze and how fast the others learn, where a network has models in it."""

import keras
import numpy as np
import pytest
from keras import layers

from models import build_model
from models.transfer import layers_by_path, transfer_weights
from utils.config.settings import TrainSettings
from utils.system.errors import UserError
from utils.training.fine_tuning import frozen_layers, rates_of

pytestmark = pytest.mark.once

SHAPE = (16, 16, 3)


@pytest.fixture
def path(tmp_path):
    """A file as transfer learning makes them: a pretrained model as a layer of another."""
    x = image = keras.Input(SHAPE)
    for name in ("one", "two"):
        branch = layers.Conv2D(3, 3, padding="same", name=name)(x)
        x = layers.Add(name=f"{name}_add")([x, branch])
    base = keras.Model(image, x, name="base")
    image = keras.Input(SHAPE)
    features = layers.GlobalAveragePooling2D()(base(layers.Rescaling(1 / 255)(image)))
    file = tmp_path / "nested.keras"
    keras.Model(image, layers.Dense(4, activation="softmax")(features)).save(file)
    return str(file)


@pytest.fixture
def network(path):
    return build_model(path, input_shape=SHAPE, classes=4, attention_module="se_block")


def settings(path, **options):
    return TrainSettings(model=path, epochs=2, **options)


def test_layers_by_path(network):
    found = layers_by_path(network)
    assert {"base/one", "base/two_add_attention", "logits"} <= found.keys()
    assert "base" not in found
    assert found["base/one"] is network.get_layer("base").get_layer("one")


def test_attention_in_a_frozen_model_learns(path, network):
    for layer in frozen_layers(network, settings(path, freeze="backbone")):
        layer.trainable = False
    learning = {variable.path.split("/")[-1] for variable in network.trainable_variables}
    attention = network.get_layer("base").get_layer("one_add_attention")
    assert len(network.trainable_variables) == 2 * len(attention.weights) + 2
    assert not network.get_layer("base").get_layer("one").trainable_variables
    assert learning == {"kernel", "bias"}


def test_freezing_until_a_layer_of_a_model_inside(path, network):
    frozen = frozen_layers(network, settings(path, freeze_until="base/one"))
    assert frozen[-1] is network.get_layer("base").get_layer("one")
    with pytest.raises(UserError, match="did you mean 'base/two'"):
        frozen_layers(network, settings(path, freeze_until="base/too"))


def test_rates_inside_a_model(path, network):
    rates = rates_of(network, network, settings(path, backbone_rate=0.5, attention_rate=0.1))
    base = network.get_layer("base")
    parts = {name: base.get_layer(f"{name}_add_attention") for name in ("one", "two")}
    of_attention = {id(v) for part in parts.values() for v in part.trainable_variables}
    assert len(of_attention) == 8
    for variable, rate in zip(network.trainable_variables, rates, strict=True):
        if id(variable) in of_attention:
            assert rate == 0.1
        else:
            assert rate == (1.0 if "logits" in variable.path else 0.5)


def test_attention_in_a_model_inside_is_new(path, network, rng):
    source = build_model(path, input_shape=SHAPE, classes=4)
    for weight in source.trainable_weights:
        weight.assign(rng.normal(size=weight.shape))
    transfer = transfer_weights(network, source)
    assert transfer.attention == ["base/one_add_attention", "base/two_add_attention"]
    x = rng.uniform(0, 255, (3, *SHAPE)).astype("float32")
    np.testing.assert_allclose(
        network.predict(x, verbose=0), source.predict(x, verbose=0), rtol=1e-4, atol=1e-5
    )
