"""Recipes: sets of settings under one name, for `--recipe`. Nothing here needs Keras."""

import dataclasses
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any


@dataclasses.dataclass(frozen=True)
class RecipeEntry:
    """A recipe that `--recipe` can name.

    Args:
        help: string, what `--help` says of it.
        settings: dictionary from names of settings to values; the rest have their own defaults.
            Defaults to none.
    """

    help: str
    settings: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "settings", MappingProxyType(dict(self.settings)))


FINE_TUNING = "finetune"  # of a command that starts from weights and is given no recipe
MUON = "muon"
PLAIN = "plain"  # of settings that name no recipe, among them those of runs before there were any
RECIPES = {
    MUON: RecipeEntry("Muon for the kernels of convolutions", {"optimizer": "muon"}),
    PLAIN: RecipeEntry(
        "SGD with Nesterov momentum; the default for a --config file that names no recipe"
    ),
    FINE_TUNING: RecipeEntry(
        "Adam for 20 epochs, with a tenth of the learning rate for the backbone; the default with "
        "--init or --weights",
        {
            "epochs": 20,
            "optimizer": "adam",
            "learning_rate": 1e-3,
            "schedule": "cosine",
            "weight_decay": 0.0,
            "backbone_rate": 0.1,
        },
    ),
    "seed": RecipeEntry(
        "Adam for 200 epochs, as in the Keras code that this project began with",
        {
            "epochs": 200,
            "batch_size": 128,
            "optimizer": "adam",
            "learning_rate": 1e-3,
            "schedule": "step",
            "weight_decay": 2e-4,
        },
    ),
    "pytorch_seed": RecipeEntry(
        "SGD, batches of 4, no augmentation, as in the PyTorch code that it began with",
        {
            "epochs": 15,
            "batch_size": 4,
            "optimizer": "momentum",
            "learning_rate": 1e-3,
            "schedule": "constant",
            "weight_decay": 0.0,
            "augment": False,
        },
    ),
}
DEFAULT_RECIPE = MUON  # of a command that is given neither a recipe nor a file


def recipe_settings(name: Any) -> dict[str, Any]:
    """Returns the settings that a recipe stands for, its own name among them.

    Args:
        name: string, one of `RECIPES`; of anything else, only the name is returned: the setting
            `recipe` refuses it.
    """
    entry = RECIPES.get(name) if isinstance(name, str) else None
    return {**(entry.settings if entry else {}), "recipe": name}


def recipe_help() -> str:
    """Returns what `--help` says of the recipes."""
    recipes = "; ".join(f"{name}: {entry.help}" for name, entry in RECIPES.items())
    return f"set of settings; settings that you give take precedence. {recipes}"
