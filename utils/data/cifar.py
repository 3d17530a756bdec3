"""CIFAR-10 and CIFAR-100 in their official layout: found, downloaded, and read without trust."""

import dataclasses
import gzip
import itertools
import os
import shutil
import tarfile
import tempfile
from pathlib import Path

import numpy as np

from ..system.errors import UserError
from ..system.files import Limited
from .downloads import download
from .pickles import read_pickle

# the authors' server, and PaddlePaddle's, which has the same archives
MIRRORS = ("https://www.cs.toronto.edu/~kriz/", "https://dataset.bj.bcebos.com/cifar/")
LARGEST_ARCHIVE = 256 * 2**20  # bytes, packed or not; the official ones hold 186 MB
MOST_MEMBERS = 100


@dataclasses.dataclass(frozen=True)
class CifarSpec:
    """Where one of the two sets is, and what its files hold.

    Args:
        folder: string, name of the official folder.
        archive: string, name of the official archive.
        sha256: string, the archive's checksum.
        train_files, test_files: tuples of names of batch files.
        meta_file: string, name of the file with the class names.
        labels, names: the keys of labels and class names.
    """

    folder: str
    archive: str
    sha256: str
    train_files: tuple
    test_files: tuple
    meta_file: str
    labels: bytes
    names: bytes

    def read(self, folder, files, classes):
        """Reads batch files.

        Returns:
            Images `(n, 32, 32, 3)` uint8 and labels `(n,)` int64.
        """
        parts = [self._read_batch(folder / name, classes) for name in files]
        images, labels = map(np.concatenate, zip(*parts, strict=True))
        return np.ascontiguousarray(images.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)), labels

    def _read_batch(self, path, classes):
        batch = read_pickle(path)
        images = batch.get(b"data")
        if not isinstance(images, np.ndarray) or images.dtype != np.uint8:
            raise UserError(f"{path} is no CIFAR batch: it has no uint8 array under 'data'")
        if images.ndim != 2 or images.shape[1] != 3072 or not len(images):
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

    def read_class_names(self, folder):
        """Reads the class names, a tuple of strings."""
        path = folder / self.meta_file
        names = read_pickle(path).get(self.names)
        names = names if isinstance(names, list) else []
        names = [n.decode("utf-8", "replace") if isinstance(n, bytes) else n for n in names]
        # they go into tables and pictures
        words = [n for n in names if isinstance(n, str) and n.isprintable() and len(n) < 100]
        if not words or len(set(words)) != len(names):
            raise UserError(
                f"{path}: needs a list of different names under {self.names.decode()!r}"
            )
        return tuple(names)


CIFAR = {
    "cifar10": CifarSpec(
        folder="cifar-10-batches-py",
        archive="cifar-10-python.tar.gz",
        sha256="6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce",
        train_files=tuple(f"data_batch_{i}" for i in range(1, 6)),
        test_files=("test_batch",),
        meta_file="batches.meta",
        labels=b"labels",
        names=b"label_names",
    ),
    "cifar100": CifarSpec(
        folder="cifar-100-python",
        archive="cifar-100-python.tar.gz",
        sha256="85cd44d02ba6437773c5bbd22e183051d648de2e7d6b014e1ef29b855ba677a7",
        train_files=("train",),
        test_files=("test",),
        meta_file="meta",
        labels=b"fine_labels",
        names=b"fine_label_names",
    ),
}


def local_cifar(name, data_dir=None):
    """Finds the folder with the batch files on this machine, unpacking the archive if need be.

    Args:
        name, data_dir: as in `find_cifar`.

    Returns:
        A `Path`, or `None` where there is neither folder nor archive.

    Raises:
        UserError: an archive that was found is not the official one.
    """
    spec = CIFAR[name]
    for place in _places(data_dir):
        # the last is where keras.utils.get_file unpacks it
        for folder in (place, place / spec.folder, place / f"{spec.folder}-target" / spec.folder):
            official = folder.name == spec.folder and folder.is_dir()
            if official or (folder / spec.meta_file).is_file():
                return folder
        if (place / spec.archive).is_file():
            return _unpack(spec, place)
    return None


def _places(data_dir):
    cache = Path(os.environ.get("KERAS_HOME", Path.home() / ".keras")) / "datasets"
    return [Path(data_dir), cache] if data_dir is not None else [cache]


def find_cifar(name, data_dir=None):
    """Finds the folder with the batch files, unpacking or downloading the archive if need be.

    Args:
        name: `"cifar10"` or `"cifar100"`.
        data_dir: path of a folder to look in first, and to download to; `None` for Keras's cache.

    Returns:
        A `Path`.

    Raises:
        OSError: it is nowhere, and cannot be downloaded; the message says where to put it.
        UserError: an archive that was found is not the official one.
    """
    folder = local_cifar(name, data_dir)
    if folder is not None:
        return folder
    spec, place = CIFAR[name], _places(data_dir)[0]
    _download(spec, place)
    return _unpack(spec, place)


def _download(spec, place):
    place.mkdir(parents=True, exist_ok=True)
    urls = [mirror + spec.archive for mirror in MIRRORS]
    try:
        download(urls, place / spec.archive, spec.sha256, LARGEST_ARCHIVE)
    except OSError as error:
        raise OSError(
            f"not in {place}, and the download failed ({error}); "
            f"without a network, put {spec.archive} there"
        ) from error


def _unpack(spec, place):
    """Takes the expected files out of the archive, and nothing else that may be in it."""
    path = place / spec.archive
    missing = {f"{spec.folder}/{n}" for n in (*spec.train_files, *spec.test_files, spec.meta_file)}
    temporary = Path(tempfile.mkdtemp(dir=place, prefix=f".{spec.folder}-"))
    try:
        # as one stream, read once: so the limit holds for all of it, and nothing seeks in circles
        with gzip.open(path) as file:
            stream = Limited(file, LARGEST_ARCHIVE)
            with tarfile.open(fileobj=stream, mode="r|", tarinfo=_Member) as archive:
                for member in itertools.islice(archive, MOST_MEMBERS):
                    if member.size > LARGEST_ARCHIVE:  # `tarfile` would step on, past any end
                        raise tarfile.ReadError(f"{member.name} has {member.size} bytes")
                    if member.name not in missing:
                        continue
                    if not member.isfile() or member.issparse():
                        raise tarfile.ReadError(f"{member.name} is no file")
                    with open(temporary / Path(member.name).name, "wb") as target:
                        shutil.copyfileobj(archive.extractfile(member), target)
                    missing.remove(member.name)
            while stream.read(2**20):  # gzip compares its checksum at the end
                pass
        if missing:
            raise tarfile.ReadError(f"it lacks {', '.join(sorted(missing))}")
        os.replace(temporary, place / spec.folder)
    except Exception as error:  # a damaged archive can fail in any way
        if isinstance(error, OSError) and not isinstance(error, gzip.BadGzipFile):
            raise  # not the archive's fault
        raise UserError(
            f"{path} is empty, damaged or not the official archive ({error}); "
            "put a whole one there, or remove it to have it downloaded"
        ) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return place / spec.folder


class _Member(tarfile.TarInfo):
    """A member with headers of a size that can be true: `tarfile` holds and searches them whole."""

    @classmethod
    def frombuf(cls, buf, encoding, errors):
        member = super().frombuf(buf, encoding, errors)
        if member.size > 4096 and not member.isreg():
            raise tarfile.ReadError(f"a header has {member.size} bytes")
        return member
