"""The files of CIFAR-10 and CIFAR-100 in both official editions, pickled for Python and binary.

They are untrusted: a file that was tampered with is refused, never run.
"""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..system.errors import UserError
from .pickles import LARGEST_FILE, read_pickle

PIXELS = 3 * 32 * 32


@dataclasses.dataclass(frozen=True)
class CifarFiles:
    """The official files of CIFAR-10 or CIFAR-100 in one edition.

    Args:
        folder: string, name of the official folder.
        archives: tuple of strings, the names that its archive may have; the official one first.
        train_files, test_files: tuples of strings, names of the batch files.
        meta_file: string, name of the file with the class names.
    """

    folder: str
    archives: tuple[str, ...]
    train_files: tuple[str, ...]
    test_files: tuple[str, ...]
    meta_file: str

    @property
    def files(self) -> tuple[str, ...]:
        """The names of all files that are read."""
        return (*self.train_files, *self.test_files, self.meta_file)

    def are_in(self, folder: Path) -> bool:
        """Returns whether a folder holds every file, and none of them is empty."""
        paths = [folder / name for name in self.files]
        return all(path.is_file() and path.stat().st_size for path in paths)

    def read(
        self, folder: Path, files: tuple[str, ...], classes: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Reads batch files.

        Args:
            folder: path of the folder with the files.
            files: tuple of strings, their names.
            classes: int, the number of classes.

        Returns:
            Images `(n, 32, 32, 3)` uint8 and labels `(n,)` int64.

        Raises:
            UserError: a file is missing or is not what it should be.
        """
        parts = [self._read_batch(folder / name, classes) for name in files]
        images, labels = map(np.concatenate, zip(*parts, strict=True))
        return np.ascontiguousarray(images.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)), labels

    def _read_batch(self, path: Path, classes: int) -> tuple[np.ndarray, np.ndarray]:
        raise NotImplementedError

    def read_class_names(self, folder: Path) -> tuple[str, ...]:
        """Reads the class names.

        Args:
            folder: path of the folder with the files.

        Returns:
            A tuple of strings.

        Raises:
            UserError: the file is missing or is not what it should be.
        """
        raise NotImplementedError


@dataclasses.dataclass(frozen=True)
class PickledFiles(CifarFiles):
    """The edition for Python.

    Args:
        labels, names: bytes, the keys of the labels and of the class names.
    """

    labels: bytes
    names: bytes

    def _read_batch(self, path: Path, classes: int) -> tuple[np.ndarray, np.ndarray]:
        batch = read_pickle(path)
        images = batch.get(b"data")
        if not isinstance(images, np.ndarray) or images.dtype != np.uint8:
            raise UserError(f"{path} is no CIFAR batch: it has no uint8 array under 'data'")
        if images.ndim != 2 or images.shape[1] != PIXELS or not len(images):
            raise UserError(f"{path}: 'data' must have the shape (n, 3072), it has {images.shape}")
        labels = batch.get(self.labels, [])
        labels = labels.tolist() if isinstance(labels, np.ndarray) else labels
        if not isinstance(labels, list) or len(labels) != len(images):
            found = len(labels) if isinstance(labels, list) else f"a {type(labels).__name__}"
            raise UserError(
                f"{path}: needs {len(images)} labels under {self.labels.decode()!r}, it has {found}"
            )
        if not all(isinstance(n, (int, np.integer)) and 0 <= n < classes for n in labels):
            raise UserError(f"{path}: labels must be integers from 0 to {classes - 1}")
        return images, np.array(labels, "int64")

    def read_class_names(self, folder: Path) -> tuple[str, ...]:
        """Reads the class names; see `CifarFiles`."""
        path = folder / self.meta_file
        names = read_pickle(path).get(self.names)
        names = names if isinstance(names, list) else []
        names = [n.decode("utf-8", "replace") if isinstance(n, bytes) else n for n in names]
        return _checked_names(names, f"{path}: needs a list of different names under "
                                     f"{self.names.decode()!r}")  # fmt: skip


@dataclasses.dataclass(frozen=True)
class BinaryFiles(CifarFiles):
    """The binary edition: records of a byte per label, and 3,072 of pixels.

    Args:
        labels: int, the number of labels of a record; the last is the one that is used.
    """

    labels: int

    def _read_batch(self, path: Path, classes: int) -> tuple[np.ndarray, np.ndarray]:
        content, record = _read_bytes(path), self.labels + PIXELS
        if not content or len(content) % record:
            raise UserError(
                f"{path} is no CIFAR batch: it needs records of {record} bytes, it has "
                f"{len(content)} bytes"
            )
        records = np.frombuffer(content, "uint8").reshape(-1, record)
        labels = records[:, self.labels - 1].astype("int64")
        if labels.max() >= classes:
            raise UserError(f"{path}: labels must be integers from 0 to {classes - 1}")
        return records[:, self.labels :], labels

    def read_class_names(self, folder: Path) -> tuple[str, ...]:
        """Reads the class names; see `CifarFiles`."""
        path = folder / self.meta_file
        lines = _read_bytes(path).decode("utf-8", "replace").splitlines()
        names = [line.strip() for line in lines if line.strip()]
        return _checked_names(names, f"{path}: needs different names, one in a line")


def _read_bytes(path: Path) -> bytes:
    if not path.is_file():
        raise UserError(f"{path} is missing")
    size = path.stat().st_size
    if size > LARGEST_FILE:
        raise UserError(f"{path} has {size} bytes; a batch file has 1 to {LARGEST_FILE}")
    return path.read_bytes()


def _checked_names(names: Sequence[object], message: str) -> tuple[str, ...]:
    # they go into tables and pictures
    words = [n for n in names if isinstance(n, str) and n.isprintable() and len(n) < 100]
    if not words or len(set(words)) != len(names):
        raise UserError(message)
    return tuple(words)


def _archives(*names: str) -> tuple[str, ...]:
    return tuple(name + ending for name in names for ending in (".tar.gz", ".tgz", ".tar"))


EDITIONS: dict[str, tuple[CifarFiles, ...]] = {
    "cifar10": (
        PickledFiles(
            folder="cifar-10-batches-py",
            archives=_archives("cifar-10-python", "cifar-10-batches-py"),
            train_files=tuple(f"data_batch_{i}" for i in range(1, 6)),
            test_files=("test_batch",),
            meta_file="batches.meta",
            labels=b"labels",
            names=b"label_names",
        ),
        BinaryFiles(
            folder="cifar-10-batches-bin",
            archives=_archives("cifar-10-binary", "cifar-10-batches-bin"),
            train_files=tuple(f"data_batch_{i}.bin" for i in range(1, 6)),
            test_files=("test_batch.bin",),
            meta_file="batches.meta.txt",
            labels=1,
        ),
    ),
    "cifar100": (
        PickledFiles(
            folder="cifar-100-python",
            archives=_archives("cifar-100-python"),
            train_files=("train",),
            test_files=("test",),
            meta_file="meta",
            labels=b"fine_labels",
            names=b"fine_label_names",
        ),
        BinaryFiles(
            folder="cifar-100-binary",
            archives=_archives("cifar-100-binary"),
            train_files=("train.bin",),
            test_files=("test.bin",),
            meta_file="fine_label_names.txt",
            labels=2,  # coarse, fine
        ),
    ),
}
