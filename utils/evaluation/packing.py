"""Weights of finished runs, packed for `weights="cifar10"`: float16, with what they reach."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from models.pretrained import CIFAR10, FOLDER, INDEX
from models.specification import format_specification

from ..config.fields import given_options
from ..config.settings import TrainSettings
from ..data.datasets import load_dataset
from ..runs.naming import attention_name, network_name
from ..runs.run_folder import read_config
from ..system.errors import UserError
from ..system.files import replacing, write_json
from .counting import trainable_params
from .evaluate import evaluate
from .networks import load_trained

# settings of a run that say what its training was, of those that differ from the defaults
NOT_OF_RECIPE = (
    "model", "attention", "attention_at", "dataset", "data_dir", "seed", "backend", "epochs",
    "checkpoint_every", "workers", "precision", "hosts",
)  # fmt: skip


def pack_weights(
    runs: Sequence[Path], data_dir: str | None = None, announce: Callable[[str], None] = print
) -> None:
    """Packs the best networks of runs on CIFAR-10, and evaluates them as they are packed.

    Each run's weights and their entry in the index are written before the next run is looked at.

    Args:
        runs: list of paths of the folders of finished runs.
        data_dir: path of the folder with CIFAR-10. Defaults to each run's own.
        announce: function that takes a line of text. Defaults to `print`.

    Raises:
        UserError: a folder is not that of a run, or a run is on other data. Nothing is packed then.
    """
    for run, settings in [(run, _settings_of(run)) for run in runs]:
        network = load_trained(run)
        dataset = load_dataset(CIFAR10, data_dir or settings.data_dir, announce)
        before = evaluate(network, dataset).accuracy
        arrays = _to_float16(network)
        accuracy = evaluate(network, dataset).accuracy
        name = f"{CIFAR10}/{network_name(settings)}-{attention_name(settings.attention_spec)}"
        size = _write(name, arrays, _entry(settings, network, accuracy, dataset.class_names))
        announce(
            f"{name}: {size / 2**20:.2f} MB, test accuracy {accuracy:.4f}, {before:.4f} in float32"
        )


def _write(name: str, arrays: dict[str, np.ndarray], entry: Mapping[str, Any]) -> int:
    """Writes the weights of a network and its entry in the index; returns the bytes of weights."""
    from safetensors.numpy import save_file

    index = {**json.loads(INDEX.read_text("utf-8")), name: entry}
    path = FOLDER / f"{name}.safetensors"
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        save_file(arrays, temporary)
    write_json(INDEX, index)
    return path.stat().st_size


def _settings_of(run):
    config = read_config(run)
    if config["dataset"] != CIFAR10:
        raise UserError(
            f"{run} was trained on {config['dataset']}; only runs on {CIFAR10} are packed"
        )
    known = [field.name for field in TrainSettings.fields()]
    return TrainSettings(**{k: v for k, v in config.items() if k in known})


def _to_float16(network):
    """Rounds the weights of a network, and returns them in float16 by their names in the file.

    Those of the normalization of the pixels are not among them: the index has its statistics.
    """
    arrays: dict[str, np.ndarray] = {}
    for layer in network.layers:
        if layer.weights and layer.name != "normalization":
            rounded = [value.astype("float16") for value in layer.get_weights()]
            arrays |= {f"{layer.name}/{number}": value for number, value in enumerate(rounded)}
            layer.set_weights([value.astype("float32") for value in rounded])
    return arrays


def _entry(settings, network, accuracy, class_names):
    """What the index says of a network."""
    normalization = network.get_layer("normalization")
    architecture = given_options(settings, "architecture")
    return {
        "model": format_specification(settings.model or "", architecture),
        "attention": str(settings.attention_spec),
        "test_accuracy": accuracy,
        "epochs": settings.epochs,
        "seed": settings.seed,
        "recipe": _recipe(settings),
        "params": trainable_params(network),
        "mean": np.ravel(normalization.input_mean).tolist(),
        "variance": np.ravel(normalization.input_variance).tolist(),
        "class_names": list(class_names),
    }


def _recipe(settings: TrainSettings) -> dict[str, Any]:
    """The settings of the training that differ from the defaults."""
    usual = TrainSettings().config()
    architecture = given_options(settings, "architecture")
    return {
        name: value
        for name, value in settings.config().items()
        if name not in NOT_OF_RECIPE and name not in architecture and value != usual.get(name)
    }
