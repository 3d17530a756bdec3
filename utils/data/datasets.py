"""The data sets that can be loaded by name.

Nothing here imports NumPy or Keras, so that the command line can name the data sets at once.
"""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from ..system.errors import UserError

if TYPE_CHECKING:
    from .dataset import Dataset, LoadOptions

IMAGE_SIZE = 224  # pixels: the default height and width of images from a folder


@dataclasses.dataclass(frozen=True)
class DatasetEntry:
    """A data set in the table `DATASETS`.

    Args:
        loader: string `"module:function"`: a module of this package, imported only when the data
            set is loaded, and its function from a `LoadOptions` to a `Dataset`.
        help: string, a line for the command line's help.
        takes_archive: bool, whether the data may also be an archive in the place of a folder.
    """

    loader: str
    help: str
    takes_archive: bool = False

    def load(self, options: LoadOptions) -> Dataset:
        """Imports the loader and calls it."""
        module, function = self.loader.split(":")
        return getattr(importlib.import_module(f".{module}", __package__), function)(options)


DATASETS = {
    "auto": DatasetEntry(
        "datasets:load_auto",
        "what --data-dir holds; without it CIFAR-10 if it is available, digits otherwise",
        takes_archive=True,
    ),
    "cifar10": DatasetEntry(
        "cifar:load_cifar10", "32x32 photographs of 10 classes", takes_archive=True
    ),
    "cifar100": DatasetEntry(
        "cifar:load_cifar100", "32x32 photographs of 100 classes", takes_archive=True
    ),
    "digits": DatasetEntry("digits:load_digits", "scikit-learn's 8x8 digits, nothing to download"),
    "folder": DatasetEntry(
        "images.folder:load_folder", "image files in --data-dir, a folder per class"
    ),
}


def load_dataset(
    name: str = "auto",
    data_dir: str | Path | None = None,
    announce: Callable[[str], object] = print,
    image_size: int | None = IMAGE_SIZE,
    corrupt: str | None = "refuse",
    test_split: float | None = None,
    download: bool = True,
) -> Dataset:
    """Loads a data set.

    Args:
        name: string, a key of `DATASETS`.
        data_dir: path of the folder to look in first and to download to, or of an archive of CIFAR.
            Defaults to Keras's cache; `"folder"` has no default.
        announce: function that takes a line of text, such as which data set `"auto"` chose.
        image_size: int, height and width in pixels to which images from a folder are resized.
            Defaults to 224.
        corrupt: what to do with files in a folder that cannot be read: `"refuse"` (the default) the
            whole data set, or `"skip"` the files.
        test_split: float in (0, 1), the share of each class to test on, of images from a folder
            that has none for testing. Defaults to 0.2.
        download: bool, whether to download what is not on this machine. Defaults to `True`.

    Returns:
        A `Dataset`.

    Raises:
        UserError: the name is unknown, `data_dir` is no folder, the data set is not available, or
            a file of it is not what it should be.
    """
    if name not in DATASETS:
        raise UserError(f"unknown dataset {name!r}; known: {', '.join(DATASETS)}")
    archive = DATASETS[name].takes_archive and data_dir is not None and Path(data_dir).is_file()
    if data_dir is not None and not archive and not Path(data_dir).is_dir():
        seen = "" if Path(data_dir).is_absolute() else f", seen from {Path.cwd()}"
        raise UserError(f"the data folder {str(data_dir)!r} is not there or is no folder{seen}")
    from .dataset import LoadOptions

    options = LoadOptions(
        data_dir, announce, image_size or IMAGE_SIZE, corrupt or "refuse", test_split, download
    )
    return DATASETS[name].load(options)


def load_auto(options: LoadOptions) -> Dataset:
    """Loads what is in the folder that is given; without one, CIFAR-10 or else digits.

    A folder is recognized by its files as CIFAR-10, CIFAR-100 or photographs. If it holds none of
    them, CIFAR-10 is looked for in the cache, or downloaded to the folder. Digits never take the
    place of a folder.
    """
    from .cifar import NotOnThisMachine, find_cifar, recognize_cifar
    from .images.class_folders import holds_images

    data_dir, note = options.data_dir, ""
    name = recognize_cifar(data_dir) if data_dir is not None else None
    if data_dir is not None and name is None and holds_images(Path(data_dir)):
        options.announce(f"Data set: the photographs in {data_dir} (--dataset folder).")
        return DATASETS["folder"].load(options)
    if name is None:
        name = "cifar10"
        try:
            found = find_cifar(name, data_dir, options.download)
        except NotOnThisMachine as error:
            if data_dir is not None:
                raise UserError(
                    f"{data_dir} holds neither CIFAR nor images, and CIFAR-10 is not available "
                    f"({error}); --dataset digits needs no data"
                ) from error
            options.announce(
                f"Training on scikit-learn's digits. CIFAR-10 is not available: {error}"
            )
            return DATASETS["digits"].load(options)
        if data_dir is not None:
            note = f", from {found}; {data_dir} held no data set that is known"
        data_dir = found
    options.announce(f"Data set: {name.upper().replace('CIFAR', 'CIFAR-')}{note}.")
    return DATASETS[name].load(dataclasses.replace(options, data_dir=data_dir))
