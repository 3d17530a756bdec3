"""The runs to explain side by side: their data set, their networks, and short names for them."""

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from models.class_activation import GradCAM

from ..data.dataset import Dataset
from ..evaluation.networks import load_network
from ..runs.run_folder import read_class_names, read_config
from ..system.errors import UserError


def read_common_config(runs: Sequence[Path]) -> dict[str, Any]:
    """Reads the `config.json` of every run, and returns the first.

    Args:
        runs: list of paths of run folders.

    Raises:
        UserError: a folder is not a run, or the runs have different data sets.
    """
    configs = [read_config(run) for run in runs]
    datasets = list(dict.fromkeys(config["dataset"] for config in configs))
    if len(datasets) > 1:
        raise UserError(f"the runs must have the same data set; received {', '.join(datasets)}")
    return configs[0]


def load_explainable_network(
    run: Path, dataset: Dataset | None = None, layer: str | None = None
) -> keras.Model:
    """Loads the best network of a run, and checks that Grad-CAM can explain it.

    Args:
        run: path of the run folder.
        dataset: the `Dataset` that the network must fit, or `None`.
        layer: string, the layer of Grad-CAM. Defaults to the last feature map.

    Returns:
        A Keras model from raw pixels to class probabilities.

    Raises:
        UserError: the network cannot be loaded, does not fit the data, or has no such feature map.
    """
    try:
        network = load_network(run, dataset)
        GradCAM(network, layer)
    except ValueError as error:
        raise UserError(f"{run}/best.keras cannot be explained: {error}") from error
    return network


def without_images(config: dict[str, Any], run: Path) -> Dataset:
    """Returns the data set of a run without an image, where only its classes are known.

    Args:
        config: dictionary, the run's `config.json`.
        run: path of the run's folder.
    """
    network = load_explainable_network(run)
    _, *shape = network.input_shape
    if keras.config.image_data_format() == "channels_first":
        shape = [*shape[1:], shape[0]]
    nothing = np.zeros((0, *shape), "uint8")
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
