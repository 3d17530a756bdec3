"""The packing of trained weights that are shipped."""

import json

import keras
import numpy as np
import pytest

import models.pretrained
from main import main
from models import trained_model
from utils.data.datasets import load_dataset
from utils.evaluation import packing

pytestmark = pytest.mark.once


def test_packed_weights_are_those_of_the_run_in_float16(cifar10_dir, tmp_path, monkeypatch):
    run, place = tmp_path / "run", tmp_path / "trained"
    main([
        "train", "--data-dir", str(cifar10_dir), "--depth", "8", "--attention", "se_block(ratio=4)",
        "--epochs", "1", "--batch-size", "20", "--precision", "float32", "--run-dir", str(run),
    ])  # fmt: skip
    place.mkdir()
    (place / "index.json").write_text("{}")
    for module in (packing, models.pretrained):
        monkeypatch.setattr(module, "FOLDER", place)
        monkeypatch.setattr(module, "INDEX", place / "index.json")
    models.pretrained.trained_weights.cache_clear()
    said = []
    try:
        packing.pack_weights([run], announce=said.append)
        (name,) = models.list_weights()
        packed = trained_model(name)
    finally:
        models.pretrained.trained_weights.cache_clear()
    assert name == "cifar10/resnet_v1-8-se_block-ratio4"
    assert said[-1].startswith(f"{name}: 0.")
    images = load_dataset("cifar10", str(cifar10_dir)).x_test.astype("float32")
    probabilities = packed.predict(images, verbose=0)
    entry = json.loads((place / "index.json").read_text())[name]
    correct = probabilities.argmax(axis=-1) == np.arange(40) % 10
    assert entry["test_accuracy"] == pytest.approx(correct.mean())
    assert entry["recipe"]["batch_size"] == 20
    own = keras.saving.load_model(run / "best.keras", compile=False)
    for layer in own.layers:
        if layer.weights and layer.name != "normalization":
            layer.set_weights([w.astype("float16").astype("float32") for w in layer.get_weights()])
    np.testing.assert_allclose(probabilities, own.predict(images, verbose=0), atol=1e-5)
