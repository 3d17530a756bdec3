"""`.keras` files with any content: a Keras model, or a refusal."""

import io
import json
import zipfile

import hypothesis
import keras
import pytest
from hypothesis import strategies as st

from models.attention_module import cbam_block
from models.saving import load_model
from tests.fuzz.cases import VALUES, cases, damaged, outcome
from utils.system.errors import UserError

pytestmark = pytest.mark.once


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    """The files in a small `.keras` archive, by name."""
    path = tmp_path_factory.mktemp("network") / "small.keras"
    image = keras.Input((8, 8, 1))
    x = keras.layers.Conv2D(8, 3, padding="same")(image)
    x = cbam_block(keras.layers.BatchNormalization()(x))
    x = keras.layers.Dense(3)(keras.layers.GlobalAveragePooling2D()(x))
    keras.Model(image, x).save(path)
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def packed(files, compression=zipfile.ZIP_STORED):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return file.getvalue()


def changed(data, config):
    """A configuration with one value in it replaced."""
    keys = list(config) if isinstance(config, dict) else range(len(config))
    key = data.draw(st.sampled_from(keys))
    if isinstance(config[key], (dict, list)) and config[key] and data.draw(st.integers(0, 5)):
        config[key] = changed(data, config[key])
    else:
        config[key] = data.draw(VALUES | st.sampled_from(["__lambda__", "Lambda", "keras.ops"]))
    return config


@cases(60)
@hypothesis.given(data=st.data())
def test_network(data, network, tmp_path_factory):
    path = tmp_path_factory.getbasetemp() / "fuzzed.keras"
    files = dict(network)
    match data.draw(st.sampled_from(["archive", "config", "text", "weights"])):
        case "archive":
            path.write_bytes(data.draw(damaged(packed(network))))
        case "config":
            config = changed(data, json.loads(files["config.json"]))
            path.write_bytes(packed({**files, "config.json": json.dumps(config)}))
        case "text":
            text = data.draw(damaged(files["config.json"]))
            path.write_bytes(packed({**files, "config.json": text}))
        case "weights":
            weights = data.draw(damaged(files["model.weights.h5"]))
            path.write_bytes(packed({**files, "model.weights.h5": weights}))
    model = outcome(lambda: loaded(path))
    assert model is None or isinstance(model, keras.Model)


def loaded(path):
    try:
        return load_model(path)
    except ValueError as error:  # commands make it a `UserError`
        raise UserError(str(error)) from None
