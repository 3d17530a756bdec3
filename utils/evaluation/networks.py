"""Networks from settings, and from the folders of runs."""

from pathlib import Path

from models import build_model
from models.attention_module import get_attention
from models.saving import load_model

from ..data.data_format import shape_in_data_format
from ..system.errors import UserError


def network_from_settings(settings, attention, attention_options, **options):
    """Builds the network that settings name.

    Args:
        settings: an `ArchitectureSettings`.
        attention: string, the attention module's name.
        attention_options: dictionary of options for it.
        **options: further options of `build_model`; what the settings say of the architecture
            comes before them.

    Returns:
        A Functional `keras.Model`.

    Raises:
        UserError: an architecture or attention module that is unknown, or an option it cannot take.
    """
    try:
        return build_model(
            settings.model,
            attention_module=get_attention(attention, **attention_options),
            **{**options, **settings.architecture_options()},
        )
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
    expected = shape_in_data_format(dataset.image_shape)
    if tuple(network.input_shape[1:]) != expected:
        raise ValueError(f"it takes images of {network.input_shape[1:]}, not {expected}")
    if network.output_shape != (None, dataset.classes):
        raise ValueError(f"it gives {network.output_shape}, not {dataset.classes} classes")
    return network
