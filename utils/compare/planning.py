"""The runs of a comparison: which there should be, and where each of them stands."""

import dataclasses
import itertools
import math
from pathlib import Path

from models.attention_module import attention_options, list_attention

from ..config.settings import RecipeSettings, TrainSettings, module_option, option_names
from ..runs.resuming import changed_settings
from ..runs.run_folder import check_run_dir, read_config
from ..system.errors import UserError
from ..training.train import with_defaults

OPTIONS = option_names(TrainSettings, "attention")
MOST_VARIANTS = 50  # that a table and a picture can show


@dataclasses.dataclass(frozen=True)
class Variant:
    """An attention module with its options; what is compared.

    Args:
        attention: string, the module's name.
        options: tuple of pairs, the names of the settings that are options of the module and their
            values; without an option the module's default holds.
        attention_at: tuple of strings.
    """

    attention: str
    options: tuple = ()
    attention_at: tuple[str, ...] = ("block",)

    @property
    def name(self):
        """String, such as `cbam_block-ratio4`: what is not the default, so that it stays the same.

        Whichever values it is compared with, the variant's runs have the same folders.
        """
        parts = [_part(module_option(name), value) for name, value in self.options]
        if self.attention_at != ("block",):
            parts.append(f"at_{'+'.join(self.attention_at)}")
        return "-".join([self.attention, *parts])

    def settings(self):
        """Returns the settings that make a run one of this variant, as a dictionary."""
        return {
            **dict.fromkeys(OPTIONS),
            **dict(self.options),
            "attention": self.attention,
            "attention_at": self.attention_at,
        }


def _part(option, value):
    if isinstance(value, bool):
        return option if value else f"no_{option}"
    if isinstance(value, int):
        return f"{option}{value}"
    return f"{option}_{value if isinstance(value, str) else '+'.join(value)}"


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
    def name(self):
        return self.folder.name

    def is_begun(self):
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
                "name another folder with --run-dir, or remove that one"
            )
        return True

    def is_finished(self):
        """Whether its folder holds all of it; raises what `is_begun` raises."""
        return self.is_begun() and (self.folder / "summary.json").exists()


def plan_variants(settings):
    """The variants that settings name: every module with every combination of its options' values.

    An option goes to the modules that have it; one that has none of them is one variant, as the
    network without attention is.

    Args:
        settings: a `CompareSettings`.

    Returns:
        A list of `Variant`s, without two that are the same.

    Raises:
        UserError: a module that is unknown, an option that no module has, or too many variants.
    """
    values = {name: getattr(settings, name) for name in OPTIONS}
    given = [name for name in OPTIONS if values[name] is not None]
    taken = {module: _taken(module, given) for module in settings.attention}
    _refuse_idle(given, taken)
    grids = {
        module: [[values[name] for name in names], _places(module, settings)]
        for module, names in taken.items()
    }
    count = sum(math.prod(map(len, [*grid, places])) for grid, places in grids.values())
    if count > MOST_VARIANTS:
        raise UserError(
            f"{count:,} variants are too many to compare, at most {MOST_VARIANTS} are allowed; "
            "name fewer modules with --attention, or fewer values of their options"
        )
    return [
        Variant(module, tuple(zip(taken[module], combination, strict=True)), place)
        for module, (grid, places) in grids.items()
        for *combination, place in itertools.product(*grid, places)
    ]


def _taken(module, given):
    """Which of the options that are given a module has."""
    try:
        known = attention_options(module)
    except ValueError as error:
        raise UserError(str(error)) from error
    return [name for name in given if known is None or module_option(name) in known]


def _places(module, settings):
    return settings.attention_at if module != "none" else [("block",)]


def _refuse_idle(given, taken):
    """Refuses an option that would make no difference to any of the modules."""
    for name in given:
        if not any(name in names for names in taken.values()):
            having = [module for module in list_attention() if _taken(module, [name])]
            raise UserError(
                f"{' and '.join(taken)} {'have' if len(taken) > 1 else 'has'} no option "
                f"{module_option(name)!r}; leave it out, or compare one of {', '.join(having)}"
            )


def plan_runs(settings, dataset, run_dir):
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
    recipe = {f.name: getattr(settings, f.name) for f in dataclasses.fields(RecipeSettings)}
    runs = []
    for seed in settings.seeds:
        for variant in plan_variants(settings):
            folder = Path(run_dir) / f"{variant.name}-seed{seed}"
            options = {**recipe, **variant.settings(), "seed": seed, "run_dir": None}
            runs.append(
                PlannedRun(variant, folder, with_defaults(TrainSettings(**options), dataset))
            )
    return runs
