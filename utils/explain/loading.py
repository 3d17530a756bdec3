"""The runs to explain side by side: their data set, their networks, and short names for them."""

import contextlib
import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from models.class_activation import GradCAM
from models.graphs import deep_graphs, inlined

from ..data.dataset import Dataset
from ..data.datasets import IMAGE_SIZE
from ..data.images.folder import TEST_SHARE
from ..evaluation.networks import load_network
from ..predict.trained_network import fixed_image_shape
from ..runs.run_folder import (
    difference_of_classes,
    read_class_names,
    read_config,
    recorded_class_names,
)
from ..system.errors import UserError


def read_common_config(runs: Sequence[Path], data_dir: str | None = None) -> dict[str, Any]:
    """Reads the `config.json` of every run, and returns the first.

    Args:
        runs: list of paths of run folders.
        data_dir: path of the folder with the data of all runs. Defaults to each run's own.

    Raises:
        UserError: a folder is not a run or is named twice, or the runs have different data sets: by
            their names, by their classes or, for images in folders, by their folder, size or test
            images.
    """
    _require_different(runs)
    configs = [read_config(run) for run in runs]
    _require_same("data set", [config["dataset"] for config in configs])
    _require_same_classes(runs)
    if configs[0]["dataset"] == "folder":
        # None is recorded for the default
        _require_same("image size", [config.get("image_size") or IMAGE_SIZE for config in configs])
        _require_same("test split", [config.get("test_split") or TEST_SHARE for config in configs])
        if data_dir is None:
            hint = "; name the one that has the images of all with --data-dir"
            _require_same("data folder", [config.get("data_dir") for config in configs], hint)
    return configs[0]


def _require_different(runs: Sequence[Path]) -> None:
    seen: dict[Path, Path] = {}
    for run in runs:
        other = seen.setdefault(run.resolve(), run)
        if other is not run:
            raise UserError(f"the runs must be different folders; {other} and {run} are the same")


def _require_same(what: str, values: Sequence[Any], hint: str = "") -> None:
    different = dict.fromkeys(map(str, values))
    if len(different) > 1:
        received = ", ".join(different)
        raise UserError(f"the runs must have the same {what}; received {received}{hint}")


def _require_same_classes(runs: Sequence[Path]) -> None:
    """Compares the names of the classes of those runs that have recorded them."""
    recorded = [(run, names) for run in runs if (names := recorded_class_names(run))]
    for run, names in recorded[1:]:
        first, expected = recorded[0]
        if names != expected:
            how = difference_of_classes(names, expected)
            raise UserError(f"the runs must have the same classes; of {first} and {run}, {how}")


def load_explainable_network(
    run: Path, dataset: Dataset | None = None, layer: str | None = None
) -> keras.Model:
    """Loads the best network of a run, and checks that Grad-CAM can explain it.

    Args:
        run: path of the run folder.
        dataset: the `Dataset` that the network must fit. Defaults to `None`: it is not checked.
        layer: string, the layer of Grad-CAM. Defaults to the last feature map.

    Returns:
        A Keras model from raw pixels to class probabilities. It has no models inside it, unless two
        layers have the same name, so that attention and stages are found at any depth.

    Raises:
        UserError: the network cannot be loaded, does not fit the data, or has no such feature map.
    """
    try:
        network = load_network(run, dataset)
        with contextlib.suppress(ValueError), deep_graphs():
            network = inlined(network)
        GradCAM(network, layer)
    except ValueError as error:
        raise UserError(f"{run}/best.keras cannot be explained: {error}") from error
    return network


def without_images(config: dict[str, Any], run: Path) -> Dataset:
    """Returns the data set of a run without an image, where only its classes are known.

    Args:
        config: dictionary, the run's `config.json`.
        run: path of the run's folder.

    Raises:
        UserError: the network cannot be loaded, or does not take images of a fixed size.
    """
    network = load_explainable_network(run)
    nothing = np.zeros((0, *fixed_image_shape(network, f"{run}/best.keras")), "uint8")
    names = read_class_names(run, network.output_shape[-1])
    labels = np.zeros(0, "int64")
    return Dataset(config["dataset"], nothing, labels, nothing, labels, names, 0, flips=False)


def display_names(runs: Sequence[Path]) -> list[str]:
    """Returns a short, different name for each run.

    Args:
        runs: list of paths of run folders.

    Returns:
        A list of strings, shortened by `shorten_names`: the folders' names or, if two are the same,
        their paths.
    """
    names = [run.resolve().name for run in runs]
    return shorten_names(names if len(set(names)) == len(names) else list(map(str, runs)))


def shorten_names(names: list[str]) -> list[str]:
    """Removes from names the words that all of them begin or end with; words end at a hyphen.

    Args:
        names: list of strings.

    Returns:
        A list of strings; `names` if a short name would be empty or would stand for two.

    Example:

    >>> shorten_names(["cifar10-none-seed0", "cifar10-se_block-seed0"])
    ['none', 'se_block']
    """
    words = [name.split("-") for name in names]
    first = _common_count(words)
    last = _common_count([each[::-1] for each in words])
    short = ["-".join(each[first : len(each) - last]) for each in words]
    return short if all(short) and len(set(short)) == len(short) else names


def _common_count(words: list[list[str]]) -> int:
    """How many words all lists begin with."""
    columns = zip(*words, strict=False)
    return len(list(itertools.takewhile(lambda column: len(set(column)) == 1, columns)))
