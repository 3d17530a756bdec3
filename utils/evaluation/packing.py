"""Weights of finished runs, packed for `weights="cifar10"`: float16, with what they reach."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from models.pretrained import FOLDER, INDEX
from models.saving import load_model
from models.specification import format_specification

from ..config.fields import given_options
from ..config.settings import TrainSettings
from ..data.datasets import load_dataset
from ..runs.naming import attention_name, network_name
from ..runs.run_folder import read_config
from ..system.files import replacing, write_json
from .counting import trainable_params
from .evaluate import evaluate

# settings of a run that say what its training was, of those that differ from the defaults
NOT_OF_RECIPE = (
    "model", "attention", "attention_at", "dataset", "data_dir", "seed", "backend", "epochs",
    "checkpoint_every", "workers", "precision", "hosts",
)  # fmt: skip


def pack_weights(
    runs: Sequence[Path], data_dir: str | None = None, announce: Callable[[str], None] = print
) -> None:
    """Packs the best networks of runs on CIFAR-10, and evaluates them as they are packed.

    Args:
        runs: list of paths of the folders of finished runs.
        data_dir: path of the folder with CIFAR-10. Defaults to each run's own.
        announce: function that takes a line of text.
    """
    from safetensors.numpy import save_file

    index = json.loads(INDEX.read_text("utf-8"))
    for run in runs:
        config = read_config(run)
        settings = TrainSettings(**{k: v for k, v in config.items() if k in _fields()})
        spec = settings.attention_spec
        network = load_model(run / "best.keras")
        dataset = load_dataset("cifar10", data_dir or settings.data_dir, announce)
        before = evaluate(network, dataset).accuracy
        arrays = {
            f"{layer.name}/{number}": value.astype("float16")
            for layer in network.layers
            if layer.name != "normalization"
            for number, value in enumerate(layer.get_weights())
        }
        for layer in network.layers:
            if layer.name != "normalization" and layer.weights:
                count = range(len(layer.weights))
                layer.set_weights([arrays[f"{layer.name}/{n}"].astype("float32") for n in count])
        accuracy = evaluate(network, dataset).accuracy
        name = f"cifar10/{network_name(settings)}-{attention_name(spec)}"
        path = FOLDER / f"{name}.safetensors"
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as temporary:
            save_file(arrays, temporary)
        normalization = network.get_layer("normalization")
        index[name] = {
            "model": format_specification(
                settings.model or "", given_options(settings, "architecture")
            ),
            "attention": str(spec),
            "test_accuracy": accuracy,
            "epochs": settings.epochs,
            "seed": settings.seed,
            "recipe": _recipe(settings),
            "params": trainable_params(network),
            "mean": np.ravel(normalization.input_mean).tolist(),
            "variance": np.ravel(normalization.input_variance).tolist(),
            "class_names": list(dataset.class_names),
        }
        announce(
            f"{name}: {path.stat().st_size / 2**20:.2f} MB, test accuracy {accuracy:.4f}, "
            f"{before:.4f} in float32"
        )
    write_json(INDEX, index)


def _fields():
    return [field.name for field in TrainSettings.fields()]


def _recipe(settings: TrainSettings) -> dict[str, Any]:
    """The settings of the training that differ from the defaults."""
    usual = TrainSettings().config()
    architecture = given_options(settings, "architecture")
    return {
        name: value
        for name, value in settings.config().items()
        if name not in NOT_OF_RECIPE and name not in architecture and value != usual.get(name)
    }
