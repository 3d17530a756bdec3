"""CIFAR-10 and CIFAR-100 in their official layout: found or downloaded, and read safely.

The files are untrusted: an archive or a batch that was tampered with is refused, never run.
"""

import dataclasses
import gzip
import itertools
import os
import shutil
import tarfile
import tempfile
from pathlib import Path
from typing import IO, Any

import numpy as np

from ..system.errors import UserError
from ..system.files import SizeLimitedFile
from .dataset import Dataset, LoadOptions
from .downloads import download
from .pickles import read_pickle

# the authors' server, and PaddlePaddle's, which has the same archives
MIRRORS = ("https://www.cs.toronto.edu/~kriz/", "https://dataset.bj.bcebos.com/cifar/")
LARGEST_ARCHIVE = 256 * 2**20  # bytes, packed or not; the official ones hold 186 MB
MOST_MEMBERS = 100


@dataclasses.dataclass(frozen=True)
class CifarSpec:
    """The official files of CIFAR-10 or CIFAR-100.

    Args:
        folder: string, name of the official folder.
        archive: string, name of the official archive.
        sha256: string, the archive's checksum.
        train_files, test_files: tuples of strings, names of the batch files.
        meta_file: string, name of the file with the class names.
        labels, names: bytes, the keys of the labels and of the class names.
    """

    folder: str
    archive: str
    sha256: str
    train_files: tuple[str, ...]
    test_files: tuple[str, ...]
    meta_file: str
    labels: bytes
    names: bytes

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

    def read_class_names(self, folder: Path) -> tuple[str, ...]:
        """Reads the class names.

        Args:
            folder: path of the folder with the files.

        Returns:
            A tuple of strings.

        Raises:
            UserError: the file is missing or is not what it should be.
        """
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


def load_cifar10(options: LoadOptions) -> Dataset:
    """Loads CIFAR-10 from its official archive or folder."""
    return _load("cifar10", options)


def load_cifar100(options: LoadOptions) -> Dataset:
    """Loads CIFAR-100 with its 100 fine labels from its official archive or folder."""
    return _load("cifar100", options)


def _load(name: str, options: LoadOptions) -> Dataset:
    spec = CIFAR[name]
    try:
        folder = find_cifar(name, options.data_dir, options.download)
    except OSError as error:
        raise UserError(f"{name} is not available: {error}") from error
    class_names = spec.read_class_names(folder)
    x_train, y_train = spec.read(folder, spec.train_files, len(class_names))
    x_test, y_test = spec.read(folder, spec.test_files, len(class_names))
    return Dataset(name, x_train, y_train, x_test, y_test, class_names, crop_padding=4, flips=True)


def find_cifar(name: str, data_dir: str | Path | None = None, download: bool = True) -> Path:
    """Finds the folder with the batch files; unpacks or downloads the archive if necessary.

    Args:
        name: string, `"cifar10"` or `"cifar100"`.
        data_dir: path of a folder to look in first, and to download to. Defaults to Keras's cache.
        download: bool, whether to download an archive that is not on this machine.

    Returns:
        A `Path`.

    Raises:
        OSError: it is not on this machine and is not downloaded; the message says where to put it.
        UserError: an archive that was found is not the official one.
    """
    spec, places = CIFAR[name], _places(data_dir)
    for place in places:
        # the last is where keras.utils.get_file unpacks it
        for folder in (place, place / spec.folder, place / f"{spec.folder}-target" / spec.folder):
            official = folder.name == spec.folder and folder.is_dir()
            if official or (folder / spec.meta_file).is_file():
                return folder
        if (place / spec.archive).is_file():
            return _unpack(spec, place)
    if not download:
        looked = "Keras's cache" if data_dir is None else f"{data_dir} or Keras's cache"
        raise OSError(f"not in {looked}; name its folder with --data-dir")
    _download(spec, places[0])
    return _unpack(spec, places[0])


def _places(data_dir: str | Path | None) -> list[Path]:
    cache = Path(os.environ.get("KERAS_HOME") or Path.home() / ".keras") / "datasets"
    return [Path(data_dir), cache] if data_dir is not None else [cache]


def _download(spec: CifarSpec, place: Path) -> None:
    place.mkdir(parents=True, exist_ok=True)
    urls = [mirror + spec.archive for mirror in MIRRORS]
    try:
        download(urls, place / spec.archive, spec.sha256, LARGEST_ARCHIVE)
    except OSError as error:
        raise OSError(
            f"not in {place}, and the download failed ({error}); "
            f"without a network, put {spec.archive} there"
        ) from error


def _unpack(spec: CifarSpec, place: Path) -> Path:
    """Takes the expected files out of the archive, and nothing else that may be in it."""
    path = place / spec.archive
    missing = {f"{spec.folder}/{n}" for n in (*spec.train_files, *spec.test_files, spec.meta_file)}
    temporary = Path(tempfile.mkdtemp(dir=place, prefix=f".{spec.folder}-"))
    try:
        # read once, as a stream: so the limit holds for all of it, and no header can seek back
        with gzip.open(path) as file:
            stream: Any = SizeLimitedFile(file, LARGEST_ARCHIVE)
            with tarfile.open(fileobj=stream, mode="r|", tarinfo=_Member) as archive:
                for member in itertools.islice(archive, MOST_MEMBERS):
                    if member.size > LARGEST_ARCHIVE:  # `tarfile` would skip past the file's end
                        raise tarfile.ReadError(f"{member.name} has {member.size} bytes")
                    if member.name not in missing:
                        continue
                    if not member.isfile() or member.issparse():
                        raise tarfile.ReadError(f"{member.name} is no file")
                    content: IO[bytes] | None = archive.extractfile(member)
                    assert content is not None  # as it is for every regular file
                    with open(temporary / Path(member.name).name, "wb") as target:
                        shutil.copyfileobj(content, target)
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
    """An archive's member whose header is of a plausible size: `tarfile` reads it into memory."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> "_Member":
        member = super().frombuf(buf, encoding, errors)
        if member.size > 4096 and not member.isreg():
            raise tarfile.ReadError(f"a header has {member.size} bytes")
        return member
