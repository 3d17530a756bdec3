"""The settings of a training: names, defaults, what is allowed, and a line of help for each.

Nothing here needs Keras, so that `--help` answers at once.
"""

import dataclasses

from models import list_models

from ..data.datasets import DATASETS
from ..system.backend import BACKENDS
from ..system.errors import UserError
from .parsing import (
    SettingError,
    address,
    boolean,
    boolean_word,
    choice,
    descriptor,
    integer,
    interval,
    number,
    optional,
    run_folder,
    seeds,
    several,
    text,
    words,
)

SCHEDULES = ("one_cycle", "cosine", "step", "constant")
LEARNING_RATES = {"sgd": 0.2, "adam": 1e-3}
PRECISIONS = ("float32", "mixed_bfloat16", "mixed_float16")


def setting(default, parse, help, many=False):
    """A field of a settings class; with `many`, its flag takes several words."""
    metadata = {"parse": parse, "help": help, "many": many}
    return dataclasses.field(default=default, metadata=metadata)


def option(parse, help, of="architecture"):
    """An option that not every architecture, or not every attention module, has.

    Without it, the default of the architecture or module holds.
    """
    metadata = {"parse": optional(parse), "help": help, "option": of}
    return dataclasses.field(default=None, metadata=metadata)


def option_names(settings_class, of):
    """Returns the names of the settings that are options of an `"architecture"` or `"attention"`.

    Args:
        settings_class: subclass of `Settings`, or one of its instances.
        of: string.
    """
    fields = dataclasses.fields(settings_class)
    return [field.name for field in fields if field.metadata.get("option") == of]


def module_option(name):
    """Returns what an attention module calls the option that is the setting `name`.

    A setting that would sound like the whole network's has `attention_` before it.
    """
    return name.removeprefix("attention_")


class Settings:
    """Base of the settings classes: every value is checked, wherever it comes from."""

    def __post_init__(self):
        for field in dataclasses.fields(self):
            try:
                value = field.metadata["parse"](getattr(self, field.name))
            except SettingError as error:
                raise UserError(f"{field.name} {error}") from None
            object.__setattr__(self, field.name, value)


@dataclasses.dataclass(frozen=True)
class ArchitectureSettings(Settings):
    """Which architecture, with its options; it checks them: most are not every architecture's."""

    model: str = setting("resnet_v1", choice(*list_models()), "architecture")
    depth: int | None = option(integer(1), "layers of the network")
    width: float | None = option(number(0, above=True), "resnet: factor; resnext: of a group")
    stem: str | None = option(
        choice("cifar", "imagenet"), "first layers, for small or large images"
    )
    stride_in: str | None = option(choice("3x3", "1x1"), "convolution that strides in a bottleneck")
    block: str | None = option(choice("basic", "bottleneck"), "resnet_v1: kind of block")
    cardinality: int | None = option(integer(1), "resnext: groups of a convolution")
    dropout: float | None = option(
        number(0, below=1), "mobilenet: share dropped before the classifier"
    )
    dropout_rate: float | None = option(
        number(0, below=1), "densenet: share dropped after every convolution but the first"
    )
    alpha: float | None = option(number(0, above=True), "mobilenet: factor on the channels")
    depth_multiplier: int | None = option(integer(1), "mobilenet: depthwise outputs per channel")
    growth_rate: int | None = option(integer(1), "densenet: channels that a layer adds")
    bottleneck: bool | None = option(boolean, "densenet: 1x1 before each 3x3 convolution")
    compression: float | None = option(number(0, above=True), "densenet: share that goes on")

    def architecture_options(self):
        """Returns the options of the architecture that are given, as a dictionary."""
        return _given(self, "architecture")


@dataclasses.dataclass(frozen=True)
class AttentionSettings(Settings):
    """Which attention module, with its options; it checks them: most are not every module's."""

    attention: str = setting(
        "cbam_block", text, "attention module, or none; 'main.py list' names them"
    )
    ratio: int | None = option(integer(1), "reduction in the attention module", of="attention")
    kernel_size: int | None = option(integer(1), "kernel of spatial attention, odd", of="attention")

    def attention_options(self):
        """Returns the options of the attention module that are given, as a dictionary."""
        return {module_option(name): value for name, value in _given(self, "attention").items()}


def _given(settings, of):
    values = {name: getattr(settings, name) for name in option_names(settings, of)}
    return {name: value for name, value in values.items() if value is not None}


@dataclasses.dataclass(frozen=True)
class ModelSettings(AttentionSettings, ArchitectureSettings):
    """Which network: its architecture, its attention with every option, and where that goes."""

    pools: tuple[str, ...] | None = option(
        words, "of channel attention: avg, max, lp, lse, or several with commas", of="attention"
    )
    descriptor: str | tuple[str, ...] | None = option(
        descriptor, "what spatial attention sees: conv, or pools with commas", of="attention"
    )
    order: str | None = option(
        text, "of CBAM's halves: channel_first, spatial_first or parallel", of="attention"
    )
    attention_batch_norm: bool | None = option(
        boolean, "batch normalization in the module: CBAM's spatial gate, non-local", of="attention"
    )
    attention_at: tuple[str, ...] = setting(
        ("block",), words, "where attention goes: block, stage, head, or several with commas"
    )


@dataclasses.dataclass(frozen=True)
class RecipeSettings(ModelSettings):
    """Everything but the seed that decides how a run goes."""

    dataset: str = setting(
        "auto",
        choice(*DATASETS),
        "; ".join(f"{name}: {entry.help}" for name, entry in DATASETS.items()),
    )
    data_dir: str | None = setting(
        None, optional(text), "folder to look for data first, and to download to"
    )
    image_size: int | None = setting(
        None, optional(integer(1, 4096)), "folder: side of the images; 224 if not given"
    )
    corrupt: str = setting(
        "refuse", choice("refuse", "skip"), "folder: what to do about files that cannot be read"
    )
    workers: int | None = setting(
        None,
        optional(integer(0, 512)),
        "folder: processes that decode; one per core if not given, 0: threads",
    )
    epochs: int = setting(30, integer(1), "passes over the training set")
    batch_size: int = setting(128, integer(1), "images per step")
    optimizer: str = setting("sgd", choice(*LEARNING_RATES), "sgd (Nesterov momentum 0.9) or adam")
    learning_rate: float | None = setting(
        None, optional(number(0, above=True)), "peak; 0.2 for sgd and 0.001 for adam if not given"
    )
    schedule: str = setting("one_cycle", choice(*SCHEDULES), "learning rate over the run")
    weight_decay: float = setting(
        5e-4, number(0), "L2 penalty on kernels, through the gradient as in PyTorch"
    )
    label_smoothing: float = setting(0.0, number(0, below=1), "share of the label spread out")
    augment: bool = setting(
        True, boolean, "random crop, and flip where a mirrored image is the same"
    )
    flip: bool = setting(True, boolean, "mirror a random half, where --augment would")
    crop: float = setting(
        0.08, number(0, below=1, above=True), "folder: least share of the area in a random crop"
    )
    rand_augment: int = setting(0, integer(0, 10), "folder: magnitude of RandAugment; or 0")
    mixup: float = setting(0.0, number(0), "folder: parameter of MixUp's shares; or 0")
    cutmix: float = setting(0.0, number(0), "folder: parameter of CutMix's shares; or 0")
    crop_padding: int | None = setting(
        None, optional(integer(0)), "pixels a crop may move; 4 for CIFAR, 1 for digits if not given"
    )
    cutout: int = setting(0, integer(0), "side of a square cut out of training images, in pixels")
    validation_split: float = setting(
        0.1, number(0, below=1), "share of the training set to select the best epoch on; or 0"
    )
    run_dir: str | None = setting(
        None,
        optional(text),
        "folder of the run; runs/DATASET-MODEL-... if not given",
    )
    backend: str | None = setting(
        None, optional(choice(*BACKENDS)), "Keras backend; KERAS_BACKEND if not given"
    )
    precision: str = setting("float32", choice(*PRECISIONS), "of the computation")
    ema: float = setting(
        0.0, number(0, below=1), "momentum of an average of the weights to judge and save; or 0"
    )
    devices: int = setting(
        1, integer(1), "of this host, or of each, to share a batch; TensorFlow and JAX"
    )
    tensorboard: bool = setting(False, boolean, "also write TensorBoard logs")
    checkpoint_every: str = setting(
        "10m", interval, "steps such as 500, or minutes such as 10m; and after every epoch"
    )


@dataclasses.dataclass(frozen=True)
class TrainSettings(RecipeSettings):
    """A run: its recipe and its seed, and whether it goes on with one that is there."""

    seed: int = setting(0, integer(0, 2**32 - 1), "of weights, split, order and augmentation")
    resume: str | None = setting(
        None, optional(run_folder), "folder of a run to go on with, with the settings it has"
    )
    force: bool = setting(
        False, boolean, "go on though epochs, backend, devices or versions are others"
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
        "of this process, 0 to hosts - 1; 0 writes; KERAS_DISTRIBUTION_PROCESS_ID if not given, "
        "and otherwise found on a TPU slice or under Slurm",
    )
    coordinator: str | None = setting(
        None,
        optional(address),
        "ADDRESS:PORT of host 0; KERAS_DISTRIBUTION_JOB_ADDRESSES if not given, or found likewise",
    )

    def config(self):
        """Returns what `config.json` holds: all but what says where and how the run is started."""
        config = dataclasses.asdict(self)
        for name in ("run_dir", "resume", "force", "host_id", "coordinator"):
            del config[name]
        return config


@dataclasses.dataclass(frozen=True, kw_only=True)
class CompareSettings(RecipeSettings):
    """Which runs are compared: one recipe, with several modules or values of an option, and seeds.

    An option with several values is one of the modules that have it; several such options are
    compared in every combination.
    """

    attention: tuple[str, ...] = setting(
        "none,se_block,cbam_block", several(text), "modules to compare", many=True
    )
    ratio: tuple[int, ...] | None = setting(
        None, optional(several(integer(1))), "reduction in the modules, or several", many=True
    )
    kernel_size: tuple[int, ...] | None = setting(
        None, optional(several(integer(1))), "kernel of spatial attention, or several", many=True
    )
    pools: tuple[tuple[str, ...], ...] | None = setting(
        None,
        optional(several(words, commas=False)),
        "of channel attention, or several; avg,max is both at once",
        many=True,
    )
    descriptor: tuple[str | tuple[str, ...], ...] | None = setting(
        None,
        optional(several(descriptor, commas=False)),
        "what spatial attention sees, or several; avg,max is both at once",
        many=True,
    )
    order: tuple[str, ...] | None = setting(
        None, optional(several(text)), "of CBAM's halves, or several", many=True
    )
    attention_batch_norm: tuple[bool, ...] | None = setting(
        None,
        optional(several(boolean_word)),
        "batch normalization in the module (CBAM's spatial gate, non-local): true, false or both",
        many=True,
    )
    attention_at: tuple[tuple[str, ...], ...] = setting(
        "block",
        several(words, commas=False),
        "where attention goes, or several; head,stage is both at once",
        many=True,
    )
    seeds: tuple[int, ...] = setting("0-2", seeds, "such as 0-4 or 0,2,5", many=True)
    jobs: int = setting(1, integer(1), "runs at once; speeds are compared only with 1")
    ray: str | None = setting(
        None,
        optional(text),
        "Ray cluster to train on: HOST:PORT, auto or local; all its nodes must see this folder, "
        "Python, the data and --run-dir under the same paths; no speeds are compared",
    )
    run_dir: str | None = setting(
        None, optional(text), "folder of all the runs; runs/DATASET-MODEL-...-compare if not given"
    )
