"""CIFAR-10 and CIFAR-100 in their official layout: found, downloaded, and read without trust."""

import dataclasses
import gzip
import logging
import os
import pickle
import shutil
import tarfile
import tempfile
import warnings
import zlib
from pathlib import Path

import numpy as np

from .errors import UserError

TIMEOUT = 20  # seconds without an answer from the server
LARGEST_FILE = 256 * 2**20  # bytes; the largest official file has 155 MB


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
        labels = np.array(batch.get(self.labels, ()), dtype=object)
        if labels.shape != images.shape[:1]:
            raise UserError(
                f"{path}: needs {len(images)} labels under {self.labels.decode()!r}, "
                f"it has {labels.size}"
            )
        if not all(isinstance(n, (int, np.integer)) and 0 <= n < classes for n in labels):
            raise UserError(f"{path}: labels must be integers from 0 to {classes - 1}")
        return images, labels.astype("int64")

    def read_class_names(self, folder):
        """Reads the class names, a tuple of strings."""
        path = folder / self.meta_file
        names = read_pickle(path).get(self.names)
        if not isinstance(names, list) or not names:
            raise UserError(f"{path}: needs a list of names under {self.names.decode()!r}")
        return tuple(n.decode("utf-8", "replace") if type(n) is bytes else str(n) for n in names)


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
    spec = CIFAR[name]
    cache = Path(os.environ.get("KERAS_HOME", Path.home() / ".keras")) / "datasets"
    places = [Path(data_dir), cache] if data_dir is not None else [cache]
    for place in places:
        # the last is where keras.utils.get_file unpacks it
        for folder in (place, place / spec.folder, place / f"{spec.folder}-target" / spec.folder):
            official = folder.name == spec.folder and folder.is_dir()
            if official or (folder / spec.meta_file).is_file():
                return folder
        if (place / spec.archive).is_file():
            return _unpack(spec, place)
    _download(spec, places[0])
    return _unpack(spec, places[0])


def _unpack(spec, place):
    """Takes the expected files out of the archive, and nothing else that may be in it."""
    path = place / spec.archive
    temporary = Path(tempfile.mkdtemp(dir=place, prefix=f".{spec.folder}-"))
    try:
        with tarfile.open(path) as archive:
            for name in (*spec.train_files, *spec.test_files, spec.meta_file):
                member = archive.getmember(f"{spec.folder}/{name}")
                if not member.isfile() or member.size > LARGEST_FILE:
                    raise UserError(f"{path}: {member.name} is no batch file")
                with open(temporary / name, "wb") as target:
                    shutil.copyfileobj(archive.extractfile(member), target)
        os.replace(temporary, place / spec.folder)
    except (tarfile.TarError, EOFError, KeyError, zlib.error, gzip.BadGzipFile) as error:
        raise UserError(
            f"{path} is empty, damaged or not the official archive ({error}); "
            "put a whole one there, or remove it to have it downloaded"
        ) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return place / spec.folder


def _download(spec, place):
    import pooch

    pooch.get_logger().setLevel(logging.WARNING)
    place.mkdir(parents=True, exist_ok=True)
    try:
        pooch.retrieve(
            f"https://www.cs.toronto.edu/~kriz/{spec.archive}",
            known_hash=f"sha256:{spec.sha256}",
            fname=spec.archive,
            path=place,
            downloader=pooch.HTTPDownloader(progressbar=True, timeout=TIMEOUT),
        )
    except Exception as error:  # whatever went wrong between here and the server
        raise OSError(
            f"not in {place}, and the download failed ({type(error).__name__}); "
            f"without a network, put {spec.archive} there"
        ) from error


def read_pickle(path):
    """Reads a pickled dictionary that holds nothing but numpy arrays and Python's own values.

    Args:
        path: path of the file.

    Returns:
        A dictionary with bytes keys.

    Raises:
        UserError: the file is missing, empty, too large, damaged, or wants to run code.
    """
    if not path.is_file():
        raise UserError(f"{path} is missing")
    size = path.stat().st_size
    if not 0 < size <= LARGEST_FILE:
        raise UserError(f"{path} has {size} bytes; a batch file has 1 to {LARGEST_FILE}")
    try:
        with open(path, "rb") as file, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # numpy's, about pickles as old as CIFAR's
            content = _ArrayUnpickler(file, encoding="bytes").load()
    except _ForbiddenName as error:
        raise UserError(f"{path} wants to run {error}, which no batch file does; refused") from None
    except Exception as error:  # a damaged pickle can fail in any way
        raise UserError(f"{path} is truncated, damaged or no CIFAR batch ({error})") from error
    if not isinstance(content, dict):
        raise UserError(f"{path} is no CIFAR batch: it holds a {type(content).__name__}")
    return {key.encode() if isinstance(key, str) else key: content[key] for key in content}


class _ForbiddenName(Exception):
    pass


_ARRAY_NAMES = {
    ("_codecs", "encode"),  # how Python 3 writes bytes in protocol 2
    ("numpy", "dtype"),
    ("numpy", "ndarray"),
    *((f"numpy.{core}.multiarray", "_reconstruct") for core in ("core", "_core")),
    *((f"numpy.{core}.multiarray", "scalar") for core in ("core", "_core")),
    *((f"numpy.{core}.numeric", "_frombuffer") for core in ("core", "_core")),
}


class _ArrayUnpickler(pickle.Unpickler):
    """Makes numpy arrays, and refuses every other name that a pickle can call."""

    def find_class(self, module, name):
        if (module, name) not in _ARRAY_NAMES:
            raise _ForbiddenName(f"{module}.{name}")
        return super().find_class(module, name)
