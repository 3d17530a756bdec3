"""Models that attention is put into, and what is compared before and after."""

import keras
import numpy as np
from keras import layers, ops

from models.private_api import all_layers


def numpy(x):
    return ops.convert_to_numpy(ops.cast(x, "float32"))


def assert_same_outputs(old, new, x, atol=1e-6, **options):
    wanted, got = (keras.tree.flatten(model(x, **options)) for model in (old, new))
    for a, b in zip(wanted, got, strict=True):
        assert np.std(numpy(a)) > 100 * atol, "a constant output would hide everything"
        np.testing.assert_allclose(numpy(b), numpy(a), atol=atol, rtol=1e-6)


def attention_of(model):
    found = [layer for layer in all_layers(model) if "_attention" in layer.name]
    assert found
    return found


def attended(model):
    return {layer.name.split("_attention")[0] for layer in attention_of(model)}


def images(rng, count=4, size=(12, 10, 3)):
    return rng.normal(size=(count, *size)).astype("float32")


def small_model(channels=8, name="small"):
    """Two residual blocks on a stem, with batch normalization and a classifier."""
    x = inputs = keras.Input((12, 10, 3), name="image")
    x = layers.Conv2D(channels, 3, padding="same", name="stem")(x)
    for block in ("a", "b"):
        y = layers.Conv2D(channels, 3, padding="same", name=f"{block}_conv")(x)
        y = layers.BatchNormalization(name=f"{block}_norm")(y)
        x = layers.Add(name=f"{block}_add")([x, y])
        x = layers.ReLU(name=f"{block}_out")(x)
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    return keras.Model(inputs, layers.Dense(5, name="logits")(x), name=name)


def residual_scale(x, name=None):
    """A user's own module: several layers, of which none bears the name, no gate."""
    y = layers.Conv2D(x.shape[-1], 1)(x)
    y = layers.BatchNormalization()(y)
    return layers.Add()([x, layers.Conv2D(x.shape[-1], 3, padding="same", activation="tanh")(y)])


def complicated_model():
    """Nested models, two inputs and outputs in dictionaries, layers that are called repeatedly."""
    inner_in = keras.Input((12, 10, 6))
    conv = layers.Conv2D(6, 3, padding="same", name="twice")
    y = conv(conv(inner_in))
    inner = keras.Model(inner_in, [y, layers.GlobalMaxPooling2D()(y)], name="inner")
    chain = keras.Sequential(
        [keras.Input((12, 10, 6)), layers.Conv2D(4, 1, name="in_chain"), layers.ReLU()],
        name="chain",
    )
    image = keras.Input((12, 10, 3), name="image")
    numbers = keras.Input((4,), name="numbers")
    relu = layers.ReLU(name="relu")
    x = relu(layers.Conv2D(6, 3, padding="same", name="stem")(image))
    first, pooled = inner(x)
    second, _ = inner(ops.tanh(first), training=False)
    x = relu(chain(second + first))
    side = layers.Dense(6, name="side")(numbers)
    vector = layers.Concatenate(name="join")([layers.GlobalAveragePooling2D()(x), side, pooled])
    outputs = {"map": x, "class": layers.Dense(3, name="class")(vector)}
    return keras.Model({"image": image, "numbers": numbers}, outputs, name="complicated")
