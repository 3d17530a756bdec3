"""The command `explain`: the images it takes, what it writes, and what it refuses."""

import json
import os
import shutil

import keras
import matplotlib.image
import numpy as np
import pytest

from main import main
from models.saving import load_model, save_model
from tests.commands import refused
from tests.image_folders import png_bomb
from tests.run_folders import write_run
from utils.data.datasets import load_dataset
from utils.data.images.decoding import read_image
from utils.explain.selection import select_images
from utils.system.errors import UserError


@pytest.fixture(scope="module")
def cifar10(cifar10_dir):
    return load_dataset("cifar10", cifar10_dir)


@pytest.fixture(scope="module")
def run(cifar10, cifar10_dir, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "cifar10-cbam_block-seed0"
    return write_run(folder, cifar10, str(cifar10_dir), attention="cbam_block")


@pytest.fixture
def photo(cifar10, tmp_path):
    folder = tmp_path / "class3"
    folder.mkdir()
    matplotlib.image.imsave(folder / "large.png", np.repeat(cifar10.x_test[3], 3, axis=1))
    return folder / "large.png"


@pytest.mark.filterwarnings("error:.*_layout not applied")  # a long name leaves room for pictures
def test_writes_pictures_and_numbers(run, cifar10, photo, tmp_path, capsys):
    name = "long-name" * 16
    copy = shutil.copytree(run, tmp_path / name)
    main(["explain", str(copy), "--images", "5", str(photo), "--faithfulness", "100"])
    output = capsys.readouterr().out
    report = json.loads((copy / "explanation.json").read_text())
    assert report["images"] == [
        {"name": "test 5", "label": "class5"}, {"name": "large.png", "label": "class3"},
    ]  # fmt: skip
    found = report["networks"][name]
    probabilities = load_model(copy / "best.keras").predict(cifar10.x_test[[5]], verbose=0)[0]
    assert found["predicted"][0] == f"class{probabilities.argmax()}"
    assert found["probability"][0] == pytest.approx(probabilities.max(), abs=1e-4)
    assert found["faithfulness"]["images"] == len(cifar10.x_test) == 40
    score = found["faithfulness"]["deletion"]
    assert score["gain"] == pytest.approx(score["random_area"] - score["area"])
    assert f"{name}: deletion area {score['area']:.4f}" in output
    for name in ("explanation.png", "faithfulness.png"):
        assert min(matplotlib.image.imread(copy / name).shape[:2]) > 200


@pytest.mark.once
def test_several_runs_side_by_side(run, cifar10, tmp_path):
    folder = tmp_path / "runs"
    shutil.copytree(run, folder / "cifar10-cbam_block-seed0")
    write_run(folder / "cifar10-none-seed0", cifar10, attention="none")
    runs = [str(path) for path in sorted(folder.iterdir())]
    data = ["--data-dir", json.loads((run / "config.json").read_text())["data_dir"]]
    main(["explain", *runs, *data, "--faithfulness", "0"])
    report = json.loads((folder / "explanation.json").read_text())
    assert list(report["networks"]) == ["cbam_block", "none"]
    assert [image["name"] for image in report["images"]] == [f"test {i}" for i in range(6)]
    assert not (folder / "faithfulness.png").exists()
    (folder / "comparison.csv").touch()  # which has an explanation.png of its own
    main(["explain", *runs, *data, "--faithfulness", "0"])
    assert (folder / "explained" / "explanation.png").stat().st_size > 10_000


@pytest.mark.once
def test_runs_without_a_common_folder_need_an_output(run, tmp_path, capsys, monkeypatch):
    """As those on two drives of Windows."""

    def fail(paths):
        raise ValueError("Paths don't have the same drive")

    monkeypatch.setattr(os.path, "commonpath", fail)
    copy = shutil.copytree(run, tmp_path / "copy")
    said = refused(capsys, "explain", run, copy, "--images", "0")
    assert said == f"error: no folder holds all of {run}, {copy}; name one with --output\n"


@pytest.mark.once
def test_gray_images(tmp_path):
    run = write_run(tmp_path / "digits", load_dataset("digits"), attention="se_block")
    main(["explain", str(run), "--images", "0", "--faithfulness", "2"])
    assert (run / "explanation.png").exists()


@pytest.mark.once
def test_images_of_a_folder(cifar10, photo):
    (photo.parent / "deeper").mkdir()
    shutil.copy(photo, photo.parent / "deeper" / "another.PNG")
    (photo.parent / "note.txt").write_text("no image")
    found = select_images([str(photo.parent)], cifar10)
    assert [(image.name, image.label) for image in found] == [
        ("another.PNG", 3),  # the class of the folder around its own
        ("large.png", 3),
    ]
    assert all(image.pixels.shape == (32, 32, 3) for image in found)


@pytest.mark.once
def test_of_a_folder_only_images_that_can_be_read_are_taken(cifar10, photo):
    folder = photo.parent
    (folder / "pics.png").mkdir()
    (folder / ".ipynb_checkpoints").mkdir()
    shutil.copy(photo, folder / ".ipynb_checkpoints" / "large.png")
    shutil.copy(photo, folder / "._x.png")
    (folder / "empty.jpg").touch()
    if hasattr(os, "mkfifo"):
        os.mkfifo(folder / "pipe.png")
    said = []
    found = select_images([str(folder)], cifar10, said.append)
    assert [image.name for image in found] == ["large.png"]
    (line,) = said
    assert "left out: " in line
    for name in ("._x.png", ".ipynb_checkpoints", "empty.jpg"):
        assert name in line
    photo.unlink()
    with pytest.raises(UserError, match=r"has no .* file that can be read"):
        select_images([str(folder)], cifar10)


@pytest.mark.once
def test_of_a_large_folder_the_first_images_are_taken_and_said(cifar10, photo):
    for number in range(30):
        shutil.copy(photo, photo.parent / f"{number:02}.png")
    said = []
    found = select_images(["7", str(photo.parent)], cifar10, said.append)
    assert [image.name for image in found] == ["test 7", *(f"{n:02}.png" for n in range(23))]
    assert said == [f"images: the first 23 of 31 image files in {str(photo.parent)!r}"]


@pytest.mark.once
@pytest.mark.parametrize(
    ("sources", "message"),
    [
        (["40"], "the test images have the numbers 0 to 39; received 40"),
        (["-1"], "must be numbers of test images, image files or folders; received '-1'"),
        (["nowhere.png"], "received 'nowhere.png'"),
        (["EMPTY"], "has no .png, .jpg"),
        (["BROKEN"], "broken.png is no image that can be read"),
        (list(map(str, range(25))), "at most 24 can be explained at once; '24' exceeds that"),
    ],
)
def test_refuses_images(sources, message, cifar10, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n no more")
    places = {"EMPTY": str(tmp_path / "empty"), "BROKEN": str(tmp_path / "broken.png")}
    with pytest.raises(UserError, match=message):
        select_images([places.get(source, source) for source in sources], cifar10)


@pytest.mark.once
def test_refuses_an_image_that_claims_to_be_enormous(tmp_path):
    """A bomb, and a format that another program would be called for."""
    (tmp_path / "bomb.png").write_bytes(png_bomb())
    with pytest.raises(UserError, match="is no image that can be read: Image size"):
        read_image(tmp_path / "bomb.png", (32, 32, 3))
    (tmp_path / "photo.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n")
    with pytest.raises(UserError, match="cannot identify image file"):
        read_image(tmp_path / "photo.png", (32, 32, 3))


@pytest.mark.once
def test_an_image_is_fitted(tmp_path):
    """The middle of a wide image, with the resolution that is asked for."""
    wide = np.zeros((20, 60, 3), "uint8")
    wide[:, 20:40] = (200, 100, 50)
    matplotlib.image.imsave(tmp_path / "wide.png", wide)
    found = read_image(tmp_path / "wide.png", (10, 10, 3))
    np.testing.assert_array_equal(found[:, 3:7], np.full((10, 4, 3), (200, 100, 50)))
    np.testing.assert_allclose(found, np.full((10, 10, 3), (200, 100, 50)), atol=20)
    gray = read_image(tmp_path / "wide.png", (8, 8, 1))
    assert gray.shape == (8, 8, 1)
    assert abs(int(gray[4, 4, 0]) - (0.299 * 200 + 0.587 * 100 + 0.114 * 50)) <= 1


@pytest.mark.once
def test_refuses_runs(run, cifar10, tmp_path, capsys):
    assert "must be the folder of a run" in refused(capsys, "explain", tmp_path)
    digits = write_run(tmp_path / "digits", load_dataset("digits"), attention="none")
    assert "must have the same data set; received cifar10, digits" in refused(
        capsys, "explain", run, digits
    )
    wrong = refused(capsys, "explain", run, "--layer", "stage9_relu")
    assert "no layer of 'resnet_v1_8' is called 'stage9_relu'; it has normalization" in wrong
    (tmp_path / "file").touch()
    assert "must be a folder; " in refused(capsys, "explain", run, "--output", tmp_path / "file")
    copy = shutil.copytree(run, tmp_path / "copy")
    save_model(load_model(digits / "best.keras"), copy / "best.keras")
    assert "it takes images of shape (8, 8, 1), not (32, 32, 3)" in refused(capsys, "explain", copy)
    new = tmp_path / "new" / "folder"
    refused(capsys, "explain", copy, "--output", new)
    refused(capsys, "explain", copy, "--output", tmp_path / "file" / "new")
    assert not new.parent.exists()
    (copy / "best.keras").write_bytes(b"no archive")
    assert "cannot be explained" in refused(capsys, "explain", copy)
    assert not (copy / "explanation.png").exists()
    image = keras.Input((32, 32, 3))
    keras.Model(image, keras.layers.Dense(10)(keras.layers.Flatten()(image))).save(
        copy / "best.keras"
    )
    assert "has no feature map" in refused(capsys, "explain", copy)


@pytest.mark.once
def test_a_network_needs_no_layer_of_a_certain_name(run, tmp_path):
    """The scores are what its last layer computes before its activation."""
    copy = shutil.copytree(run, tmp_path / "copy")
    image = keras.Input((32, 32, 3))
    maps = keras.layers.Conv2D(8, 3, strides=2, activation="relu", name="maps")(image)
    pooled = keras.layers.GlobalAveragePooling2D()(maps)
    scores = keras.layers.Dense(10, activation="softmax", name="scores")(pooled)
    keras.Model(image, scores).save(copy / "best.keras")
    main(["explain", str(copy), "--images", "0", "--faithfulness", "0"])
    assert (copy / "explanation.png").exists()
