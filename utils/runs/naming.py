"""The names of runs: whatever differs from the defaults, by one rule for every folder."""

import dataclasses
import hashlib
import re
from pathlib import Path
from typing import Any

from models.attention.specification import DEFAULT_PLACES, AttentionSpec
from models.specification import parse_specification, short_name

from ..config.compare_settings import CompareSettings
from ..config.default_model import FOR_SMALL, known_model
from ..config.fields import option_names
from ..config.recipes import DEFAULT_RECIPE, recipe_settings
from ..config.settings import NOT_RECORDED, RecipeSettings, TrainSettings
from .resuming import FREE

LONGEST = 150  # characters of a folder's name; file systems take 255 bytes
# named apart, in the order in which a folder's name has them
_APART = frozenset({
    "dataset", "model", "attention", "attention_at", "seed",
    *option_names(TrainSettings, "architecture"), *option_names(TrainSettings, "attention"),
})  # fmt: skip
# settings that make no difference to what a run computes
_WITHOUT_EFFECT = frozenset({*NOT_RECORDED, "code", *FREE})


def part_of_name(name: str, value: Any) -> str:
    """Returns what a folder's name has for an option or a setting and its value.

    Example:

    >>> part_of_name("ratio", 4), part_of_name("order", "parallel"), part_of_name("flip", False)
    ('ratio4', 'order_parallel', 'no_flip')
    """
    if isinstance(value, bool):
        return name if value else f"no_{name}"
    if isinstance(value, (int, float)):
        return f"{name}{value:g}" if isinstance(value, float) else f"{name}{value}"
    words = value if isinstance(value, tuple) else (value,)
    return f"{name}_{'+'.join(map(str, words))}"


def attention_name(spec: AttentionSpec) -> str:
    """Returns what a folder's name has for an attention module, such as `cbam_block-ratio4`."""
    parts = [spec.short_name, *(part_of_name(*option) for option in spec.options)]
    if spec.at != DEFAULT_PLACES:
        parts.append(part_of_name("at", spec.at))
    return "-".join(parts)


def network_name(settings: RecipeSettings) -> str:
    """Returns what a folder's name has for an architecture, such as `resnet_v1-20`."""
    name, given = parse_specification(known_model(settings) or FOR_SMALL)
    options = {**given, **settings.architecture_options()}
    depth = [str(options.pop("depth"))] if "depth" in options else []
    return "-".join([short_name(name), *depth, *(part_of_name(*pair) for pair in options.items())])


def recipe_name(settings: RecipeSettings) -> str:
    """Returns what a folder's name has for the recipe, such as `recipe_plain-epochs3`, or "".

    It has the recipe's name, but for the default one, and what differs from that recipe.
    """
    base = RecipeSettings(**recipe_settings(settings.recipe))
    parts = [] if settings.recipe == DEFAULT_RECIPE else [part_of_name("recipe", settings.recipe)]
    for field in dataclasses.fields(RecipeSettings):
        value = getattr(settings, field.name)
        named_apart = field.name in _APART or field.name in _WITHOUT_EFFECT
        if not named_apart and value != getattr(base, field.name):
            parts.append(part_of_name(field.name, value))
    return "-".join(parts)


def default_run_dir(settings: TrainSettings, dataset_name: str) -> Path:
    """Returns the folder that a run goes to when none is named, below `runs/`.

    Args:
        settings: a `TrainSettings` as the user gave it.
        dataset_name: string, the data set that was found.
    """
    parts = [
        data_name(settings, dataset_name),
        network_name(settings),
        attention_name(settings.attention_spec),
        recipe_name(settings),
        f"seed{settings.seed}",
    ]
    return Path("runs") / folder_name(parts)


def default_comparison_dir(settings: CompareSettings, dataset_name: str) -> Path:
    """Returns the folder that a comparison goes to when none is named, below `runs/`.

    Its name tells what all runs have in common; what differs is in the names of the runs.
    """
    # a setting that varies counts as the recipe's: the names of the runs tell it
    common = RecipeSettings(**{**recipe_settings(settings.recipe), **settings.single_settings()})
    parts = [
        data_name(common, dataset_name),
        network_name(common),
        recipe_name(common),
        "compare",
    ]
    return Path("runs") / folder_name(parts)


def data_name(settings: RecipeSettings, dataset_name: str) -> str:
    """Returns what a folder's name has for the data; photographs are told apart by their folder."""
    if dataset_name != "folder" or settings.data_dir is None:
        return dataset_name
    return f"folder_{Path(settings.data_dir).resolve().name}"


def folder_name(parts: list[str]) -> str:
    """Joins parts to a name that every file system takes; a long one ends in a checksum."""
    name = re.sub(r"[^\w.+=-]+", "_", "-".join(part for part in parts if part))
    if len(name.encode()) <= LONGEST:
        return name
    digest = hashlib.sha256(name.encode()).hexdigest()[:8]
    return f"{name.encode()[: LONGEST - 9].decode(errors='ignore')}-{digest}"
