"""The settings of `compare`: those of a recipe, each with one value or several.

Nothing here needs Keras, so that `--help` answers at once.
"""

import dataclasses
from typing import Any

from .augmentation_settings import AugmentationSettings
from .fields import option_names, setting
from .fine_tuning_settings import FineTuningSettings
from .parsing import boolean, choice, integer, optional, path, seeds, several, specification, text
from .settings import (
    ArchitectureSettings,
    ModelSettings,
    OptimizationSettings,
    RecipeSettings,
)

# settings of the attention module, and others of a recipe, that a comparison may vary
_VARIED_ATTENTION = ("attention", *option_names(ModelSettings, "attention"), "attention_at")
_VARIED_PARTS = (
    ArchitectureSettings,
    OptimizationSettings,
    AugmentationSettings,
    FineTuningSettings,
)
VARIED_RECIPE = (
    *(field.name for part in _VARIED_PARTS for field in dataclasses.fields(part)),
    "precision",
)


def _several_values(field: dataclasses.Field) -> tuple[str, Any, Any]:
    """Returns a field of `CompareSettings`: several values of one of `RecipeSettings`."""
    kind = several(field.metadata["kind"])
    if field.default is None:
        kind = optional(kind)
    default = None if field.default is None else (field.default,)
    metadata = {**field.metadata, "kind": kind, "many": True}
    return field.name, Any, dataclasses.field(default=default, metadata=metadata)


_VariedSettings: Any = dataclasses.make_dataclass(
    "_VariedSettings",
    [
        _several_values(field)
        for field in dataclasses.fields(RecipeSettings)
        if field.name in (*_VARIED_ATTENTION, *VARIED_RECIPE)
    ],
    bases=(RecipeSettings,),
    namespace={"group": "attention"},
    frozen=True,
    kw_only=True,
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class CompareSettings(_VariedSettings):
    """Which runs are compared: modules and seeds, and every setting with several values.

    An option of attention modules goes to those that have it. Several settings with several values
    are compared in every combination.
    """

    group = "comparison"

    attention: tuple[str, ...] = setting(
        "none,se_block,cbam_block",
        several(specification),
        "modules to compare, each as 'main.py train' takes it, such as 'cbam_block(ratio=4)'",
        many=True,
    )
    seeds: tuple[int, ...] = setting(
        "0-2", seeds, "seeds to train with, such as 0-4 or 0,2,5", many=True
    )
    jobs: int = setting(1, integer(1), "runs at once; speeds are compared only with 1")
    ray: str | None = setting(
        None,
        optional(text),
        "Ray cluster to train on: HOST:PORT, auto or local; all its nodes must see this folder, "
        "Python, the data and --run-dir under the same paths; no speeds are compared",
    )
    train: bool = setting(
        True,
        boolean,
        "train the missing runs; --no-train: compare those that are finished",
    )
    figure_format: str = setting(
        "png",
        choice("png", "pdf", "svg"),
        "format of the figure; pdf or svg in addition to comparison.png",
    )
    run_dir: str | None = setting(
        None, optional(path), "folder of all the runs; runs/DATASET-MODEL-...-compare if not given"
    )

    def varied_settings(self) -> dict[str, tuple[Any, ...]]:
        """Returns the settings of the recipe that have several values, and these."""
        values = {name: getattr(self, name) for name in VARIED_RECIPE}
        return {name: found for name, found in values.items() if found and len(found) > 1}

    def single_settings(self) -> dict[str, Any]:
        """Returns the settings of the recipe that all runs have in common, and their values."""
        varied = (*_VARIED_ATTENTION, *self.varied_settings())
        common = {
            field.name: getattr(self, field.name)
            for field in dataclasses.fields(RecipeSettings)
            if field.name not in varied
        }
        return {
            name: value[0] if name in VARIED_RECIPE and value is not None else value
            for name, value in common.items()
        }
