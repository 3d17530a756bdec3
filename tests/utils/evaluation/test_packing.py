"""The packing of trained weights that are shipped."""

import json

import keras
import numpy as np
import pytest

import models.pretrained
from main import main
from models import trained_model
from tests.run_folders import write_run
from utils.data.datasets import load_dataset
from utils.evaluation import packing
from utils.system.errors import UserError

pytestmark = pytest.mark.once


@pytest.fixture
def place(tmp_path, monkeypatch):
    """An empty folder in the place of the one that is shipped."""
    place = tmp_path / "trained"
    place.mkdir()
    (place / "index.json").write_text("{}")
    for module in (packing, models.pretrained):
        monkeypatch.setattr(module, "FOLDER", place)
        monkeypatch.setattr(module, "INDEX", place / "index.json")
    return place


def test_packed_weights_are_those_of_the_run_in_float16(cifar10_dir, tmp_path, place):
    run = tmp_path / "run"
    main([
        "train", "--data-dir", str(cifar10_dir), "--depth", "8", "--attention", "se_block(ratio=4)",
        "--epochs", "1", "--batch-size", "20", "--precision", "float32", "--run-dir", str(run),
    ])  # fmt: skip
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


def test_runs_on_other_data_are_refused_before_anything_is_packed(cifar10_dir, tmp_path, place):
    dataset = load_dataset("cifar10", str(cifar10_dir))
    good = write_run(tmp_path / "good", dataset, str(cifar10_dir), attention="none")
    other = write_run(tmp_path / "other", load_dataset("digits", None), attention="none")
    with pytest.raises(UserError, match=r"other was trained on digits; only runs on cifar10"):
        packing.pack_weights([good, other], announce=pytest.fail)
    assert [path.name for path in place.iterdir()] == ["index.json"]


def test_a_failure_leaves_the_runs_before_it_packed(cifar10_dir, tmp_path, place):
    """The index says of every file of weights what it is."""
    dataset = load_dataset("cifar10", str(cifar10_dir))
    runs = [
        write_run(tmp_path / name, dataset, str(cifar10_dir), attention=name)
        for name in ("none", "simam_block")
    ]
    (runs[1] / "best.keras").write_bytes(b"damaged")
    with pytest.raises(UserError, match="damaged or no Keras model"):
        packing.pack_weights(runs, announce=lambda line: None)
    (name,) = json.loads((place / "index.json").read_text())
    assert [place / f"{name}.safetensors"] == list(place.rglob("*.safetensors"))
