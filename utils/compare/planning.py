"""The runs of a comparison: which there should be, and where each of them stands."""

import dataclasses
import itertools
import math
from pathlib import Path
from typing import Any

from models.attention.specification import DEFAULT_PLACES, AttentionSpec
from models.attention_module import attention_options, check_attention, list_attention
from models.specification import format_specification

from ..config.compare_settings import CompareSettings
from ..config.fields import module_option, option_names
from ..config.settings import TrainSettings
from ..data.dataset import Dataset
from ..runs.naming import attention_name, folder_name, part_of_name
from ..runs.own_code import with_own_code
from ..runs.resuming import changed_settings
from ..runs.run_folder import SUMMARY, check_run_dir, read_config
from ..system.errors import UserError
from ..training.train import with_defaults

OPTIONS = option_names(TrainSettings, "attention")
MOST_VARIANTS = 50  # that a table and a picture can show


@dataclasses.dataclass(frozen=True)
class Variant:
    """What is compared: an attention module, and the settings that the comparison varies.

    Args:
        spec: an `AttentionSpec`; without an option the module's default holds.
        recipe: tuple of pairs, the varied settings of the recipe and their values.
    """

    spec: AttentionSpec
    recipe: tuple[tuple[str, Any], ...] = ()

    @property
    def attention(self) -> str:
        """The module's name."""
        return self.spec.name

    @property
    def name(self) -> str:
        """The beginning of its folders' names, such as `cbam_block-ratio4`.

        It tells what is not the default, and so stays the same whatever it is compared with.
        """
        parts = [part_of_name(*setting) for setting in self.recipe]
        return folder_name([attention_name(self.spec), *parts])

    def settings(self) -> dict[str, Any]:
        """Returns the settings that make a run one of this variant.

        Options that are settings of their own are given as these: runs made before specifications
        could name options have them there.
        """
        of_text = dict(self.spec.options)
        values = {setting: of_text.pop(module_option(setting), None) for setting in OPTIONS}
        return {
            **values,
            **dict(self.recipe),
            "attention": format_specification(self.spec.name, of_text),
            "attention_at": self.spec.at,
        }


@dataclasses.dataclass(frozen=True)
class PlannedRun:
    """One training of a comparison.

    Args:
        variant: a `Variant`.
        folder: path of the run's folder.
        settings: `TrainSettings` with every default filled in.
    """

    variant: Variant
    folder: Path
    settings: TrainSettings

    @property
    def name(self) -> str:
        """The name of its folder."""
        return self.folder.name

    def is_begun(self) -> bool:
        """Whether its folder holds it, as far as it has come.

        Raises:
            UserError: the folder holds a run with other settings, or something else.
        """
        if not (self.folder / "config.json").exists():
            check_run_dir(self.folder)
            return False
        changed = changed_settings(read_config(self.folder), self.settings.config())
        if changed:
            raise UserError(
                f"{self.folder} holds a run with other settings: {', '.join(changed.values())}; "
                "give the settings that it has, name another folder with --run-dir, or remove that "
                "run"
            )
        return True

    def epochs_left(self) -> int:
        """How many epochs it still has to train."""
        path = self.folder / "metrics.csv"
        done = max(0, len(path.read_bytes().splitlines()) - 1) if path.exists() else 0
        return max(0, self.settings.epochs - done)

    def is_finished(self) -> bool:
        """Whether its folder holds all of it; raises what `is_begun` raises."""
        return self.is_begun() and (self.folder / SUMMARY).exists()


def plan_variants(settings: CompareSettings) -> list[Variant]:
    """Lists the variants: every module with every combination of the values that are varied.

    An option goes to the modules that have it; a module that has none of the options is one
    variant, as the network without attention is.

    Args:
        settings: a `CompareSettings`.

    Returns:
        A list of `Variant`s, without two that are the same.

    Raises:
        UserError: a module that is unknown, an option that no module has, two variants of the same
            name, or too many variants.
    """
    values = {module_option(name): getattr(settings, name) for name in OPTIONS}
    given = {name: several for name, several in values.items() if several is not None}
    modules = [_parsed(text) for text in settings.attention]
    taken = {module: _options_it_has(module, list(given)) for module in modules}
    _refuse_idle(list(given), taken)
    grids = {
        module: [[given[name] for name in names], _places(module, settings)]
        for module, names in taken.items()
    }
    recipes = settings.varied_settings()
    count = sum(math.prod(map(len, [*grid, places])) for grid, places in grids.values())
    count *= math.prod(map(len, recipes.values()))
    if count > MOST_VARIANTS:
        raise UserError(
            f"{count:,} variants are too many to compare, at most {MOST_VARIANTS} are allowed; "
            "name fewer modules with --attention, or fewer values of options and settings"
        )
    specs = [
        _with_options(module, dict(zip(taken[module], combination, strict=True)), place)
        for module, (grid, places) in grids.items()
        for *combination, place in itertools.product(*grid, places)
    ]
    variants = [
        Variant(spec, tuple(zip(recipes, combination, strict=True)))
        for combination in itertools.product(*recipes.values())
        for spec in specs
    ]
    variants = list(dict.fromkeys(variants))
    _refuse_same_names(variants)
    return variants


def _refuse_same_names(variants):
    """Refuses variants that would share a folder, as two files' modules of the same name would."""
    by_name = {variant.name: variant for variant in variants}
    for variant in variants:
        other = by_name[variant.name]
        if other != variant:
            raise UserError(
                f"two variants would both be called {variant.name}: {variant.attention} and "
                f"{other.attention}; give a module another name, or leave one variant out"
            )


def _parsed(text):
    try:
        spec = AttentionSpec.parse(text)
        check_attention(spec)
    except ValueError as error:
        raise UserError(str(error)) from error
    return spec


def _options_it_has(module, given):
    """Which of the options that are given a module has, and does not have in its text already."""
    known, own = attention_options(module.name), dict(module.options)
    return [name for name in given if (known is None or name in known) and name not in own]


def _with_options(module, options, place):
    return AttentionSpec.from_options(module.name, {**dict(module.options), **options}, place)


def _places(module, settings):
    return [DEFAULT_PLACES] if module.is_none else settings.attention_at


def _refuse_idle(given, taken):
    """Refuses an option that would make no difference to any of the modules."""
    for name in given:
        if not any(name in names for names in taken.values()):
            having = [
                module for module in list_attention() if name in (attention_options(module) or [])
            ]
            raise UserError(
                f"{' and '.join(map(str, taken))} {'have' if len(taken) > 1 else 'has'} no option "
                f"{name!r} to vary; leave it out, or compare one of {', '.join(having)}"
            )


def plan_runs(settings: CompareSettings, dataset: Dataset, run_dir: str | Path) -> list[PlannedRun]:
    """The runs that settings name, all variants of the first seed before those of the next.

    In that order a comparison that is broken off has as many runs of each variant, and the runs
    that are compared by speed lie next to each other in time.

    Args:
        settings: a `CompareSettings`.
        dataset: a `Dataset`.
        run_dir: path of the folder of all runs.

    Returns:
        A list of `PlannedRun`s.
    """
    recipe = settings.single_settings()
    runs = []
    for seed in settings.seeds:
        for variant in plan_variants(settings):
            folder = Path(run_dir) / f"{variant.name}-seed{seed}"
            options = {**recipe, **variant.settings(), "seed": seed, "run_dir": None}
            run = TrainSettings(**options)
            run = dataclasses.replace(run, **with_own_code(run))
            runs.append(PlannedRun(variant, folder, with_defaults(run, dataset)))
    return runs
