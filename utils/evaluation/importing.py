"""The command `import-torch`: networks trained in PyTorch become Keras models."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from models.attention.specification import AttentionSpec
from models.attention_module import CBAM_OFFICIAL
from models.torch_weights import load_torch_weights, read_state_dict

from ..config.command_settings import ImportTorchSettings
from ..system.errors import UserError
from ..system.files import replacing
from .networks import network_from_settings


def import_torch(settings: ImportTorchSettings) -> Path:
    """Reads a PyTorch ResNet and writes it as a `.keras` file.

    The attention modules are those of their authors' code: `cbam_block`, `se_block` and `eca_block`
    have its options, and `bam_block` is placed between the stages.

    Args:
        settings: an `ImportTorchSettings`.

    Returns:
        The path of the file that was written.

    Raises:
        UserError: the file cannot be read or does not hold this network, or the output exists
            already.
    """
    output = Path(settings.output or Path(settings.file).with_suffix(".keras"))
    if output.suffix != ".keras":
        raise UserError(f"the output must end in .keras, received {output}")
    if output.exists():
        raise UserError(f"{output} exists already; name another file with --output")
    size = settings.input_size
    try:
        state = read_state_dict(settings.file)
        spec = settings.attention_spec
        at = "stage" if spec.name == "bam_block" else "block"
        options = {**_authors_options(spec.name, state), **dict(spec.options)}
        model = network_from_settings(
            settings,
            AttentionSpec.parse(spec.name, at, **options),
            input_shape=(size, size, 3),
            classes=settings.classes,
            **({"stem": "imagenet"} if settings.model == "resnet" else {}),
        )
        load_torch_weights(model, state)
    except ValueError as error:
        raise UserError(str(error)) from error
    with replacing(output) as temporary:
        model.save(temporary)
    return output


def _authors_options(module: str, state: Mapping[str, Any]) -> dict[str, Any]:
    """The options that an attention module has in its authors' code."""
    # pytorchcv's SE has biases, moskomule's has none
    has_biases = any(re.search(r"\.se\..*\.bias$", name) for name in state)
    options: dict[str, dict[str, Any]] = {
        "cbam_block": CBAM_OFFICIAL,
        "se_block": {"ratio": 16, "use_bias": has_biases},
        "eca_block": {"kernel_size": 3},
    }
    return options.get(module, {})
