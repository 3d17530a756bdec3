"""The command `import-torch`: networks trained in PyTorch become Keras models."""

import dataclasses
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from models.attention.specification import AttentionSpec
from models.attention_module import CBAM_OFFICIAL
from models.saving import save_model
from models.timm_networks import PREFIX, timm_options
from models.torch_weights import load_torch_weights, read_state_dict

from ..config.command_settings import ImportTorchSettings
from ..data.data_format import shape_in_data_format
from ..system.errors import UserError
from ..system.files import replacing
from .networks import network_from_settings
from .outputs import require_folder_of

# pytorchcv's files, as it names them: the stride is in the 1x1 convolution but for names with a b,
# and nothing in the file tells
STRIDE_IN_1X1 = re.compile(r"(se)?resnet(50|101|152)-\d{4}-[0-9a-f]{8}\.pth")
WHICH_NETWORK = "say with --model, --depth, --classes and --attention which network the file holds"


def import_torch(settings: ImportTorchSettings) -> Path:
    """Reads a PyTorch ResNet or ResNeXt and writes it as a `.keras` file.

    The attention modules are those of their authors' code: `cbam_block`, `se_block` and `eca_block`
    have its options, and `bam_block` is placed between the stages. What the name of a network of
    timm says about it, the settings need not say.

    Args:
        settings: an `ImportTorchSettings`.

    Returns:
        The path of the file that was written.

    Raises:
        UserError: the file cannot be read or does not hold this network, or the output exists
            already or is in no folder.
    """
    output = Path(settings.output or _default_output(settings.file))
    if output.suffix != ".keras":
        raise UserError(f"the output must end in .keras, received {output}")
    if output.exists():
        raise UserError(f"{output} exists already; name another file with --output")
    require_folder_of(output, "output")
    size = settings.input_size
    try:
        settings, options_of_network = _with_name(settings)
        state = read_state_dict(settings.file)
        spec = settings.attention_spec
        at = "stage" if spec.name == "bam_block" else "block"
        options = {**_authors_options(spec.name, state), **dict(spec.options)}
        model = network_from_settings(
            settings,
            AttentionSpec.parse(spec.name, at, **options),
            input_shape=shape_in_data_format((size, size, 3)),
            classes=settings.classes,
            **options_of_network,
        )
    except ValueError as error:
        raise UserError(str(error)) from error
    try:
        load_torch_weights(model, state)
    except ValueError as error:
        raise UserError(f"{error}; {WHICH_NETWORK}") from error
    with replacing(output) as temporary:
        save_model(model, temporary)
    return output


def _default_output(file: str) -> Path:
    """The name of a file or of a network with `.keras` at its end."""
    name = file.removeprefix(PREFIX)
    if not Path(name).name:
        raise UserError(f"file must be a PyTorch file, or {PREFIX}NAME; received {file!r}")
    # what follows a dot in a name of timm tells its weights; in that of a file it is the ending
    return Path(f"{name}.keras") if file.startswith(PREFIX) else Path(name).with_suffix(".keras")


def _with_name(
    settings: ImportTorchSettings,
) -> tuple[ImportTorchSettings, dict[str, Any]]:
    """Returns the settings and options of the architecture, as far as the file's name says."""
    if not settings.file.startswith(PREFIX):
        return settings, _options_by_file(settings) if settings.model == "resnet" else {}
    options = timm_options(settings.file)
    named = {name: options.pop(name) for name in ("model", "attention")}
    own = {field.name: field.default for field in dataclasses.fields(settings)}
    missing = {name: value for name, value in named.items() if getattr(settings, name) == own[name]}
    return dataclasses.replace(settings, **missing), options


def _options_by_file(settings: ImportTorchSettings) -> dict[str, Any]:
    strided = settings.stride_in is None and STRIDE_IN_1X1.fullmatch(Path(settings.file).name)
    return {"stem": "imagenet"} | ({"stride_in": "1x1"} if strided else {})


def _authors_options(module: str, state: Mapping[str, Any]) -> dict[str, Any]:
    """The options that an attention module has in its authors' code."""
    from_timm = any(re.search(r"\.se\.(fc\d|conv)\.weight$", name) for name in state)
    # pytorchcv's SE has biases, moskomule's has none
    has_biases = any(re.search(r"\.se\..*\.bias$", name) for name in state)
    options: dict[str, dict[str, Any]] = {
        "cbam_block": CBAM_OFFICIAL,
        "se_block": {"ratio": 16, "use_bias": has_biases, "divisor": 8 if from_timm else 1},
        "eca_block": {} if from_timm else {"kernel_size": 3},
    }
    return options.get(module, {})
