"""The table of data sets; shapes, places and fingerprints of data sets."""

import dataclasses
import hashlib
import sys
import types

import numpy as np
import pytest

from tests.processes import run_python
from utils.data.dataset import Dataset, ImagesOnDisk
from utils.data.datasets import DATASETS, DatasetEntry, load_dataset
from utils.data.images.image_files import ImageFiles
from utils.system.errors import UserError


def make_dataset(images):
    labels = np.arange(len(images)) % 2
    return Dataset("mine", images, labels, images, labels, ("a", "b"), crop_padding=0, flips=True)


def test_one_entry_adds_a_data_set(monkeypatch, tmp_path):
    loader = types.ModuleType("utils.data.mine")
    monkeypatch.setitem(sys.modules, "utils.data.mine", loader)
    monkeypatch.setitem(DATASETS, "mine", DatasetEntry("mine:load", "a data set of a test"))
    loader.load = lambda options: options
    options = load_dataset("mine", tmp_path, image_size=8, download=False)
    assert (options.data_dir, options.image_size, options.download) == (tmp_path, 8, False)
    # a run's configuration may leave these out
    options = load_dataset("mine", image_size=None, corrupt=None)
    assert (options.image_size, options.corrupt) == (224, "refuse")


@pytest.mark.once
def test_naming_the_data_sets_imports_nothing_large():
    script = (
        "import sys; from utils.data.datasets import DATASETS; assert len(DATASETS) > 3\n"
        "assert not {'keras', 'numpy', 'PIL', 'sklearn'} & set(sys.modules)"
    )
    done = run_python("-c", script)
    assert done.returncode == 0, done.stderr


def test_refuses_unknown_names_and_folders(tmp_path):
    with pytest.raises(UserError, match=r"unknown dataset 'mnist'; known: auto, cifar10, .*"):
        load_dataset("mnist")
    with pytest.raises(UserError, match=r"the data folder '.*nowhere' is not there"):
        load_dataset("auto", tmp_path / "nowhere")


def test_digits():
    data = load_dataset("digits")
    assert data.x_train.shape == (1437, 8, 8, 1)
    assert data.x_test.shape == (360, 8, 8, 1)
    assert data.x_train.max() == 255
    assert np.bincount(data.y_test).min() >= 34
    again = load_dataset("digits")
    np.testing.assert_array_equal(data.x_test, again.x_test)
    assert not data.flips
    assert data.classes == 10


def test_images_are_in_memory_or_on_disk(tmp_path):
    in_memory = make_dataset(np.zeros((4, 6, 5, 3), "uint8"))
    on_disk = make_dataset(ImageFiles([tmp_path / "nowhere.png"] * 4, 16))
    assert not in_memory.on_disk
    assert on_disk.on_disk
    assert not isinstance(in_memory.x_test, ImagesOnDisk)
    # known without reading the files, which do not exist
    assert (in_memory.image_shape, on_disk.image_shape) == ((6, 5, 3), (16, 16, 3))


def test_the_fingerprint_is_of_names_pixels_and_labels(rng):
    images = rng.integers(0, 256, (4, 6, 5, 3), "uint8")
    data = make_dataset(images)
    before = data.fingerprint()
    # as older runs have it in their checkpoints: they resume only with the same fingerprint
    digest = hashlib.sha256(b'["mine", ["a", "b"]]')
    for _ in ("train", "test"):
        digest.update(b"(4, 6, 5, 3) uint8" + images.tobytes())
        digest.update(b"(4,) int64" + data.y_train.tobytes())
    assert before == digest.hexdigest()
    assert make_dataset(images.copy()).fingerprint() == before
    changed = images.copy()
    changed[2, 3, 4, 0] ^= 1
    for change in (
        {"name": "yours"},
        {"class_names": ("a", "c")},
        {"x_train": changed},
        {"x_test": changed},
        {"x_train": images.reshape(4, 5, 6, 3)},
        {"y_train": 1 - data.y_train},
        {"y_test": 1 - data.y_test},
    ):
        assert dataclasses.replace(data, **change).fingerprint() != before
