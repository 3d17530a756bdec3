"""`.keras` files: what was saved comes back, and nothing else gets in."""

import io
import json
import zipfile

import h5py
import keras
import numpy as np
import pytest

from models import build_model
from models.attention_module import cbam_block
from models.saving import load_model
from tests.processes import run_python


@pytest.fixture
def path(tmp_path):
    """A small network that is saved."""
    image = keras.Input((8, 8, 1))
    x = keras.layers.Conv2D(8, 3, padding="same", name="conv")(image)
    x = cbam_block(keras.layers.BatchNormalization()(x))
    x = keras.layers.Dropout(0.5)(keras.layers.GlobalAveragePooling2D()(x))
    model = keras.Model(image, keras.layers.Dense(3, name="dense")(x))
    model.save(tmp_path / "small.keras")
    return tmp_path / "small.keras"


def rewrite(path, change, compression=zipfile.ZIP_STORED):
    """Writes the archive anew, after `change` has had the dictionary of what is in it."""
    with zipfile.ZipFile(path) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    change(files)
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in files.items():
            archive.writestr(name, content)


def refused(path, message):
    with pytest.raises(ValueError, match=rf"small\.keras .*{message}"):
        load_model(path)
    assert [file.name for file in path.parent.iterdir()] == ["small.keras"]


def test_comes_back(path, rng):
    x = rng.random((2, 8, 8, 1)).astype("float32")
    expected = keras.saving.load_model(path).predict(x, verbose=0)
    np.testing.assert_allclose(load_model(path).predict(x, verbose=0), expected, rtol=1e-5)
    rewrite(path, lambda files: None, zipfile.ZIP_DEFLATED)
    np.testing.assert_allclose(load_model(path).predict(x, verbose=0), expected, rtol=1e-5)


@pytest.mark.once
def test_a_lambda_is_named(tmp_path):
    image = keras.Input((4, 4, 1))
    keras.Model(image, keras.layers.Lambda(lambda x: 2 * x)(image)).save(tmp_path / "small.keras")
    refused(tmp_path / "small.keras", "holds a Python lambda, which is code and is not loaded")


@pytest.mark.once
def test_a_layer_of_ones_own_is_named(tmp_path):
    class Mine(keras.layers.ReLU):
        pass

    image = keras.Input((4, 4, 1))
    keras.Model(image, Mine()(image)).save(tmp_path / "small.keras")
    refused(tmp_path / "small.keras", "holds 'Mine', which Keras does not know; decorate it")


@pytest.mark.once
@pytest.mark.parametrize(
    "order", ["models, keras", pytest.param("keras, models", marks=pytest.mark.long)]
)
def test_importing_the_package_registers_its_layers(order, path):
    script = f"import sys, {order}; print(keras.saving.load_model(sys.argv[1]).name)"
    done = run_python("-c", script, path)
    assert done.returncode == 0, done.stderr
    assert run_python("-c", "import models, sys; assert 'keras' not in sys.modules").stderr == ""


@pytest.mark.once
def test_bombs(path):
    whole = path.read_bytes()
    rewrite(path, lambda files: files.update({"a": bytes(2**27)}), zipfile.ZIP_DEFLATED)
    refused(path, "unpacks to 1342")
    path.write_bytes(whole)

    def claim_a_shape(files):
        file = io.BytesIO(files["model.weights.h5"])
        with h5py.File(file, "a") as store:
            del store["layers/conv2d/vars/0"]
            group = store["layers/conv2d/vars"]
            group.create_dataset("0", shape=(2**29,), chunks=(2**16,), compression="gzip")
        files["model.weights.h5"] = file.getvalue()

    rewrite(path, claim_a_shape)
    refused(path, "its arrays claim 21474")


def test_networks_larger_than_their_file(path):
    for units in (10**9, 10**14, 2**62, 10**30):

        def ask_for_more(files, units=units):
            config = json.loads(files["config.json"])
            (dense,) = (layer for layer in config["config"]["layers"] if layer["name"] == "dense")
            dense["config"]["units"] = units
            files["config.json"] = json.dumps(config)

        rewrite(path, ask_for_more)
        refused(path, "it is too small for")


@pytest.mark.once
def test_damage(path):
    whole = bytearray(path.read_bytes())
    for place in range(100, len(whole) - 600, 997):
        damaged = whole.copy()
        damaged[place] ^= 16
        path.write_bytes(damaged)
        refused(path, "")
        path.write_bytes(whole[:place])
        refused(path, "")


CONFIGS = {
    "null": "",
    "{}": "it holds a dict",
    '{"class_name": "Dense", "config": {"units": 3}, "module": "keras.layers"}': "holds a Dense",
    '{"class_name": "Lambda", "config": {"name": "l", "function": {"class_name": "__lambda__", '
    '"config": {"value": "x"}}}, "module": "keras.layers"}': "lambda",
    '{"class_name": "function", "config": "system", "module": "os"}': "",
    '{"class_name": "function", "config": "get_file", "module": "keras.utils"}': "",
    "[" * 10**5: "recursion",
    '{"a":' * 990 + "1" + "}" * 990: "",
}


@pytest.mark.once
def test_other_things_than_networks(path):
    for config, message in CONFIGS.items():
        rewrite(path, lambda files, config=config: files.update({"config.json": config}))
        refused(path, message)
    rewrite(path, lambda files: files.pop("config.json"))
    refused(path, "config.json")


@pytest.mark.once
def test_nothing_goes_outside(path):
    rewrite(path, lambda files: files.update({"../../outside": b"a", "assets/b": b"b"}))
    refused(path, "Skipping invalid path")
    assert not (path.parents[1] / "outside").exists()
    path.rename(path.with_suffix(".h5"))
    with pytest.raises(ValueError, match=r"small\.h5 is no \.keras file"):
        load_model(path.with_suffix(".h5"))


def test_more_layers_than_a_network_has(tmp_path):
    """Keras would build them for minutes before it fails."""
    layers = [{"class_name": "ReLU", "config": {"name": f"r{n}"}} for n in range(20_000)]
    config = {"class_name": "Functional", "config": {"layers": layers}}
    path = tmp_path / "many.keras"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("config.json", json.dumps(config))
        archive.writestr("metadata.json", "{}")
        with h5py.File(archive_member := tmp_path / "weights.h5", "w"):
            pass
        archive.write(archive_member, "model.weights.h5")
    with pytest.raises(ValueError, match="it has more than 10000 layers"):
        load_model(path)


def weights_from(path, attention):
    return build_model("resnet_v1", depth=8, attention_module=attention, weights=path)


@pytest.mark.once
@pytest.mark.parametrize(
    ("attention", "message"),
    [
        ("se_block(ratio=4, start='identity')", "has start='identity' here and start='published'"),
        ("channel_attention(ratio=4)", "is ChannelAttention here and SE there"),
        (
            "se_block(ratio=4, activation='gelu')",
            "has activation='gelu' here and activation='relu'",
        ),
    ],
)
def test_weights_that_would_mean_something_else(attention, message, tmp_path):
    """All weights have the same names and shapes."""
    build_model("resnet_v1", depth=8, attention_module="se_block(ratio=4)").save(
        tmp_path / "small.keras"
    )
    with pytest.raises(ValueError, match=rf"small\.keras .*stage1_block1_attention {message}"):
        weights_from(tmp_path / "small.keras", attention)


@pytest.mark.once
def test_weights_that_mean_the_same(tmp_path, rng):
    attention = "se_block(ratio=4, start='half', kernel_regularizer='l2')"
    model = build_model("resnet_v1", depth=8, attention_module=attention)
    model.save(tmp_path / "small.keras")
    again = weights_from(tmp_path / "small.keras", "se_block(ratio=4)")
    x = rng.random((2, 32, 32, 3)).astype("float32")
    np.testing.assert_array_equal(*(m.predict(x, verbose=0) for m in (model, again)))
