"""Runs that are explained side by side: their names, and whether their data are the same."""

from pathlib import Path

import keras
import numpy as np
import pytest

from models import add_attention
from models.class_activation import stage_layers
from models.saving import save_model
from utils.config.settings import TrainSettings
from utils.explain.attention_maps import attention_maps
from utils.explain.loading import (
    display_names,
    load_explainable_network,
    read_common_config,
    shorten_names,
    without_images,
)
from utils.system.errors import UserError
from utils.system.files import write_json

pytestmark = pytest.mark.once


def test_shorten_names():
    assert shorten_names(["a-none-seed0", "a-se_block-seed0"]) == ["none", "se_block"]
    assert shorten_names(["a-none-seed0"]) == ["a-none-seed0"]
    assert shorten_names(["a-b", "a-b-c"]) == ["a-b", "a-b-c"]
    assert shorten_names(["none-seed0", "none-seed1"]) == ["seed0", "seed1"]


def test_folders_of_the_same_name_are_told_apart_by_their_paths():
    assert display_names([Path("x/a-none"), Path("y/a-se_block")]) == ["none", "se_block"]
    assert display_names([Path("x/none"), Path("y/none")]) == ["x/none", "y/none"]


@pytest.fixture
def run(tmp_path):
    """Writes the settings of a run and, if it is finished, the names of its classes."""

    def write(name, classes=None, **settings):
        folder = tmp_path / name
        folder.mkdir()
        write_json(folder / "config.json", TrainSettings(**settings).config())
        if classes:
            write_json(folder / "summary.json", {"class_names": classes})
        return folder

    return write


PHOTOS = {"dataset": "folder", "data_dir": "/photos"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"image_size": 64}, "same image size; received 224, 64$"),
        ({"test_split": 0.5}, "same test split; received 0.2, 0.5$"),
        ({"data_dir": "/more"}, "same data folder; received /photos, /more; .* with --data-dir$"),
        ({"classes": ["cat", "cow"]}, "same classes; of .*second, only one has cow, dog$"),
        ({"classes": ["dog", "cat"]}, "same classes; of .*second, they differ in their order$"),
    ],
)
def test_runs_on_other_images_are_refused(options, message, run):
    first = run("first", ["cat", "dog"], **PHOTOS)
    second = run("second", **{**PHOTOS, **options})
    with pytest.raises(UserError, match=message):
        read_common_config([first, second])


def test_runs_on_the_same_images(run):
    first = run("first", ["cat", "dog"], **PHOTOS)
    unfinished = run("unfinished", **PHOTOS, image_size=224, test_split=0.2)
    assert read_common_config([first, unfinished])["data_dir"] == "/photos"
    # a folder for all may have moved, and the place of CIFAR does not matter
    moved = run("moved", ["cat", "dog"], dataset="folder", data_dir="/new")
    assert read_common_config([first, moved], data_dir="/new")["dataset"] == "folder"
    cifar = [run(name, dataset="cifar10", data_dir=f"/{name}") for name in ("a", "b")]
    assert read_common_config(cifar)["data_dir"] == "/a"


def test_a_run_is_named_once(run, monkeypatch):
    first = run("first", dataset="cifar10")
    monkeypatch.chdir(first.parent)
    again = Path("first/../first")
    with pytest.raises(UserError) as error:
        read_common_config([first, again])
    said = f"the runs must be different folders; {first} and {again} are the same"
    assert str(error.value) == said


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((None, None, 3), "must take images of a fixed size with 1 or 3 channels; it takes"),
        ((8, 8, 2), "must take images with 1 or 3 channels; it takes 2$"),
    ],
)
def test_a_network_that_fits_no_image_is_refused_without_a_data_set(shape, message, run):
    folder = run("any", dataset="cifar10")
    image = keras.Input(shape)
    pooled = keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(2, 3)(image))
    save_model(keras.Model(image, keras.layers.Softmax()(pooled)), folder / "best.keras")
    with pytest.raises(UserError, match=rf"any/best\.keras {message}"):
        without_images({"dataset": "cifar10"}, folder)


def with_a_model_inside(name_of_second):
    """A network as Keras's guide to transfer learning has it, with attention in its backbone."""
    image = keras.Input((8, 8, 3))
    x = keras.layers.Conv2D(4, 3, padding="same", activation="relu", name="one")(image)
    x = keras.layers.Conv2D(4, 3, 2, padding="same", activation="relu", name="two")(x)
    backbone = keras.Model(image, x, name="backbone")
    image = keras.Input((8, 8, 3))
    x = keras.layers.Conv2D(3, 1, name=name_of_second)(image)
    x = keras.layers.GlobalAveragePooling2D()(backbone(x, training=False))
    network = keras.Model(image, keras.layers.Dense(2, activation="softmax")(x))
    return add_attention(network, "cbam_block", at=["backbone/one", "backbone/two"], kernel_size=3)


def test_attention_in_a_model_inside_is_explained(run, rng):
    folder, images = run("any"), rng.normal(size=(2, 8, 8, 3)).astype("float32")
    network = with_a_model_inside("colors")
    save_model(network, folder / "best.keras")
    found = load_explainable_network(folder)
    np.testing.assert_allclose(
        found.predict(images, verbose=0), network.predict(images, verbose=0), rtol=1e-5
    )
    assert [maps.size for maps in attention_maps(found, images)] == [(8, 8), (4, 4)]
    assert list(stage_layers(found)) == [(8, 8), (4, 4)]


def test_a_model_inside_with_a_name_of_the_outer_one_is_explained_as_it_is(run):
    folder = run("any")
    save_model(with_a_model_inside("one"), folder / "best.keras")
    assert "backbone" in {layer.name for layer in load_explainable_network(folder).layers}
