"""Networks built from settings, and loaded from the folders of runs."""

from os import PathLike
from pathlib import Path
from typing import Any

import keras

from models import architecture, build_model
from models.attention.specification import AttentionSpec
from models.attention_module import check_attention
from models.builder import check_options, check_places
from models.saving import load_model
from models.signatures import architecture_options, architecture_places
from models.specification import is_keras_model, is_reference, parse_specification

from ..config.default_model import LARGE, default_model
from ..config.settings import ArchitectureSettings, ModelSettings
from ..data.data_format import shape_in_data_format
from ..data.dataset import Dataset
from ..system.backend_precision import chosen_precision
from ..system.errors import UserError
from ..system.files import read_json

CIFAR_SIZE = 32  # pixels
KEYS_OF_RUN = {"attention", "dataset"}  # in every run's config.json
# architectures that, by default, keep an image of any size large
FOR_SMALL_IMAGES = ("resnet_v1", "resnet_v2", "resnet", "resnext", "densenet")


def network_from_settings(
    settings: ArchitectureSettings, attention: AttentionSpec, **options: Any
) -> keras.Model:
    """Builds the network that settings describe.

    Args:
        settings: an `ArchitectureSettings` that names a model.
        attention: an `AttentionSpec`.
        **options: options of `build_model`. Those that the settings give take precedence.

    Returns:
        A Functional `keras.Model`.

    Raises:
        UserError: the attention module is unknown, or it or the architecture does not take an
            option.
    """
    if settings.model is None:
        raise ValueError("no model is named; see `with_model`")
    try:
        return build_model(
            settings.model,
            attention_module=attention,
            attention_at=attention.at,
            **{**options, **settings.architecture_options()},
        )
    except ValueError as error:
        raise UserError(str(error)) from error


def precision_of_network(settings: ModelSettings, asked: str) -> tuple[str, str]:
    """Returns the dtype policy that the network of settings trains in, and why.

    Args:
        settings: a `ModelSettings` that names a model.
        asked: string, a dtype policy or `"auto"`, as for `chosen_precision`.
    """
    name, options = parse_specification(settings.model or "")
    return chosen_precision(asked, name, {**vars(settings), **options})


def check_network(settings: ModelSettings) -> None:
    """Checks the names and options of a network, before data is loaded for it.

    Args:
        settings: a `ModelSettings`. Without a model only its attention module is checked.

    Raises:
        UserError: the architecture or the attention module is unknown, or does not take an option
            or its value.
    """
    try:
        check_attention(settings.attention_spec)
        if settings.model is None:
            return
        check_options(architecture(settings.model), **settings.architecture_options())
        name, _ = parse_specification(settings.model)
        if not is_reference(name) and not is_keras_model(name):
            check_places(name, settings.attention_at, architecture_places(name))
    except ValueError as error:
        raise UserError(str(error)) from error


def hint_of_size(settings: ModelSettings, size: int) -> str:
    """Returns a line about a network that is made for smaller images, or an empty string.

    Args:
        settings: a `ModelSettings`.
        size: int, height and width of the images in pixels.
    """
    name, options = parse_specification(settings.model or default_model(size))
    if size < LARGE or not _is_for_small(name, {**options, **settings.architecture_options()}):
        return ""
    other = "" if "stem" in architecture_options(name) else "--model resnet "
    return (
        f"{name} is built for images of {CIFAR_SIZE}x{CIFAR_SIZE} pixels: at {size}x{size} it "
        f"computes {(size / CIFAR_SIZE) ** 2:.0f} times as much for each; {other}--stem imagenet "
        f"is for this size, and --image-size {CIFAR_SIZE} for this network"
    )


def _is_for_small(name, given):
    """Whether an architecture with these options keeps large images large."""
    if name not in FOR_SMALL_IMAGES:
        return False
    defaults = {option: known.default for option, known in architecture_options(name).items()}
    chosen = {**defaults, **given}
    if chosen.get("stem") is None:
        # ResNet v1 and v2 have no other stem; those of others go by the depth
        return "stem" not in defaults or chosen["depth"] == defaults["depth"]
    return chosen["stem"] == "cifar"


def run_of(source: str | PathLike[str]) -> Path | None:
    """Returns the folder of the run that a network is from, or `None`.

    Args:
        source: path of a run's folder, or of a `.keras` file, which may be in such a folder. Beside
            a file, a `config.json` of another program makes no run.
    """
    path = Path(source)
    if path.is_dir():
        return path if (path / "config.json").is_file() else None
    return path.parent if _is_of_run(path.parent / "config.json") else None


def _is_of_run(config: Path) -> bool:
    """Whether a file is the configuration of a run, as far as its keys tell."""
    try:
        found = read_json(config)
    except UserError:
        return False
    return isinstance(found, dict) and found.keys() >= KEYS_OF_RUN


def load_trained(source: str | PathLike[str], asked_by: str = "") -> keras.Model:
    """Loads the network of a run, or of a file.

    Args:
        source: path of a run's folder, for its best network, or of a `.keras` file.
        asked_by: string, the flag that named it, for messages.

    Returns:
        A `keras.Model`.

    Raises:
        UserError: there is no such run or file, or it cannot be loaded.
    """
    path = Path(source)
    try:
        return load_model(path / "best.keras" if path.is_dir() else path)
    except ValueError as error:
        raise UserError(
            f"{asked_by or 'the network'} must be the folder of a run or a .keras file; received "
            f"{source}: {error}"
        ) from error


def load_network(run: str | PathLike[str], dataset: Dataset | None = None) -> keras.Model:
    """Loads the best network of a run.

    Args:
        run: path of the run's folder.
        dataset: a `Dataset` that the network must fit. Defaults to `None`: it is not checked.

    Returns:
        A Keras model from raw pixels to class probabilities.

    Raises:
        ValueError: the network cannot be loaded, or does not fit the data.
    """
    network = load_model(Path(run) / "best.keras")
    if dataset is None:
        return network
    expected = shape_in_data_format(dataset.image_shape)
    if tuple(network.input_shape[1:]) != expected:
        raise ValueError(f"it takes images of shape {network.input_shape[1:]}, not {expected}")
    if network.output_shape != (None, dataset.classes):
        raise ValueError(f"its output is {network.output_shape}, not {dataset.classes} classes")
    return network
