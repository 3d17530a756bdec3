"""Exported networks: the same probabilities in their own runtimes, plain graphs, complete files."""

import dataclasses
import importlib.util
import json
import shutil
from pathlib import Path

import keras
import numpy as np
import pytest

from main import main
from models.graphs import deep_graphs
from utils.config.settings import TrainSettings
from utils.data.datasets import load_dataset
from utils.data.pixel_statistics import pixel_statistics
from utils.evaluation import export as exporting
from utils.evaluation.evaluate import evaluate
from utils.evaluation.export import check_available
from utils.system.export_formats import EXPORT_FORMATS
from utils.system.files import write_json
from utils.training.setup import build_network

pytestmark = pytest.mark.fast_attention  # no part of which may be exported

BACKEND = keras.backend.backend()
SMALL = {"model": "resnet_v1", "depth": 8}
KERNELS = 9 * (3 * 16 + 2 * 16 * 16 + 16 * 32 + 32 * 32 + 32 * 64 + 64 * 64)  # parameters of it
FAMILIES = [
    SMALL,
    {"model": "resnet_v2", "depth": 11},
    {"model": "resnet", "depth": 18, "width": 0.25},
    {"model": "resnext", "depth": 29, "width": 4},
    {"model": "mobilenet", "alpha": 0.25},
    {"model": "densenet", "depth": 10},
    {"model": "inception_v3"},
    {"model": "inception_resnet_v2"},
]


def make_run(folder, data_dir, **architecture):
    """A run's folder with an untrained network whose batch normalizations have seen data.

    With their initial statistics, deep networks would give all images the same probabilities.
    """
    settings = TrainSettings(dataset="cifar10", data_dir=str(data_dir), **architecture)
    dataset = load_dataset("cifar10", data_dir)
    keras.utils.set_random_seed(0)  # a module's fixture runs before a test's seed is set
    network = build_network(settings, dataset, *pixel_statistics(dataset.x_train))
    for layer in network.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.0  # the statistics are those of the next batch
    with deep_graphs():
        network(dataset.x_train[:40].astype("float32"), training=True)
        folder.mkdir()
        network.save(folder / "best.keras")
    write_json(folder / "config.json", settings.config())
    return folder


@pytest.fixture(scope="module")
def small(cifar10_dir, tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("runs") / "small", cifar10_dir, **SMALL)


@pytest.fixture
def run(small, tmp_path):
    return shutil.copytree(small, tmp_path / "run")


def export(run, name, *words):
    """Exports by the command line; skips formats that need another backend or package."""
    if BACKEND not in EXPORT_FORMATS[name].packages:
        pytest.skip(f"{BACKEND} cannot")
    for package in EXPORT_FORMATS[name].packages[BACKEND]:
        pytest.importorskip(package)
    main(["export", str(run), "--format", name, *words])


def reloaded(run, name):
    """The function that the runtime of an exported network computes."""
    format = EXPORT_FORMATS[name]
    written = target(run, name)
    return format.reload(written / format.file if format.is_folder else written)


def target(run, name):
    return run / EXPORT_FORMATS[name].target


def assert_same_probabilities(run, name, data_dir):
    """Independent of the exporter's own comparison: other batches, one image after the other."""
    images = load_dataset("cifar10", data_dir).x_test[:7].astype("float32")
    expected = keras.saving.load_model(run / "best.keras").predict(images, verbose=0)
    assert np.ptp(expected, axis=0).max() > 0.01  # the images matter
    assert expected.max() < 0.99999
    predict = reloaded(run, name)
    np.testing.assert_allclose(predict(images), expected, atol=1e-4)
    np.testing.assert_allclose(predict(images[2:3]), expected[2:3], atol=1e-4)


def check_plain(run, name):
    """Nothing in the graph but the format's own operations."""
    if name == "savedmodel":
        assert_plain_savedmodel(target(run, name))
    elif name == "onnx":
        assert_plain_onnx(target(run, name))
    elif name == "torch":
        assert_plain_torch(target(run, name))


def assert_plain_savedmodel(path):
    import tensorflow as tf
    from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

    saved = SavedModel.FromString((path / "saved_model.pb").read_bytes())
    graph = saved.meta_graphs[0].graph_def
    functions = graph.library.function
    nodes = [*graph.node, *(node for function in functions for node in function.node_def)]
    assert {"Conv2D", "Softmax"} <= {node.op for node in nodes}
    for node in nodes:
        assert hasattr(tf.raw_ops, node.op), node.op
        assert not node.op.startswith(("Xla", "PyFunc", "EagerPyFunc")), node.op
    for holder in (*nodes, *functions):
        assert not holder.attr["_XlaMustCompile"].b, holder


def assert_plain_onnx(path):
    import onnx

    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    assert {node.domain for node in model.graph.node} <= {"", "ai.onnx"}
    assert not model.functions


def assert_plain_torch(path):
    import torch

    nodes = torch.export.load(path).graph.nodes
    called = {str(node.target) for node in nodes if node.op == "call_function"}
    assert {name.split(".")[0] for name in called} <= {"aten", "<built-in function getitem>"}


@pytest.mark.parametrize("name", EXPORT_FORMATS)
def test_small_network(run, name, cifar10_dir, capsys):
    export(run, name, "--rounds", "1")
    said = capsys.readouterr().out
    assert f"written: {target(run, name)}" in said
    assert "latency with batch 5: " in said
    written = target(run, name)
    report = json.loads((run / f"{written.name}.json").read_text())
    assert report["difference"] <= 1e-4
    assert report["latency"].keys() == {"1", "5"}
    assert report["bytes"] > 4 * KERNELS
    assert {path.name for path in run.iterdir()} == {
        "config.json",
        "best.keras",
        written.name,
        f"{written.name}.json",
    }
    assert_same_probabilities(run, name, cifar10_dir)
    check_plain(run, name)


@pytest.mark.long
@pytest.mark.parametrize("name", EXPORT_FORMATS)
@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family["model"])
def test_every_family(family, name, cifar10_dir, tmp_path):
    if BACKEND not in EXPORT_FORMATS[name].packages:
        pytest.skip(f"{BACKEND} cannot")
    run = make_run(tmp_path / "run", cifar10_dir, **family)
    export(run, name, "--rounds", "0")
    assert_same_probabilities(run, name, cifar10_dir)
    check_plain(run, name)


@pytest.mark.long
def test_int8(run, cifar10_dir, capsys):
    export(run, "litert", "--int8", "--rounds", "0")
    assert "test accuracy" in capsys.readouterr().out
    report = json.loads((run / "best-int8.tflite.json").read_text())
    assert 1e-6 < report["difference"] < 1
    assert report["bytes"] < 2 * KERNELS
    dataset = load_dataset("cifar10", cifar10_dir)
    network = keras.saving.load_model(run / "best.keras")
    assert report["keras_accuracy"] == evaluate(network, dataset).accuracy
    predict = EXPORT_FORMATS["litert"].reload(run / "best-int8.tflite")
    probabilities = predict(dataset.x_test.astype("float32"))
    accuracy = np.mean(probabilities.argmax(axis=-1) == dataset.y_test)
    assert report["accuracy"] == pytest.approx(accuracy, abs=0.03)
    expected = network.predict(dataset.x_test, verbose=0)
    assert np.corrcoef(probabilities.ravel(), expected.ravel())[0, 1] > 0.8


def refused(run, capsys, *words):
    """The one line with which the command line refuses; the run's folder is unchanged."""
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    capsys.readouterr()
    with pytest.raises(SystemExit) as end:
        main(["export", str(run), *words])
    assert end.value.code == 2
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before
    assert not [path.name for path in run.iterdir() if "partial" in path.name]
    err = capsys.readouterr().err
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    return err


@pytest.fixture
def faked(monkeypatch):
    """Every format is available; exporting writes `content`, and nothing is converted."""

    class Fake:
        content = b"whole"
        error = None
        shift = 0.0

    def write(network, path, *_, **__):
        path = Path(path)
        (path / "saved_model.pb" if path.is_dir() else path).write_bytes(Fake.content)
        if Fake.error:
            raise Fake.error
        Fake.network = network

    def reload(path):
        return lambda images: keras.ops.convert_to_numpy(Fake.network(images)) + Fake.shift

    for name, format in EXPORT_FORMATS.items():
        changed = {"packages": {BACKEND: ()}, "reload": reload, "options": dict}
        monkeypatch.setitem(exporting.EXPORT_FORMATS, name, dataclasses.replace(format, **changed))
    monkeypatch.setattr(keras.Model, "export", write)
    monkeypatch.setattr(exporting, "COMPARED_IMAGES", 5)
    return Fake


@pytest.mark.once
@pytest.mark.parametrize("name", ["onnx", "savedmodel"])
def test_what_does_not_agree_is_not_written(run, faked, name, capsys):
    image = keras.Input((32, 32, 3))
    pooled = keras.layers.GlobalAveragePooling2D()(image)
    keras.Model(image, keras.layers.Dense(10, "softmax")(pooled)).save(run / "best.keras")
    words = ["--format", name, "--rounds", "0"]
    faked.shift = 2e-4
    assert "differ by 2.0e-04 from Keras's; at most 1e-04" in refused(run, capsys, *words)
    faked.shift = np.nan
    assert "differ by nan" in refused(run, capsys, *words)
    faked.shift = 5e-5
    main(["export", str(run), *words])
    assert target(run, name).exists()
    faked.content, faked.error = b"half", RuntimeError("no such\noperation")
    assert f"exporting to {name} failed: no such\n" in refused(run, capsys, *words)
    faked.content, faked.error = b"new", None
    main(["export", str(run), *words])
    written = target(run, name)
    assert (written / "saved_model.pb" if written.is_dir() else written).read_bytes() == b"new"
    assert len(list(run.iterdir())) == 4


@pytest.mark.once
def test_the_limit_of_int8_is_its_own(run, faked, capsys):
    image = keras.Input((32, 32, 3))
    pooled = keras.layers.GlobalAveragePooling2D()(image)
    keras.Model(image, keras.layers.Dense(10, "softmax")(pooled)).save(run / "best.keras")
    words = ["--format", "litert", "--int8", "--rounds", "0"]
    faked.shift = 1.5
    assert "from Keras's; at most 1 is allowed; try" in refused(run, capsys, *words)
    faked.shift = np.nan
    assert "differ by nan from Keras's; some are not numbers; try" in refused(run, capsys, *words)


@pytest.mark.parametrize("name", ["onnx", "savedmodel"])
def test_pixels_are_normalized_in_a_model_inside(run, name, cifar10_dir):
    image = keras.Input((32, 32, 3))
    scaled = keras.layers.Normalization(mean=[120, 110, 100], variance=[3600, 3000, 2500])(image)
    x = keras.layers.Conv2D(8, 3, 8)(keras.Model(image, scaled, name="scaled")(image))
    x = keras.layers.Dense(10, "softmax")(keras.layers.Flatten()(x))
    keras.Model(image, x).save(run / "best.keras")
    export(run, name, "--rounds", "0")
    assert_same_probabilities(run, name, cifar10_dir)
    check_plain(run, name)


@pytest.mark.parametrize("name", ["onnx", "savedmodel"])
def test_augmentation_inside_the_network_is_left_out(run, name, cifar10_dir):
    """As in Keras's tutorials; a random layer is in training where nothing says otherwise."""
    image = keras.Input((32, 32, 3))
    x = keras.layers.RandomFlip("horizontal")(keras.layers.Rescaling(1 / 64)(image))
    x = keras.layers.Conv2D(8, 3, 8)(keras.layers.RandomTranslation(0.2, 0.2)(x))
    x = keras.layers.Dense(10, "softmax")(keras.layers.Flatten()(x))
    keras.Model(image, x).save(run / "best.keras")
    export(run, name, "--rounds", "0")
    assert_same_probabilities(run, name, cifar10_dir)


@pytest.mark.once
def test_refusals(run, faked, capsys, tmp_path):
    assert "--int8 is for --format litert only; received onnx" in refused(
        run, capsys, "--format", "onnx", "--int8"
    )
    names = ", ".join(EXPORT_FORMATS)
    assert f"must be one of {names}; received 'caffe'" in refused(run, capsys, "--format", "caffe")
    (run / "best.keras").write_bytes(b"nonsense")
    assert "best.keras cannot be exported: " in refused(run, capsys)
    shutil.rmtree(run)
    run.mkdir()
    assert "must be the folder of a run" in refused(run, capsys)


def test_what_a_backend_cannot():
    for name, format in EXPORT_FORMATS.items():
        if BACKEND not in format.packages:
            with pytest.raises(ValueError, match=f"{BACKEND} cannot export to {name}; --backend "):
                check_available(name)


def test_what_is_not_installed(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    for name, format in EXPORT_FORMATS.items():
        if format.packages.get(BACKEND):
            with pytest.raises(ValueError, match=f"to {name} needs .*: pip install .*{name}"):
                check_available(name)
