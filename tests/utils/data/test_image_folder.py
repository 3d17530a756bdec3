"""Folders of images: what is read, in which order it comes, and what is refused."""

import dataclasses
import multiprocessing
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.image_folders import CLASSES, write_image_folder
from utils.data.datasets import load_dataset, pixel_statistics
from utils.data.decoding import read_image
from utils.data.image_files import ImageFiles
from utils.feeding import streaming
from utils.feeding.host_augmentation import OPERATIONS, mix_images, rand_augment, random_window
from utils.feeding.image_batches import ImageAugmentation, ImageBatches
from utils.feeding.on_disk import MEASURED, images_in_order
from utils.feeding.shares import Share
from utils.feeding.sources import image_source
from utils.feeding.streaming import StreamedBatches, reading_images
from utils.system.errors import RunError, UserError

pytest.importorskip("grain")
EVERYTHING = ImageAugmentation(crop=0.2, flip=True, rand_augment=5, mixup=0.2, cutmix=1.0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_image_folder(tmp_path_factory.mktemp("photos"))


@pytest.fixture
def own(folder, tmp_path):
    """A copy of the folder that a test may spoil."""
    return shutil.copytree(folder, tmp_path / "photos")


@pytest.fixture(scope="module")
def dataset(folder):
    return load_dataset("folder", folder, image_size=16)


def batches(dataset, augmentation=EVERYTHING, **options):
    indices = np.arange(1, len(dataset.x_train))
    options = {"seed": 3, "shuffle": True, "augmentation": augmentation, **options}
    return ImageBatches(dataset.x_train, dataset.y_train, indices, 6, 2, **options)


def test_reads_names_labels_and_pixels(folder, dataset):
    assert dataset.class_names == CLASSES
    assert dataset.x_train.shape == (24, 16, 16, 3)
    np.testing.assert_array_equal(dataset.y_test, [0] * 4 + [1] * 4)
    files = sorted((folder / "test" / "flower").iterdir()) + sorted(
        (folder / "test" / "temple").iterdir()
    )
    for number in (0, 5):
        with Image.open(files[number]) as image:
            width, height = image.size
            side = min(width, height)
            left, upper = (width - side) / 2, (height - side) / 2
            box = (left, upper, left + side, upper + side)
            expected = image.convert("RGB").resize((16, 16), Image.Resampling.BILINEAR, box)
        found = dataset.x_test[number]
        # a JPEG of twice the size or more is decoded smaller, which smooths a little differently
        assert np.abs(found.astype(int) - np.asarray(expected)).mean() < 3
        np.testing.assert_array_equal(dataset.x_test[[number]][0], found)


def test_a_window_is_the_part_that_it_names(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (64, 80, 3), "uint8")
    Image.fromarray(pixels).save(tmp_path / "image.png")
    found = read_image(tmp_path / "image.png", (16, 24, 3), lambda *_: (8, 32, 32, 48))
    np.testing.assert_array_equal(found, pixels[32:48, 8:32])
    # a phone's upright photograph: stored on its side
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(pixels).save(tmp_path / "turned.png", exif=exif)
    found = read_image(tmp_path / "turned.png", (16, 24, 3), lambda *_: (8, 32, 32, 48))
    np.testing.assert_array_equal(found, np.rot90(pixels, -1)[32:48, 8:32])


def test_a_batch_is_a_function_of_seed_epoch_and_number(dataset):
    """Read alone, in order in threads, or from the middle of an epoch on: the same."""
    read = batches(dataset)
    stream, resumed = StreamedBatches(read), StreamedBatches(read)
    with reading_images(stream, resumed):
        seen = []
        for epoch in range(2):
            stream.epoch = epoch
            seen += [stream[number] for number in range(len(stream))]
        resumed.epoch, resumed.skip = 1, 2
        assert len(resumed) == len(stream) - 2 == 1
        again = resumed[0]
    for number in (0, 4):
        for alone, found in zip(read(number), seen[number], strict=True):
            np.testing.assert_array_equal(alone, found)
    np.testing.assert_array_equal(again[0], seen[5][0])
    np.testing.assert_array_equal(again[1], seen[5][1])
    other = batches(dataset, seed=4)(0)
    assert (other[0] != seen[0][0]).any()


def test_an_epoch_is_a_permutation_of_its_own(dataset):
    read = batches(dataset)
    orders = [[*np.concatenate([read.samples(e, s) for s in range(3)])] for e in range(3)]
    for order in orders:
        assert len(set(order)) == 18  # the last five wait for another epoch
        assert set(order) <= set(range(1, 24))
    assert len({tuple(order) for order in orders}) == 3


def test_hosts_share_every_batch(dataset):
    plain = ImageAugmentation(crop=0.2, flip=True)
    images, labels = batches(dataset, plain)(1)
    parts = [batches(dataset, plain, share=Share(3, 3, host))(1) for host in range(3)]
    np.testing.assert_array_equal(np.concatenate([part for part, _ in parts]), images)
    np.testing.assert_array_equal(np.concatenate([found for _, found in parts]), labels)


@pytest.mark.parametrize("shared", ["/dev/shm", "/nowhere"])
def test_worker_processes_give_the_same_and_end(dataset, shared, monkeypatch):
    """Through shared memory where there is enough, and through pipes."""
    monkeypatch.setattr(streaming, "SHARED", Path(shared))
    read = batches(dataset)
    stream = StreamedBatches(read, workers=2)
    with reading_images(stream):
        for number in range(3):
            images, labels = stream[number]
            np.testing.assert_array_equal(images, read(number)[0])
            np.testing.assert_array_equal(labels, read(number)[1])
    assert not multiprocessing.active_children()


def test_in_order_every_image_comes_once(dataset):
    stream = images_in_order(dataset.x_test, dataset.y_test, np.arange(8))
    with reading_images(stream):
        for _ in range(2):
            found = [stream[number] for number in range(len(stream))]
            labels = np.concatenate([labels for _, labels in found])
            np.testing.assert_array_equal(labels, dataset.y_test)


def test_an_image_that_is_gone_in_the_middle_is_named(own):
    data = load_dataset("folder", own, image_size=8)
    (own / "train" / "temple" / "003.png").write_bytes(b"")
    stream = StreamedBatches(batches(data), workers=1)
    with pytest.raises(RunError, match=r"003\.png"), reading_images(stream):
        list(map(stream.__getitem__, range(len(stream) * 3)))


def test_statistics_are_those_of_the_images(dataset):
    indices = np.arange(0, 24, 2)
    mean, variance = pixel_statistics(image_source(dataset).measured(indices))
    pixels = np.stack([dataset.x_train[i] for i in indices]).reshape(-1, 3).astype(float)
    np.testing.assert_allclose(mean, pixels.mean(axis=0))
    np.testing.assert_allclose(variance, pixels.var(axis=0))
    many = ImageFiles(dataset.x_train.paths * 60, 2)
    many = dataclasses.replace(dataset, x_train=many)
    assert len(image_source(many).measured(np.arange(len(many.x_train)))) == MEASURED


def test_the_fingerprint_is_of_names_and_contents(own, dataset):
    before = image_source(dataset).fingerprint()
    assert image_source(load_dataset("folder", own, image_size=16)).fingerprint() == before
    file = own / "train" / "flower" / "001.jpg"
    shutil.copyfile(own / "train" / "flower" / "002.jpg", file)
    assert image_source(load_dataset("folder", own, image_size=16)).fingerprint() != before


def test_unreadable_files_are_refused_or_left_out_by_name(own):
    whole = (own / "train" / "flower" / "001.jpg").read_bytes()
    (own / "train" / "flower" / "001.jpg").write_bytes(whole[: len(whole) // 2])
    (own / "test" / "temple" / "000.png").write_text("no image")
    with pytest.raises(UserError, match=r"2 image files cannot be read.*001\.jpg.*000\.png"):
        load_dataset("folder", own, image_size=16)
    said = []
    data = load_dataset("folder", own, said.append, image_size=16, corrupt="skip")
    assert len(data.x_train) == 23
    assert len(data.x_test) == 7
    assert "001.jpg" in said[0]
    assert "000.png" in said[0]


def spoil_nothing(own):
    shutil.rmtree(own / "train")
    (own / "train").mkdir()


def spoil_one_class(own):
    for part in ("train", "test"):
        shutil.rmtree(own / part / "temple")


def spoil_other_classes(own):
    (own / "test" / "temple").rename(own / "test" / "pagoda")


def spoil_empty_class(own):
    for file in (own / "train" / "temple").iterdir():
        file.unlink()


def spoil_every_file(own):
    for file in (own / "test" / "temple").iterdir():
        file.write_bytes(b"")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (spoil_nothing, "train: it has no image"),
        (spoil_one_class, "one class only: flower"),
        (spoil_other_classes, "same classes; only one has pagoda, temple"),
        (spoil_empty_class, "the class temple has no image"),
        (spoil_every_file, "no image of the class temple can be read"),
        (shutil.rmtree, "is not there"),
    ],
)
def test_refuses_what_is_no_folder_of_classes(own, spoil, message):
    spoil(own)
    with pytest.raises(UserError, match=message):
        load_dataset("folder", own, image_size=16, corrupt="skip")


def test_random_windows_have_the_area_and_ratio_that_are_asked_for(rng):
    for _ in range(200):
        left, upper, right, lower = random_window(rng, 300, 200, 0.3)
        assert 0 <= left < right <= 300
        assert 0 <= upper < lower <= 200
        assert 0.3 * 60_000 <= (right - left) * (lower - upper) <= 60_000.001
        assert 0.749 < (right - left) / (lower - upper) < 1.334
    left, upper, right, lower = random_window(rng, 1000, 10, 0.5)  # as much as fits
    assert (lower - upper, round(right - left, 3)) == (10, 13.333)


@pytest.mark.parametrize("name", OPERATIONS)
def test_every_operation_keeps_the_shape(name, rng):
    pixels = rng.integers(0, 256, (9, 12, 3), "uint8")
    function, largest, _ = OPERATIONS[name]
    image = Image.fromarray(pixels)
    assert function(image, largest).size == (12, 9)
    if name.startswith(("rotate", "shear", "translate", "color", "contrast", "bright", "sharp")):
        np.testing.assert_array_equal(np.asarray(function(image, 0)), pixels)
    assert rand_augment(rng, pixels, 10).shape == pixels.shape


def test_mixed_images_and_labels_have_the_same_shares(rng):
    images = np.zeros((4, 20, 20, 3), "uint8")
    images[1::2] = 200  # every neighbor is of the other kind
    labels = np.array([0, 1, 0, 1])
    rngs = [np.random.default_rng(i) for i in range(4)]
    for ways in ({"mixup": 0.4}, {"cutmix": 1.0}, {"mixup": 0.4, "cutmix": 1.0}):
        found, shares = mix_images(rngs, images, labels, 2, **ways)
        np.testing.assert_allclose(shares.sum(axis=1), 1, rtol=1e-6)
        np.testing.assert_allclose(found.mean(axis=(1, 2, 3)) / 200, shares[:, 1], atol=0.003)
        assert (set(np.unique(found)) <= {0, 200}) == ("mixup" not in ways)
