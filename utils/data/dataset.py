"""A data set: images and labels, in memory or on disk, and what identifies them."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np

if TYPE_CHECKING:
    from .images.decoding import Window


class Images(Protocol):
    """uint8 images `(n, height, width, channels)`: an array, or `ImagesOnDisk`."""

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape, known without reading an image."""

    @property
    def dtype(self) -> np.dtype:
        """`uint8`."""

    def __len__(self) -> int: ...

    def __getitem__(self, which: Any) -> Any: ...


@runtime_checkable
class ImagesOnDisk(Images, Protocol):
    """Images that are read when they are asked for, such as `ImageFiles`."""

    @property
    def checksum(self) -> str:
        """A checksum of what the images are read from."""

    def read(self, number: int, window: Window | None = None) -> np.ndarray:
        """Reads one image, or a window of it, as `ImageFiles.read` does."""


@dataclasses.dataclass(frozen=True)
class Dataset:
    """Images and labels, split into training and test.

    Args:
        name: string, the data set's name.
        x_train, x_test: uint8 arrays `(n, height, width, channels)`, or `ImagesOnDisk`.
        y_train, y_test: int64 arrays `(n,)`.
        class_names: tuple of strings.
        crop_padding: int, pixels by which a random crop may move the image by default.
        flips: bool, whether a mirrored image belongs to the same class.
    """

    name: str
    x_train: Images
    y_train: np.ndarray
    x_test: Images
    y_test: np.ndarray
    class_names: tuple[str, ...]
    crop_padding: int
    flips: bool

    @property
    def classes(self) -> int:
        """The number of classes."""
        return len(self.class_names)

    @property
    def image_shape(self) -> tuple[int, ...]:
        """`(height, width, channels)` of every image, known without reading one."""
        return tuple(self.x_test.shape[1:])

    @property
    def on_disk(self) -> bool:
        """Whether the images stay on disk and are read when they are needed."""
        return isinstance(self.x_test, ImagesOnDisk)

    def fingerprint(self) -> str:
        """Computes a checksum of everything that training and evaluation see.

        Returns:
            A hex string, the SHA-256 of names, labels and pixels. In place of the pixels of images
            on disk it covers the checksum of their files.
        """
        digest = hashlib.sha256(json.dumps([self.name, self.class_names]).encode())
        for images, labels in ((self.x_train, self.y_train), (self.x_test, self.y_test)):
            digest.update(f"{images.shape} {images.dtype}".encode())
            digest.update(_contents(images))
            digest.update(f"{labels.shape} {labels.dtype}".encode())
            digest.update(np.ascontiguousarray(labels).data)
        return digest.hexdigest()


def _contents(images: Images) -> bytes | memoryview:
    if isinstance(images, ImagesOnDisk):
        return images.checksum.encode()
    return np.ascontiguousarray(images).data


@dataclasses.dataclass(frozen=True)
class LoadOptions:
    """What a loader is called with; see `load_dataset`. Each uses what concerns it.

    Args:
        data_dir: path of the folder with the data, or `None`.
        announce: function that takes a line of text.
        image_size: int, height and width in pixels to which images from a folder are resized.
        corrupt: `"refuse"` or `"skip"`, what to do with files that cannot be read.
        test_split: float in (0, 1), the share of images without a test folder to test on; `None`
            for the default.
        download: bool, whether to download what is not on this machine.
    """

    data_dir: str | Path | None
    announce: Callable[[str], object]
    image_size: int
    corrupt: str
    test_split: float | None
    download: bool
