"""Folders of images: what is read of them, and what is refused."""

import hashlib
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.image_folders import CLASSES, encoded
from utils.data.datasets import load_dataset
from utils.data.images.class_folders import class_of_file
from utils.system.errors import UserError

pytest.importorskip("grain")


def test_reads_names_labels_and_pixels(image_folder, folder_dataset):
    assert folder_dataset.class_names == CLASSES
    assert folder_dataset.x_train.shape == (24, 16, 16, 3)
    np.testing.assert_array_equal(folder_dataset.y_test, [0] * 4 + [1] * 4)
    files = sorted((image_folder / "test" / "flower").iterdir()) + sorted(
        (image_folder / "test" / "temple").iterdir()
    )
    for number in (0, 5):
        with Image.open(files[number]) as image:
            width, height = image.size
            side = min(width, height)
            left, upper = (width - side) / 2, (height - side) / 2
            box = (left, upper, left + side, upper + side)
            expected = image.convert("RGB").resize((16, 16), Image.Resampling.BILINEAR, box)
        found = folder_dataset.x_test[number]
        # a JPEG of twice the size or more is decoded smaller, which smooths a little differently
        assert np.abs(found.astype(int) - np.asarray(expected)).mean() < 3
        np.testing.assert_array_equal(folder_dataset.x_test[[number]][0], found)


def test_the_fingerprint_is_of_names_and_contents(own_image_folder, folder_dataset):
    before = folder_dataset.fingerprint()
    assert load_dataset("folder", own_image_folder, image_size=16).fingerprint() == before
    file = own_image_folder / "train" / "flower" / "001.jpg"
    shutil.copyfile(own_image_folder / "train" / "flower" / "002.jpg", file)
    changed = load_dataset("folder", own_image_folder, image_size=16).fingerprint()
    assert changed != before
    file.rename(file.with_name("0001.jpg"))
    renamed = load_dataset("folder", own_image_folder, image_size=16).fingerprint()
    assert renamed not in (before, changed)


def test_unreadable_files_are_refused_or_left_out_by_name(own_image_folder):
    whole = (own_image_folder / "train" / "flower" / "001.jpg").read_bytes()
    (own_image_folder / "train" / "flower" / "001.jpg").write_bytes(whole[: len(whole) // 2])
    (own_image_folder / "test" / "temple" / "000.png").write_text("no image")
    with pytest.raises(UserError, match=r"2 image files cannot be read.*001\.jpg.*000\.png"):
        load_dataset("folder", own_image_folder, image_size=16)
    said = []
    data = load_dataset("folder", own_image_folder, said.append, image_size=16, corrupt="skip")
    assert len(data.x_train) == 23
    assert len(data.x_test) == 7
    assert "001.jpg" in said[0]
    assert "000.png" in said[0]


def remove_every_class(folder):
    shutil.rmtree(folder / "train")
    (folder / "train").mkdir()


def remove_class_folders(folder):
    for file in (folder / "train" / "temple").iterdir():
        file.rename(folder / file.name)
    for part in ("train", "test"):
        shutil.rmtree(folder / part)


def remove_one_class(folder):
    for part in ("train", "test"):
        shutil.rmtree(folder / part / "temple")


def rename_a_class(folder):
    (folder / "test" / "temple").rename(folder / "test" / "pagoda")


def empty_a_class(folder):
    for file in (folder / "train" / "temple").iterdir():
        file.unlink()


def damage_every_file(folder):
    for file in (folder / "test" / "temple").iterdir():
        file.write_bytes(b"")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (remove_every_class, "train: it has no image"),
        (remove_class_folders, "holds images, but no folders of classes; put"),
        (remove_one_class, "one class only: flower; add"),
        (rename_a_class, "same classes; only one has pagoda, temple"),
        (empty_a_class, "the class temple has no image"),
        (damage_every_file, "no image of the class temple can be read"),
        (shutil.rmtree, "is not there"),
    ],
)
def test_refuses_what_is_no_folder_of_classes(own_image_folder, spoil, message):
    spoil(own_image_folder)
    with pytest.raises(UserError, match=message):
        load_dataset("folder", own_image_folder, image_size=16, corrupt="skip")


def load(folder, said=None, **options):
    announce = (lambda line: None) if said is None else said.append
    return load_dataset("folder", folder, announce, image_size=8, **options)


def test_files_in_subfolders_with_other_endings_or_none_are_read(own_image_folder):
    before = load(own_image_folder)
    pixels = np.zeros((20, 20, 3), "uint8")
    place = own_image_folder / "train" / "flower"
    (place / "more" / "still more").mkdir(parents=True)
    names = ("a.jfif", "a.JPE", "a.tif", "a.TIFF", "a.ppm", "without_ending", "more/a.png",
             "more/still more/b.jpg")  # fmt: skip
    for name in names:
        kind = {"ppm": "PPM", "png": "PNG"}.get(name[-3:], "JPEG")
        kind = "TIFF" if name[1:4].lower() == ".ti" else kind
        (place / name).write_bytes(encoded(pixels, kind))
    said = []
    data = load(own_image_folder, said)
    assert not said
    assert len(data.x_train) == len(before.x_train) + len(names)
    assert {place / name for name in names} <= set(data.x_train.paths)
    assert (data.x_train.read(data.x_train.paths.index(place / "a.jfif")) == 0).all()


def test_what_is_passed_over_is_counted_and_named_in_one_line(own_image_folder):
    before = load(own_image_folder).fingerprint()
    place = own_image_folder / "train" / "temple"
    for name in ("notes.txt", "._001.jpg", "movie.mp4", "LICENSE", "../stray.png"):
        (place / name).write_bytes(b"no image")
    (place / ".ipynb_checkpoints").mkdir()
    (place / ".ipynb_checkpoints" / "000.png").write_bytes(b"")
    (place / "loop").symlink_to(place)
    if hasattr(os, "mkfifo"):
        os.mkfifo(place / "pipe.png")
    said = []
    assert load(own_image_folder, said).fingerprint() == before
    assert len(said) == 1
    assert said[0].startswith("8 files and folders are passed over: train/stray.png, ")
    for name in ("._001.jpg", ".ipynb_checkpoints", "LICENSE", "loop", "movie.mp4", "notes.txt"):
        assert f"train/temple/{name}" in said[0]


@pytest.mark.parametrize(
    ("train", "test"),
    [("Train", "TEST"), ("train", "val"), ("train", "valid"), ("training", "Validation")],
)
def test_training_and_test_have_other_names(own_image_folder, train, test):
    expected = load(own_image_folder).fingerprint()
    (own_image_folder / "train").rename(own_image_folder / train)
    (own_image_folder / "test").rename(own_image_folder / test)
    said = []
    assert load(own_image_folder, said).fingerprint() == expected
    said_so = [f"The images in {own_image_folder / test} are the test images."]
    assert said == ([] if test == "TEST" else said_so)
    assert load_dataset("auto", own_image_folder, announce=str, image_size=8).name == "folder"


def test_a_validation_folder_beside_a_test_folder_is_said_to_be_unused(own_image_folder):
    expected = load(own_image_folder).fingerprint()
    shutil.copytree(own_image_folder / "test", own_image_folder / "val")
    said = []
    assert load(own_image_folder, said).fingerprint() == expected
    assert said[0].startswith(f"{own_image_folder / 'val'} is not used: --validation-split takes")
    shutil.copytree(own_image_folder / "test", own_image_folder / "Test")
    with pytest.raises(UserError, match="has Test and test; keep one"):
        load(own_image_folder)


@pytest.mark.parametrize("direct", [False, True])
def test_without_test_images_a_fifth_of_each_class_is_held_out(own_image_folder, direct):
    folder = own_image_folder / "train" if direct else own_image_folder
    shutil.rmtree(own_image_folder / "test")
    said = []
    data = load(folder, said)
    assert said == [
        f"{folder} has no folder of test images: 4 of 24 images, 20% of each class chosen by their "
        "content, are the test images."
    ]
    for label, name in enumerate(CLASSES):
        files = list((own_image_folder / "train" / name).iterdir())
        files.sort(key=lambda file: hashlib.sha256(file.read_bytes()).hexdigest())
        chosen = {data.x_test.paths[i] for i in np.flatnonzero(data.y_test == label)}
        assert chosen == set(files[:2])
    assert not set(data.x_train.paths) & set(data.x_test.paths)
    assert len(data.x_train) == 20
    assert load(folder).fingerprint() == data.fingerprint()


def test_classes_can_be_called_train(own_image_folder):
    folder = own_image_folder / "train"
    (folder / "flower").rename(folder / "train")
    assert load(folder).class_names == ("temple", "train")


def test_names_that_differ_by_unicode_form_alone_are_shown(own_image_folder):
    train, test = own_image_folder / "train", own_image_folder / "test"
    (train / "temple").rename(train / "caf\u00e9")
    (test / "temple").rename(test / "cafe\u0301")
    if len({path.name for path in (*train.iterdir(), *test.iterdir())}) < 3:
        pytest.skip("the file system has one form")
    with pytest.raises(UserError, match=r"Unicode form alone: 'cafe\\u0301', 'caf\\xe9'; rename"):
        load(own_image_folder)
    shutil.copytree(test / "cafe\u0301", train / "cafe\u0301")
    with pytest.raises(UserError, match="train: the names of these classes differ by their Uni"):
        load(own_image_folder)


def test_the_class_of_a_file_is_its_innermost_folder_of_that_name():
    names = ("caf\u00e9", "temple")
    for path, expected in (
        ("temple/cafe\u0301/more/0.png", "caf\u00e9"),
        ("caf\u00e9/temple/0.png", "temple"),
        ("temples/0.png", None),
    ):
        assert class_of_file(Path(path), names) == expected
