"""The settings of training and comparing: names, defaults, what is allowed, and a line of help.

Nothing here needs Keras, so that `--help` answers at once.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

from models import list_models
from models.attention.specification import DEFAULT_PLACES, AttentionSpec
from models.signatures import Option, all_architecture_options

from ..data.datasets import DATASETS
from ..system.backend import BACKENDS
from ..system.backend_precision import AUTO, BFLOAT16, FLOAT32
from ..system.errors import UserError
from .augmentation_settings import AugmentationSettings
from .default_model import MODEL_HELP
from .fields import (
    Settings,
    given_options,
    module_option,
    option,
    setting,
)
from .fine_tuning_settings import FineTuningSettings
from .optimization import OPTIMIZERS, SCHEDULES, learning_rate_help, optimizer_help
from .parsing import (
    Kind,
    address,
    boolean,
    checksums,
    choice,
    choice_or_own,
    descriptor,
    integer,
    interval,
    most_of_option,
    number,
    optional,
    path,
    run_folder,
    several,
    specification,
    text,
    words,
)
from .recipes import PLAIN, RECIPES, recipe_help

# what a run can be logged with besides its folder -> packages that this needs
LOGS = {
    "tensorboard": ("tensorflow", "tensorboard"),  # on every backend
    "wandb": ("wandb",),
    "mlflow": ("mlflow",),
}
PRECISIONS = (AUTO, FLOAT32, BFLOAT16, "mixed_float16")
PRECISION_HELP = "precision to compute in; auto: mixed_bfloat16 if the device is faster in it"
RUN_PRECISION_HELP = (
    "precision to compute in; auto: that of the training, or float32 on devices without units for "
    "it"
)


def _kind_of_option(name: str, kinds: set[type]) -> Kind:
    """The kind of an architecture's option, from its types in the architectures that have it."""
    if kinds == {bool}:
        return boolean
    most = most_of_option(name)
    return number(0, limit=most) if float in kinds else integer(1, limit=most)


def _architecture_fields() -> list[tuple[str, Any, Any]]:
    """The fields of `ArchitectureSettings`: every option that some architecture declares."""
    fields = []
    for name, pairs in all_architecture_options().items():
        choices = dict.fromkeys(word for _, found in pairs for word in found.choices)
        kinds = {found.kind for _, found in pairs}
        kind = choice(*choices) if choices else _kind_of_option(name, kinds)
        fields.append((name, Any, option(kind, _help_of_option(pairs))))
    return fields


def _help_of_option(pairs: Sequence[tuple[str, Option]]) -> str:
    """What --help says of an option: who has it, and what it is there."""
    having: dict[str, list[str]] = {}
    for architecture, found in pairs:
        having.setdefault(found.help, []).append(architecture)
    return "; ".join(f"{', '.join(names)}: {help}" for help, names in having.items())


@dataclasses.dataclass(frozen=True, kw_only=True)
class _ArchitectureName(Settings):
    group = "network"

    model: str | None = setting(
        None,
        optional(choice_or_own(*list_models(), metavar="MODEL")),
        f"architecture: {', '.join(list_models())}, alone or with any of its options, as in "
        "'resnet(depth=50)'; a network of Keras, keras.applications/NAME or FILE.keras, that takes "
        f"raw pixels; or a function of your own, FILE.py:FUNCTION; {MODEL_HELP}",
    )


_ArchitectureOptions: Any = dataclasses.make_dataclass(
    "_ArchitectureOptions",
    _architecture_fields(),
    bases=(_ArchitectureName,),
    namespace={"group": "network"},
    frozen=True,
    kw_only=True,
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ArchitectureSettings(_ArchitectureOptions):
    """Which architecture, with its options; it checks them: most are not every architecture's."""

    def architecture_options(self) -> dict[str, Any]:
        """Returns the options of the architecture that are given, as a dictionary."""
        return given_options(self, "architecture")


# CBAM with gates that start at one; `cbam_block` alone has the start of the code that this project
# began with, which in some networks keeps them from learning (docs/does-attention-help.md)
RECOMMENDED = "cbam_block(start='identity')"


@dataclasses.dataclass(frozen=True, kw_only=True)
class AttentionSettings(Settings):
    """Which attention module, with its options; it checks them: most are not every module's."""

    group = "attention"

    attention: str = setting(
        RECOMMENDED,
        specification,
        "module: a name that 'main.py list' shows, alone or with any of its options, as in "
        "'cbam_block(ratio=4)'; a block of your own, FILE.py:BLOCK; or none",
    )
    ratio: int | None = option(
        integer(1, limit=65536), "the module's option ratio: reduction", of="attention"
    )
    kernel_size: int | None = option(
        integer(1, limit=most_of_option("kernel_size")),
        "the module's option kernel_size: kernel of spatial attention, odd",
        of="attention",
    )

    def attention_options(self) -> dict[str, Any]:
        """Returns the options of the module that are given as settings of their own."""
        return {
            module_option(name): value for name, value in given_options(self, "attention").items()
        }

    @property
    def attention_spec(self) -> AttentionSpec:
        """The module with its options; those that are settings stand over those in its text."""
        at = getattr(self, "attention_at", DEFAULT_PLACES)
        try:
            return AttentionSpec.parse(self.attention, at, **self.attention_options())
        except ValueError as error:
            raise UserError(str(error)) from error


@dataclasses.dataclass(frozen=True, kw_only=True)
class ModelSettings(AttentionSettings, ArchitectureSettings):
    """Which network: its architecture, its attention, and where that goes."""

    group = "attention"

    pools: tuple[str, ...] | None = option(
        words, "the module's option pools: avg, max, lp, lse", of="attention"
    )
    descriptor: str | tuple[str, ...] | None = option(
        descriptor,
        "the module's option descriptor: what spatial attention sees, conv or pools",
        of="attention",
    )  # fmt: skip
    order: str | None = option(
        text,
        "the module's option order: channel_first, spatial_first or parallel",
        of="attention",
    )
    attention_batch_norm: bool | None = option(
        boolean,
        "the module's option batch_norm: normalization in the module",
        of="attention",
    )
    attention_at: tuple[str, ...] = setting(
        DEFAULT_PLACES,
        words,
        "where attention goes, with commas: block, stage, head; in mobilenet also conv, in "
        "inception_resnet_v2 addition; in a network of Keras auto, or names of layers",
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class DataSettings(Settings):
    """Which data set, and where it is."""

    group = "data"

    dataset: str = setting(
        "auto",
        choice(*DATASETS),
        "; ".join(f"{name}: {entry.help}" for name, entry in DATASETS.items()),
    )
    data_dir: str | None = setting(
        None, optional(path), "folder, or CIFAR archive, to look in first, and to download to"
    )
    image_size: int | None = setting(
        None, optional(integer(1, 4096)), "folder: side of the images; 224 if not given"
    )
    corrupt: str = setting(
        "refuse", choice("refuse", "skip"), "folder: what to do about files that cannot be read"
    )
    test_split: float | None = setting(
        None,
        optional(number(0, below=1, above=True)),
        "folder: share of each class to test on if there is no test folder; 0.2 if not given",
    )

    def load_options(self) -> dict[str, Any]:
        """Returns what `load_dataset` takes of these settings, as a dictionary."""
        return {
            "name": self.dataset,
            "data_dir": self.data_dir,
            "image_size": self.image_size,
            "corrupt": self.corrupt,
            "test_split": self.test_split,
        }


@dataclasses.dataclass(frozen=True, kw_only=True)
class OptimizationSettings(Settings):
    """How the weights are learned."""

    group = "training"

    epochs: int = setting(30, integer(1), "passes over the training set")
    batch_size: int | None = setting(
        None,
        optional(integer(1)),
        "images per step; 128 if not given, and fewer for a folder of few images",
    )
    optimizer: str = setting("sgd", choice(*OPTIMIZERS), optimizer_help())
    learning_rate: float | None = setting(
        None, optional(number(0, above=True)), learning_rate_help()
    )
    schedule: str = setting("one_cycle", choice(*SCHEDULES), "learning rate over the run")
    weight_decay: float = setting(
        5e-4, number(0), "L2 penalty on kernels, through the gradient as in PyTorch"
    )
    label_smoothing: float = setting(
        0.0, number(0, below=1), "share of each label to spread over all classes"
    )
    ema: float = setting(
        0.0,
        number(0, below=1),
        "momentum of a moving average of the weights, to evaluate and save; 0: none",
    )
    validation_split: float = setting(
        0.1, number(0, below=1), "share of the training set to select the best epoch on; 0: none"
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class DeviceSettings(Settings):
    """What computes, and how exactly."""

    group = "devices"

    backend: str | None = setting(
        None, optional(choice(*BACKENDS)), "Keras backend; KERAS_BACKEND if not given"
    )
    precision: str = setting(AUTO, choice(*PRECISIONS), PRECISION_HELP)
    devices: int = setting(
        1, integer(1), "devices per host, which share a batch; TensorFlow and JAX"
    )
    workers: int | None = setting(
        None,
        optional(integer(0, 512)),
        "folder: processes that decode; one per core if not given, 0: threads",
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class RecipeName(Settings):
    """Which recipe the settings come from that are not given; the command line fills them in."""

    group = "recipe"

    recipe: str = setting(PLAIN, choice(*RECIPES), recipe_help())


@dataclasses.dataclass(frozen=True, kw_only=True)
class RecipeSettings(
    DeviceSettings,
    AugmentationSettings,
    FineTuningSettings,
    OptimizationSettings,
    RecipeName,
    DataSettings,
    ModelSettings,
):
    """Everything but the seed that decides how a run goes."""

    group = "run"

    run_dir: str | None = setting(
        None, optional(path), "folder of the run; runs/DATASET-MODEL-... if not given"
    )
    log: tuple[str, ...] | None = setting(
        None,
        optional(several(choice(*LOGS))),
        f"where else metrics go: {', '.join(LOGS)}, or several",
        many=True,
    )
    tensorboard: bool = setting(False, boolean, "the same as --log tensorboard")
    checkpoint_every: str = setting(
        "10m",
        interval,
        "how often, besides after every epoch: steps such as 500, or minutes such as 10m",
    )

    @property
    def logs(self) -> tuple[str, ...]:
        """What the run is logged with besides its folder."""
        return tuple(dict.fromkeys([*(self.log or ()), *["tensorboard"] * self.tensorboard]))


# settings of a `TrainSettings` that say where and how the run is started, not what it computes
NOT_RECORDED = ("run_dir", "resume", "force", "host_id", "coordinator")


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainSettings(RecipeSettings):
    """A run: its recipe and seed, and the run to resume, if any."""

    group = "run"

    seed: int = setting(
        0, integer(0, 2**32 - 1), "random seed of weights, split, order and augmentation"
    )
    resume: str | None = setting(
        None, optional(run_folder), "folder of a run to resume, with its settings"
    )
    force: bool = setting(
        False, boolean, "resume even if epochs, backend, devices or versions differ"
    )
    hosts: int = setting(
        1,
        integer(1),
        "processes that train together, JAX only; all see the data and --run-dir under the same "
        "paths; KERAS_DISTRIBUTION_NUM_PROCESSES if not given",
    )
    host_id: int | None = setting(
        None,
        optional(integer(0)),
        "number of this process, 0 to hosts - 1; host 0 writes; KERAS_DISTRIBUTION_PROCESS_ID if "
        "not given; without that, JAX asks the TPU slice or Slurm",
    )
    coordinator: str | None = setting(
        None,
        optional(address),
        "ADDRESS:PORT of host 0; KERAS_DISTRIBUTION_JOB_ADDRESSES if not given; without that, JAX "
        "asks likewise",
    )
    code: dict[str, str] | None = setting(  # noqa: RUF009
        None, optional(checksums), "SHA-256 of the files with modules of your own", hidden=True
    )

    def config(self) -> dict[str, Any]:
        """Returns what `config.json` holds."""
        config = dataclasses.asdict(self)
        for name in NOT_RECORDED if config["code"] else (*NOT_RECORDED, "code"):
            del config[name]
        return config
