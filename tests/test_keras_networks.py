"""Networks of Keras through every command, on a folder of photographs."""

import json

import keras
import numpy as np
import pytest

from main import main
from models.saving import load_model, save_model

pytest.importorskip("grain")
pytestmark = pytest.mark.once

SMALL = "keras.applications/MobileNetV2(alpha=0.35)"


def train(image_folder, run, model, *arguments):
    data = ["--dataset", "folder", "--data-dir", image_folder, "--run-dir", run, "--workers", 0]
    main(["train", *map(str, [*data, "--model", model, *arguments])])


@pytest.fixture(scope="module")
def run(image_folder, tmp_path_factory):
    folder = tmp_path_factory.mktemp("keras") / "run"
    train(
        image_folder, folder, SMALL, "--attention", "eca_block", "--image-size", 32, "--epochs", 1
    )
    return folder


def test_trained_it_is_used_like_any_other(run, image_folder, capsys):
    config = json.loads((run / "config.json").read_text())
    assert config["model"] == SMALL
    main(["evaluate", str(run)])
    main(["predict", str(run), str(image_folder / "test")])
    assert "of 8 images in folders of classes" in capsys.readouterr().out
    main(["explain", str(run), "--faithfulness", "0", "--images", str(image_folder / "test")])
    main(["train", "--resume", str(run)])  # nothing is left to do


@pytest.mark.long
def test_its_weights_are_a_start(run, image_folder, tmp_path, capsys):
    train(image_folder, tmp_path / "run", SMALL, "--attention", "eca_block", "--image-size", 32,
          "--epochs", 1, "--init", run, "--freeze", "backbone")  # fmt: skip
    assert "new: nothing" in capsys.readouterr().out


def test_what_was_saved_frozen_is_said(image_folder, tmp_path, capsys):
    image = keras.Input((None, None, 3))
    x = keras.layers.Conv2D(4, 3, name="one", trainable=False)(image)
    x = keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(4, 3, name="two")(x))
    save_model(keras.Model(image, keras.layers.Dense(2)(x)), tmp_path / "network.keras")
    train(image_folder, tmp_path / "run", tmp_path / "network.keras", "--epochs", 1)
    assert "layers that were saved frozen stay frozen: 1 (one)\n" in capsys.readouterr().out


def test_a_file_is_a_network(image_folder, tmp_path):
    image = keras.Input((None, None, 3))
    x = keras.layers.Conv2D(8, 3, 2, activation="relu", name="one")(image)
    x = keras.layers.Conv2D(8, 3, 2, activation="relu", name="two")(x)
    x = keras.layers.GlobalMaxPooling2D()(x)
    model = keras.Model(image, keras.layers.Dense(2, activation="softmax", name="classes")(x))
    file = tmp_path / "network.keras"
    save_model(model, file)
    arguments = ("--image-size", 24, "--epochs", 1, "--attention", "cbam_block(kernel_size=3)",
                 "--attention-at", "two", "--freeze", "backbone")  # fmt: skip
    train(image_folder, tmp_path / "run", file, *arguments)
    network = load_model(tmp_path / "run" / "best.keras")
    assert network.get_layer("two_attention").channel.start == "identity"
    assert json.loads((tmp_path / "run" / "config.json").read_text())["code"]
    file.unlink()
    main(["evaluate", str(tmp_path / "run")])  # a run does not need it any more


def test_our_network_with_weights_of_keras(image_folder, tmp_path, monkeypatch, capsys):
    """Its preprocessing is part of it, attention changes nothing at first, and it resumes."""
    constructor = keras.applications.MobileNet
    made = []

    def stand_in(weights, **options):
        made.append(constructor(weights=None, **options))
        return made[-1]

    stand_in.__module__ = constructor.__module__
    monkeypatch.setattr(keras.applications, "MobileNet", stand_in)
    run = tmp_path / "run"
    train(image_folder, run, "mobilenet(alpha=0.25)", "--init", "imagenet", "--image-size", 32,
          "--attention", "se_block", "--epochs", 1, "--freeze", "backbone")  # fmt: skip
    network = load_model(run / "best.keras")
    (source,) = made
    first = next(layer for layer in network.layers if layer.weights)
    np.testing.assert_array_equal(first.get_weights()[0], source.layers[1].get_weights()[0])
    assert network.get_layer("preprocess").scale == pytest.approx(1 / 127.5)
    config = json.loads((run / "config.json").read_text())
    assert (config["attention"], config["recipe"]) == ("se_block(start='identity')", "finetune")
    main(["train", "--resume", str(run)])
    assert len(made) == 1  # no weights are looked for again
    with pytest.raises(SystemExit):
        train(image_folder, tmp_path / "no", "mobilenet", "--weights", "imagenet", "--attention",
              "cot_block")  # fmt: skip
    assert "has no option start" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("model", "says"),
    [
        ("keras.applications/MobilNetV2", "Did you mean 'MobileNetV2'"),
        ("keras.applications/Xception", "at least 71"),
        ("missing.keras", "missing.keras"),
    ],
)
def test_refusals(model, says, image_folder, tmp_path, capsys):
    with pytest.raises(SystemExit) as stop:
        train(image_folder, tmp_path / "run", model, "--image-size", 32)
    assert stop.value.code == 2
    said = capsys.readouterr().err
    assert says in said
    assert said.count("\n") == 1
    assert not (tmp_path / "run").exists()


@pytest.mark.long
@pytest.mark.parametrize(
    "name", ["ResNet50V2", "MobileNetV3Small", "EfficientNetV2B0", "ConvNeXtTiny"]
)
def test_large_networks(name, image_folder, tmp_path):
    network = f"keras.applications/{name}"
    train(image_folder, tmp_path / "run", network, "--image-size", 32, "--epochs", 2,
          "--attention", "cbam_block")  # fmt: skip
    main(["evaluate", str(tmp_path / "run")])
    main(["predict", str(tmp_path / "run"), str(image_folder / "test")])
