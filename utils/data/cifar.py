"""CIFAR-10 and CIFAR-100 in their official layouts: found, unpacked or downloaded."""

import os
from collections.abc import Sequence
from pathlib import Path

from ..system.errors import UserError
from .cifar_archive import LARGEST_ARCHIVE, unpack
from .cifar_files import EDITIONS, CifarFiles
from .dataset import Dataset, LoadOptions
from .downloads import download

# the authors' server, and PaddlePaddle's, which has the same archives
MIRRORS = ("https://www.cs.toronto.edu/~kriz/", "https://dataset.bj.bcebos.com/cifar/")
CHECKSUMS = {  # of the archives for Python, SHA-256
    "cifar10": "6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce",
    "cifar100": "85cd44d02ba6437773c5bbd22e183051d648de2e7d6b014e1ef29b855ba677a7",
}


class NotOnThisMachine(UserError):
    """There is neither a folder nor an archive, and none was downloaded."""


def load_cifar10(options: LoadOptions) -> Dataset:
    """Loads CIFAR-10 from its official archive or folder."""
    return _load("cifar10", options)


def load_cifar100(options: LoadOptions) -> Dataset:
    """Loads CIFAR-100 with its 100 fine labels from its official archive or folder."""
    return _load("cifar100", options)


def _load(name: str, options: LoadOptions) -> Dataset:
    try:
        edition, folder = _find(name, options.data_dir, options.download)
    except NotOnThisMachine as error:
        raise UserError(f"{name} is not available: {error}") from error
    class_names = edition.read_class_names(folder)
    x_train, y_train = edition.read(folder, edition.train_files, len(class_names))
    x_test, y_test = edition.read(folder, edition.test_files, len(class_names))
    return Dataset(name, x_train, y_train, x_test, y_test, class_names, crop_padding=4, flips=True)


def find_cifar(name: str, data_dir: str | Path | None = None, download: bool = True) -> Path:
    """Finds the folder with the batch files; unpacks or downloads the archive if necessary.

    Args:
        name: string, `"cifar10"` or `"cifar100"`.
        data_dir: path of a folder to look in first, and to download to, or of an archive. Defaults
            to Keras's cache.
        download: bool, whether to download an archive that is not on this machine. Defaults to
            `True`.

    Returns:
        A `Path`.

    Raises:
        NotOnThisMachine: it is not on this machine and is not downloaded; the message says where
            to put it.
        UserError: an archive that was found is not an official one, or cannot be unpacked.
    """
    return _find(name, data_dir, download)[1]


def recognize_cifar(place: str | Path) -> str | None:
    """Returns the name of the data set that is in a folder or an archive; unpacks an archive.

    Args:
        place: path of the folder or of the archive.

    Returns:
        `"cifar10"`, `"cifar100"`, or `None` if it is neither.

    Raises:
        UserError: an archive is not an official one, or cannot be unpacked.
    """
    place = Path(place)
    if place.is_file():
        every = [edition for editions in EDITIONS.values() for edition in editions]
        edition, _ = unpack(place, every, _cache())
        return next(name for name, editions in EDITIONS.items() if edition in editions)
    names = (name for name, editions in EDITIONS.items() if _find_in(place, editions))
    return next(names, None)


def _find(name: str, data_dir: str | Path | None, download: bool) -> tuple[CifarFiles, Path]:
    places = [_cache()] if data_dir is None else [Path(data_dir), _cache()]
    for place in places:
        found = _find_in(place, EDITIONS[name])
        if found:
            return found
    if not download:
        looked = "Keras's cache" if data_dir is None else f"{data_dir} or Keras's cache"
        raise NotOnThisMachine(f"not in {looked}; name its folder with --data-dir")
    try:
        _download(name, places[0])
    except OSError as error:
        raise NotOnThisMachine(str(error)) from error
    edition = EDITIONS[name][0]
    return unpack(places[0] / edition.archives[0], [edition], _cache())


def _cache() -> Path:
    return Path(os.environ.get("KERAS_HOME") or Path.home() / ".keras") / "datasets"


def _find_in(place: Path, editions: Sequence[CifarFiles]) -> tuple[CifarFiles, Path] | None:
    """Finds the files in a folder, unpacking an archive there; or unpacks `place` itself."""
    if place.is_file():
        return unpack(place, editions, _cache())
    pairs = [(edition, folder) for edition in editions for folder in _folders(edition, place)]
    for edition, folder in pairs:
        if edition.are_in(folder):
            return edition, folder
    for edition in editions:
        # an incomplete folder may be named itself, with its archive beside it
        beside = [place.parent] if place.name == edition.folder else []
        for path in [p / name for p in (place, *beside) for name in edition.archives]:
            if path.is_file():
                return unpack(path, [edition], _cache())
    for edition, folder in pairs:  # incomplete: reading it says what is missing
        official = folder.name == edition.folder and folder.is_dir()
        if official or (folder / edition.meta_file).is_file():
            return edition, folder
    return None


def _folders(edition: CifarFiles, place: Path) -> tuple[Path, ...]:
    # the last is where keras.utils.get_file unpacks it
    return place, place / edition.folder, place / f"{edition.folder}-target" / edition.folder


def _download(name: str, place: Path) -> None:
    archive = EDITIONS[name][0].archives[0]
    place.mkdir(parents=True, exist_ok=True)
    urls = [mirror + archive for mirror in MIRRORS]
    try:
        download(urls, place / archive, CHECKSUMS[name], LARGEST_ARCHIVE)
    except OSError as error:
        raise OSError(
            f"not in {place}, and the download failed ({error}); "
            f"without a network, put {archive} there, or name its folder with --data-dir"
        ) from error
