"""Data sets: CIFAR-10, CIFAR-100 and digits in memory, and images that stay in a folder."""

import dataclasses
import hashlib
import json
from pathlib import Path

import numpy as np

from ..system.errors import UserError
from .cifar import CIFAR, find_cifar

DATASETS = ("auto", "cifar10", "cifar100", "digits", "folder")
IMAGE_SIZE = 224  # of a folder's images, in pixels


@dataclasses.dataclass(frozen=True)
class Dataset:
    """Images and labels, split into training and test.

    Args:
        name: string, the data set's name.
        x_train, x_test: uint8 arrays `(n, height, width, channels)`, or `ImageFiles`.
        y_train, y_test: int64 arrays `(n,)`.
        class_names: tuple of strings.
        crop_padding: int, pixels by which a random crop may move the image.
        flips: bool, whether a mirrored image is of the same class.
    """

    name: str
    x_train: np.ndarray
    y_train: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray
    class_names: tuple
    crop_padding: int
    flips: bool

    @property
    def classes(self):
        return len(self.class_names)


def load_dataset(
    name="auto", data_dir=None, announce=print, image_size=IMAGE_SIZE, corrupt="refuse"
):
    """Loads a data set.

    Args:
        name: `"cifar10"`, `"cifar100"`, `"digits"`, `"folder"`, or `"auto"`: CIFAR-10 if it can be
            had and digits otherwise.
        data_dir: path of a folder to look in first, and to download to; `None` for Keras's cache.
        announce: function that takes a line of text, told which set `"auto"` took, and why.
        image_size: int, height and width of a folder's images, in pixels. Defaults to 224.
        corrupt: `"refuse"` (the default) or `"skip"`, what is done where a folder has files that
            cannot be read.

    Returns:
        A `Dataset`.

    Raises:
        UserError: an unknown name, a folder that does not exist, a data set that cannot be had, or
            a file of it that is not what it should be.
    """
    if name not in DATASETS:
        raise UserError(f"unknown dataset {name!r}; known: {', '.join(DATASETS)}")
    if data_dir is not None and not Path(data_dir).is_dir():
        raise UserError(f"the data folder {str(data_dir)!r} is not there or is no folder")
    if name == "digits":
        return load_digits()
    if name == "folder":
        return load_folder(data_dir, image_size or IMAGE_SIZE, corrupt or "refuse", announce)
    if name != "auto":
        return load_cifar(name, data_dir)
    try:
        folder = find_cifar("cifar10", data_dir)
    except OSError as error:
        announce(f"CIFAR-10 cannot be had ({error}); training on scikit-learn's digits instead.")
        return load_digits()
    announce("Data set: CIFAR-10.")
    return load_cifar("cifar10", folder)


def load_cifar(name, data_dir=None):
    """Loads CIFAR-10 or CIFAR-100 from its official archive or folder; see `load_dataset`."""
    spec = CIFAR[name]
    try:
        folder = find_cifar(name, data_dir)
    except OSError as error:
        raise UserError(f"{name} cannot be had: {error}") from error
    class_names = spec.read_class_names(folder)
    x_train, y_train = spec.read(folder, spec.train_files, len(class_names))
    x_test, y_test = spec.read(folder, spec.test_files, len(class_names))
    return Dataset(name, x_train, y_train, x_test, y_test, class_names, crop_padding=4, flips=True)


def load_digits():
    """Loads the 1,797 digits of scikit-learn: 8x8 pixels in 17 levels of gray, 360 for the test."""
    import sklearn.datasets
    import sklearn.model_selection

    digits = sklearn.datasets.load_digits()
    images = np.rint(digits.images * (255 / 16)).astype("uint8")[..., None]
    x_train, x_test, y_train, y_test = sklearn.model_selection.train_test_split(
        images, digits.target, test_size=360, stratify=digits.target, random_state=0
    )
    names = tuple(map(str, digits.target_names))
    return Dataset("digits", x_train, y_train, x_test, y_test, names, crop_padding=1, flips=False)


def load_folder(data_dir, image_size=IMAGE_SIZE, corrupt="refuse", announce=print):
    """Loads what is in a folder of image files, but not the images; see `load_dataset`."""
    from .folder import read_folder  # here, so that naming the data sets costs nothing

    x_train, y_train, x_test, y_test, names = read_folder(data_dir, image_size, corrupt, announce)
    y_train, y_test = np.array(y_train, "int64"), np.array(y_test, "int64")
    return Dataset("folder", x_train, y_train, x_test, y_test, names, crop_padding=0, flips=True)


def validation_indices(labels, fraction, seed):
    """Splits a training set, each class in proportion.

    Args:
        labels: int array `(n,)`.
        fraction: float in [0, 1), the share held out; 0 holds out nothing.
        seed: int.

    Returns:
        Two sorted int arrays: indices to train on, and to validate on.

    Raises:
        UserError: the fraction leaves a class without an image on one side.
    """
    everything = np.arange(len(labels))
    if fraction == 0:
        return everything, everything[:0]
    import sklearn.model_selection

    try:
        train, validation = sklearn.model_selection.train_test_split(
            everything, test_size=fraction, stratify=labels, random_state=seed % 2**32
        )
    except ValueError as error:
        raise UserError(f"validation split {fraction} of {len(labels)} images: {error}") from None
    return np.sort(train), np.sort(validation)


def pixel_statistics(images):
    """Mean and variance of each channel, exact.

    Args:
        images: uint8 array `(n, height, width, channels)`.

    Returns:
        Two float64 arrays `(channels,)`, in raw pixel units.
    """
    channels = images.shape[-1]
    counts = [np.bincount(images[..., c].ravel(), minlength=256) for c in range(channels)]
    levels = np.arange(256.0)
    weights = np.stack(counts) / (images.size / channels)
    mean = weights @ levels
    return mean, weights @ levels**2 - mean**2


def fingerprint(dataset, contents=np.ascontiguousarray):
    """Computes a checksum of everything in a `Dataset` that a training sees.

    Args:
        dataset: a `Dataset`.
        contents: function from its images to bytes that tell them from others. Defaults to all of
            their pixels.

    Returns:
        A hex string.
    """
    digest = hashlib.sha256(json.dumps([dataset.name, dataset.class_names]).encode())
    for images, labels in ((dataset.x_train, dataset.y_train), (dataset.x_test, dataset.y_test)):
        digest.update(f"{images.shape} {images.dtype}".encode())
        digest.update(contents(images))
        digest.update(f"{labels.shape} {labels.dtype}".encode())
        digest.update(np.ascontiguousarray(labels))
    return digest.hexdigest()


def in_data_format(images):
    """Images `(n, height, width, channels)` as Keras's `image_data_format` has them."""
    import keras  # here, so that naming the data sets costs nothing

    if keras.config.image_data_format() == "channels_first":
        return np.ascontiguousarray(images.transpose(0, 3, 1, 2))
    return images
