"""Attention put into models of every kind: shared layers, nested models, any size, saved ones."""

import keras
import numpy as np
import pytest
from keras import layers
from surgery_models import (
    assert_same_outputs,
    attended,
    attention_of,
    complicated_model,
    images,
    numpy,
    residual_scale,
    small_model,
)

from models.attention_module import CBAM
from models.private_api import all_layers
from models.saving import load_model
from models.surgery import add_attention
from tests.processes import run_python
from utils.system.backend import jit_compile


@pytest.mark.once
@pytest.mark.parametrize(
    ("at", "count"),
    [
        ("twice", 1),  # one layer, two calls, in a model of two calls
        ("inner/twice", 1),
        (["relu", "chain"], 3),  # two calls without weights; a model as a layer
        (lambda layer: layer.name == "in_chain", 1),
        ("add", 1),  # a function of keras.ops
        ("auto", 1),
    ],
)
def test_complicated_graphs(at, count, rng):
    old = complicated_model()
    x = {"image": images(rng), "numbers": rng.normal(size=(4, 4)).astype("float32")}
    new = add_attention(old, "cbam_block", at=at, ratio=2)
    assert set(new.output) == {"map", "class"}
    outermost = [layer for layer in attention_of(new) if type(layer).__name__ == "IdentityStart"]
    assert len(outermost) == count
    assert_same_outputs(old, new, x)
    standard = add_attention(old, "cbam_block", at=at, ratio=2, start="standard")
    assert np.abs(numpy(standard(x)["class"]) - numpy(old(x)["class"])).max() > 1e-4
    old_weights = sum(np.prod(w.shape) for w in old.weights)
    attention = [layer for layer in all_layers(standard) if type(layer) is CBAM]
    assert standard.count_params() == old_weights + sum(a.count_params() for a in attention)


def unet(end):
    """A U-Net of two levels; `end` makes its outputs from the decoder's last map."""
    x = image = keras.Input((12, 12, 3))
    skips = []
    for level in range(2):
        x = layers.Conv2D(4, 3, padding="same", activation="relu", name=f"down{level}")(x)
        skips.append(x)
        x = layers.MaxPooling2D()(x)
    x = layers.Conv2D(4, 3, padding="same", activation="relu", name="middle")(x)
    for level in (1, 0):
        x = layers.Conv2DTranspose(4, 2, strides=2)(x)
        x = layers.Concatenate()([x, skips[level]])
        x = layers.Conv2D(4, 3, padding="same", activation="relu", name=f"up{level}")(x)
    return keras.Model(image, end(x), name="unet")


def mask(x):
    return layers.Conv2D(1, 1, activation="sigmoid", name="mask")(x)


def scores(x):
    x = layers.Conv2D(5, 1, name="scores")(x)
    x = layers.UpSampling2D(2, interpolation="bilinear")(x)
    return layers.Softmax(name="classes")(layers.Reshape((-1, 5))(x))


def two_outputs(x):
    return {"mask": mask(x), "edge": layers.ReLU()(layers.Conv2D(2, 1, name="edge")(x))}


@pytest.mark.once
@pytest.mark.parametrize("end", [mask, scores, two_outputs])
@pytest.mark.parametrize("nested", [False, True])
def test_auto_leaves_outputs_alone(end, nested, rng):
    old = unet(end)
    if nested:
        image = keras.Input((12, 12, 3))
        old = keras.Model(image, old(image))
    new = add_attention(old, "cbam_block", start="standard", ratio=2)
    names = {"down0", "down1", "middle", "up1", "up0"}
    assert {name for name in attended(new) if "/" not in name} - {"module"} == names
    assert new.output_names == old.output_names
    for weight in new.weights:
        weight.assign(10 * rng.normal(size=weight.shape))
    outputs = new(images(rng, size=(12, 12, 3)))
    if end is mask:
        assert 0 <= numpy(outputs).min() < numpy(outputs).max() <= 1


@pytest.mark.once
@pytest.mark.parametrize("kind", ["Functional", "Sequential"])
@pytest.mark.parametrize("at", ["auto", "one", "frames/one"])
def test_inside_time_distributed(at, kind, rng):
    image = keras.Input((12, 10, 3))
    parts = [layers.Conv2D(8, 3, name="one"), layers.GlobalAveragePooling2D()]
    inner = keras.Sequential([image, *parts])
    if kind == "Functional":
        inner = keras.Model(image, parts[1](parts[0](image)))
    film = keras.Input((5, 12, 10, 3))
    x = layers.TimeDistributed(inner, name="frames")(film)
    old = keras.Model(film, layers.Dense(3)(x))
    new = add_attention(old, "cbam_block", at=at, ratio=2)
    names = [layer.name for layer in new.get_layer("frames").layer.layers]
    assert "one_attention" in names
    x = images(rng, 2, (5, 12, 10, 3))
    assert_same_outputs(old, new, x)


@pytest.mark.once
def test_sequential_is_converted(rng):
    old = keras.Sequential(
        [
            keras.Input((12, 10, 3)),
            layers.Conv2D(8, 3, name="one"),
            layers.MaxPooling2D(name="pool"),
            layers.Conv2D(8, 3, name="two"),
            layers.GlobalAveragePooling2D(),
        ]
    )
    new = add_attention(old, "se_block")
    assert attended(new) == {"one", "two"} | {"module"} & attended(new)
    assert not isinstance(new, keras.Sequential)
    x = images(rng)
    assert_same_outputs(old, new, x)
    within = keras.Sequential([keras.Input((12, 10, 3)), new, layers.Dense(2)])
    assert within.output_shape == (None, 2)


@pytest.mark.once
@pytest.mark.parametrize("start", ["identity", "standard"])
def test_images_of_any_size(start, rng):
    x = image = keras.Input((None, None, 3))
    for name in ("first", "second"):
        x = layers.Conv2D(8, 3, strides=2, padding="same", activation="relu", name=name)(x)
    old = keras.Model(image, layers.GlobalAveragePooling2D()(x))
    new = add_attention(old, "cbam_block", at=["first", "second"], start=start)
    assert new.input_shape == (None, None, None, 3)
    for size in ((12, 10, 3), (7, 33, 3), (1, 1, 3)):
        x = images(rng, size=size)
        got = new.predict(x, verbose=0)  # compiled, for sizes that it does not know
        if start == "identity":
            np.testing.assert_allclose(got, old.predict(x, verbose=0), atol=1e-6)
        else:
            np.testing.assert_allclose(got, numpy(new(x)), atol=1e-6)


@pytest.mark.once
def test_state_beyond_weights_is_kept(rng):
    """Statistics and trained values, an adapted normalization, a function that has no config."""
    inputs = keras.Input((12, 10, 3))
    norm = layers.Normalization()
    norm.adapt(rng.normal(3, 5, (20, 12, 10, 3)))
    x = layers.Lambda(lambda x: 2 * x)(norm(inputs))
    old = keras.Model(inputs, layers.BatchNormalization(name="here")(layers.Conv2D(4, 3)(x)))
    old.compile("adam", "mse", jit_compile=jit_compile())
    old.fit(images(rng, 8), np.ones((8, 10, 8, 4)), verbose=0)
    assert_same_outputs(old, add_attention(old, "se_block", at="here"), images(rng))


@pytest.mark.long
@pytest.mark.parametrize("start", ["identity", "standard"])
def test_loads_in_a_fresh_process(start, tmp_path, rng):
    """Safe mode, trained a step, shared layers, and modules of several layers."""
    x = {"image": images(rng), "numbers": rng.normal(size=(4, 4)).astype("float32")}
    np.savez(tmp_path / "x.npz", **x)
    number = 0
    for number, module in enumerate((CBAM(2), residual_scale)):
        model = add_attention(complicated_model(), module, at=["twice", "relu"], start=start)
        model.compile("adam", {"class": "mse", "relu_attention_1": None})
        for weight in model.trainable_weights:
            weight.assign(weight + 0.1 * rng.normal(size=weight.shape))
        model.save(tmp_path / f"{number}.keras")
        again = load_model(tmp_path / f"{number}.keras")
        assert len(again.trainable_weights) == len(model.trainable_weights)
        np.savez(tmp_path / f"{number}.npz", **{k: numpy(v) for k, v in model(x).items()})
    script = (
        "import sys, numpy as np, keras, models.attention_module\n"
        "x = dict(np.load(sys.argv[1] + '/x.npz'))\n"
        f"for number in range({number + 1}):\n"
        "    model = keras.saving.load_model(f'{sys.argv[1]}/{number}.keras', safe_mode=True)\n"
        "    wanted = np.load(f'{sys.argv[1]}/{number}.npz')\n"
        "    for key, value in model.predict(x, verbose=0).items():\n"
        "        np.testing.assert_allclose(value, wanted[key], atol=1e-5)\n"
        "print('all the same')\n"
    )
    done = run_python("-c", script, tmp_path)
    assert done.stdout.strip() == "all the same", done.stderr


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="a SavedModel is TensorFlow's")
def test_exports(tmp_path, rng):
    tf = pytest.importorskip("tensorflow")
    model, x = add_attention(small_model(), "cbam_block", ratio=2), images(rng)
    model.export(tmp_path / "model", verbose=False)
    loaded = tf.saved_model.load(str(tmp_path / "model"))
    np.testing.assert_allclose(numpy(loaded.serve(x)), numpy(model(x)), atol=1e-6)


@keras.saving.register_keras_serializable(package="tests")
class Forgetful(layers.Conv2D):
    def get_config(self):
        return {"name": self.name, "filters": 1, "kernel_size": 1}


@pytest.mark.once
def test_refuses_a_layer_that_forgets_its_arguments():
    inputs = keras.Input((6, 6, 3))
    old = keras.Model(inputs, Forgetful(4, 3, name="here")(inputs))
    with pytest.raises(ValueError, match=r"'here' \(Forgetful\) cannot be copied"):
        add_attention(old, "se_block", at="here")
