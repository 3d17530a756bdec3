"""The settings of the commands that do not train; see `settings`."""

import dataclasses

from ..system.backend import BACKENDS
from ..system.backend_precision import AUTO
from ..system.export_formats import EXPORT_FORMATS, INT8_FORMATS
from .fields import Settings, setting
from .parsing import (
    Kind,
    boolean,
    choice,
    image_source,
    integer,
    optional,
    path,
    run_or_weights,
    several,
    specification,
    text,
    trained_network,
)
from .settings import (
    PRECISION_HELP,
    PRECISIONS,
    RUN_PRECISION_HELP,
    ArchitectureSettings,
    AttentionSettings,
    ModelSettings,
)

# what is shown to a visitor who has trained nothing
SHOWN = ("cifar10/resnet_v1-20-none", "cifar10/resnet_v1-20-cbam_block-start_identity")


@dataclasses.dataclass(frozen=True, kw_only=True)
class OnBackend(Settings):
    """What computes."""

    group = "devices"

    backend: str | None = setting(
        None, optional(choice(*BACKENDS)), "Keras backend; KERAS_BACKEND if not given"
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class InPrecision(OnBackend):
    """How exactly the networks of runs compute."""

    group = "devices"

    precision: str = setting(AUTO, choice(*PRECISIONS), RUN_PRECISION_HELP)


@dataclasses.dataclass(frozen=True, kw_only=True)
class WithData(OnBackend):
    """Where the data of a run is."""

    group = "data"

    data_dir: str | None = setting(
        None, optional(path), "folder with the data; the run's own if not given"
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class OfRun(WithData):
    """Which run."""

    group = "run"

    run: str = setting(
        dataclasses.MISSING,
        run_or_weights,
        "folder of a run, or trained weights that 'main.py list' names",
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class OfRuns(WithData):
    """Which runs, side by side."""

    group = "run"

    runs: tuple[str, ...] = setting(
        (),
        Kind(lambda value: several(run_or_weights)(value or SHOWN), "RUN", None),
        "folders of runs, or trained weights that 'main.py list' names; if not given, those of "
        "ResNet20 with and without attention",
        many=True,
        positional=True,
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class EvaluateSettings(OfRun, InPrecision):
    """How a finished run is evaluated."""

    group = "evaluate"

    flip: bool = setting(
        False, boolean, "average the probabilities of each image and its mirror image"
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class ExportSettings(OfRun):
    """What a finished run's network is exported to."""

    group = "export"

    format: str = setting(
        "savedmodel",
        choice(*EXPORT_FORMATS),
        "format to write: litert (TensorFlow Lite) for phones, onnx for web pages, too",
    )
    int8: bool = setting(
        False,
        boolean,
        f"{', '.join(INT8_FORMATS)}: in 8-bit integers, calibrated on training images",
    )
    rounds: int = setting(
        20, integer(0), "rounds in which both networks are timed once per batch; 0: no times"
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class ExplainSettings(OfRuns):
    """Which networks are explained, and on what."""

    group = "explain"

    images: tuple[str, ...] | None = setting(
        None,
        optional(several(path)),
        "numbers of test images, image files, or folders; one of each of six classes if not given",
        many=True,
    )
    layer: str | None = setting(
        None,
        optional(text),
        "layer of feature maps for Grad-CAM; a network's last if not given",
    )
    faithfulness: int = setting(
        200, integer(0), "test images to score explanations on, by deletion and insertion; 0: none"
    )
    seed: int = setting(
        0, integer(0, 2**32 - 1), "random seed of the scored images and of the order"
    )
    output: str | None = setting(
        None, optional(path), "folder to write to; the run's own, or that of the runs, if not given"
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class DemoSettings(OfRuns, InPrecision):
    """Which networks the demo shows, and where it listens."""

    group = "demo"

    host: str = setting(
        "127.0.0.1",
        text,
        "address to listen on; 0.0.0.0 lets in everyone who can reach this machine",
    )
    port: int | None = setting(
        None,
        optional(integer(1, 65535)),
        "port to listen on; 7860, or the next free one, if not given",
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class PredictSettings(InPrecision):
    """Which network predicts which images, and how the result is written."""

    group = "predict"

    network: str = setting(
        dataclasses.MISSING,
        trained_network,
        "folder of a run, a .keras file, or trained weights that 'main.py list' names",
    )
    images: tuple[str, ...] = setting(
        dataclasses.MISSING,
        several(image_source),
        "image files, folders, patterns such as 'photos/**/*.jpg', or - for a list on standard "
        "input",
        many=True,
    )
    top: int = setting(5, integer(1), "most probable classes to show of each image")
    format: str = setting("table", choice("table", "csv", "json"), "format of the result")
    image_size: int | None = setting(
        None,
        optional(integer(1, 4096)),
        "height and width to resize to, for a .keras file that takes any size",
    )
    output: str | None = setting(
        None, optional(path), "new folder for predictions.csv and the confusion matrix"
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class ProfileSettings(OnBackend, ModelSettings):
    """Which costs are compared, and how."""

    group = "profile"

    attention: tuple[str, ...] | None = setting(  # type: ignore[assignment]  # several here
        None,
        optional(several(specification)),
        "modules to compare with none, such as 'cbam_block(ratio=4)'; all if not given",
        many=True,
    )
    input_size: int | None = setting(
        None,
        optional(integer(1, limit=4096)),
        "side of the image; the architecture's own if not given",
    )
    classes: int = setting(10, integer(1), "classes to tell apart")
    precision: str = setting(AUTO, choice(*PRECISIONS), PRECISION_HELP)
    batch_size: int = setting(32, integer(1), "images per batch that is timed")
    rounds: int = setting(5, integer(0), "rounds in which every network is timed once; 0: no times")
    format: str = setting("table", choice("table", "csv"), "format of the result")
    plot: str | None = setting(
        None, optional(path), "file.png, .pdf or .svg for a picture of costs against parameters"
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class ImportTorchSettings(OnBackend, AttentionSettings, ArchitectureSettings):
    """Which network a PyTorch file holds."""

    group = "import"

    file: str = setting(
        dataclasses.MISSING,
        path,
        "file with a PyTorch state dict, or safetensors; or timm:NAME, a network of timm",
    )
    model: str = setting(
        "resnet",
        choice("resnet", "resnet_v1", "resnext"),
        "architecture; resnet_v1: networks for CIFAR; timm:NAME says which",
    )
    attention: str = setting(
        "none",
        choice("none", "cbam_block", "bam_block", "se_block", "eca_block", "srm_block"),
        "attention module in the file's network; timm:NAME says which",
    )
    input_size: int | None = setting(
        None, optional(integer(1, limit=4096)), "side of the image; any size if not given"
    )
    classes: int = setting(1000, integer(1), "classes that the network tells apart")
    output: str | None = setting(
        None, optional(path), "file to write; FILE or NAME with .keras at its end if not given"
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class ListSettings(OnBackend):
    """What the list needs: any backend."""
