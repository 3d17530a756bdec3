"""Networks from settings."""

from models import build_model
from models.attention_module import get_attention

from .errors import UserError


def network_of(settings, attention, attention_options, **options):
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
