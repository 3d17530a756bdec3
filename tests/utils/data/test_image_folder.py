"""Folders of images: what is read of them, and what is refused."""

import shutil

import numpy as np
import pytest
from PIL import Image

from tests.image_folders import CLASSES
from utils.data.datasets import load_dataset
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
        (remove_one_class, "one class only: flower"),
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
