"""Networks from settings, and from the folders of runs."""

from pathlib import Path
from typing import Any

import keras

from models import architecture, build_model
from models.attention.specification import AttentionSpec
from models.attention_module import check_attention
from models.saving import load_model
from models.specification import parse_specification

from ..config.settings import ArchitectureSettings, ModelSettings
from ..data.datasets import in_data_format
from ..system.errors import UserError


def network_from_settings(
    settings: ArchitectureSettings, attention: AttentionSpec, **options: Any
) -> keras.Model:
    """Builds the network that settings name.

    Args:
        settings: an `ArchitectureSettings`.
        attention: an `AttentionSpec`.
        **options: further options of `build_model`; what the settings say of the architecture
            stands over them.

    Returns:
        A Functional `keras.Model`.

    Raises:
        UserError: an architecture or attention module that is unknown, or an option it cannot take.
    """
    try:
        return build_model(
            settings.model,
            attention_module=attention,
            attention_at=attention.at,
            **{**options, **settings.architecture_options()},
        )
    except ValueError as error:
        raise UserError(str(error)) from error


def check_network(settings: ModelSettings) -> None:
    """Checks that a network can be what settings say, before data is loaded for it.

    Args:
        settings: a `ModelSettings`.

    Raises:
        UserError: an architecture or attention module that is unknown, or an option it cannot take.
    """
    try:
        check_attention(settings.attention_spec)
        architecture(parse_specification(settings.model)[0])
    except ValueError as error:
        raise UserError(str(error)) from error


def load_network(run, dataset=None):
    """Loads the best network of a run.

    Args:
        run: path of a run folder.
        dataset: the `Dataset` that it is for; without one, whatever it is for is right.

    Returns:
        A Keras model from raw pixels to class probabilities.

    Raises:
        ValueError: it cannot be loaded, or does not fit the data.
    """
    network = load_model(Path(run) / "best.keras")
    if dataset is None:
        return network
    expected = in_data_format(dataset.x_test[:1]).shape[1:]
    if tuple(network.input_shape[1:]) != expected:
        raise ValueError(f"it takes images of {network.input_shape[1:]}, not {expected}")
    if network.output_shape != (None, dataset.classes):
        raise ValueError(f"it gives {network.output_shape}, not {dataset.classes} classes")
    return network
