"""The command `import-torch`: networks trained in PyTorch become Keras models."""

from pathlib import Path

from models.attention.specification import AttentionSpec
from models.attention_module import CBAM_OFFICIAL
from models.torch_weights import load_torch_weights

from ..config.command_settings import ImportTorchSettings
from ..system.errors import UserError
from ..system.files import replacing
from .networks import network_from_settings


def import_torch(settings: ImportTorchSettings) -> Path:
    """Reads a PyTorch ResNet and writes it as a `.keras` file.

    The attention modules are those of their authors' code: `cbam_block` has its options, and
    `bam_block` is placed between the stages.

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
    spec = settings.attention_spec
    own = CBAM_OFFICIAL if spec.name == "cbam_block" else {}
    at = "stage" if spec.name == "bam_block" else "block"
    model = network_from_settings(
        settings,
        AttentionSpec.parse(spec.name, at, **{**own, **dict(spec.options)}),
        input_shape=(size, size, 3),
        classes=settings.classes,
        stem="imagenet",
    )
    try:
        load_torch_weights(model, settings.file)
    except ValueError as error:
        raise UserError(str(error)) from error
    with replacing(output) as temporary:
        model.save(temporary)
    return output
