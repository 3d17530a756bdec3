"""The runs of a comparison: which there should be, and where each of them stands."""

import dataclasses
from pathlib import Path

from .errors import UserError
from .evaluation import read_config
from .resuming import changed_settings
from .runs import check_run_dir
from .settings import RecipeSettings, TrainSettings
from .training import with_defaults


@dataclasses.dataclass(frozen=True)
class Variant:
    """An attention module with its options; what is compared.

    Args:
        attention: string, the module's name.
        ratio, kernel_size: ints, or `None` for the module's default.
        attention_at: tuple of strings.
    """

    attention: str
    ratio: int | None = None
    kernel_size: int | None = None
    attention_at: tuple[str, ...] = ("block",)

    @property
    def name(self):
        """String, such as `cbam_block-ratio4`: what is not the default, so that it stays the same.

        Whichever values it is compared with, the variant's runs have the same folders.
        """
        parts = [
            self.ratio is not None and f"ratio{self.ratio}",
            self.kernel_size is not None and f"kernel_size{self.kernel_size}",
            self.attention_at != ("block",) and f"at_{'+'.join(self.attention_at)}",
        ]
        return "-".join([self.attention, *filter(None, parts)])


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


def variants_of(settings):
    """The variants that settings name; the network without attention is one, whatever the options.

    Args:
        settings: a `CompareSettings`.

    Returns:
        A list of `Variant`s, without two that are the same.
    """
    found = []
    for attention in settings.attention:
        if attention == "none":
            found.append(Variant("none"))
            continue
        for ratio in settings.ratio or (None,):
            for kernel_size in settings.kernel_size or (None,):
                for at in settings.attention_at:
                    found.append(Variant(attention, ratio, kernel_size, at))
    return list(dict.fromkeys(found))


def planned_runs(settings, dataset, run_dir):
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
        for variant in variants_of(settings):
            folder = Path(run_dir) / f"{variant.name}-seed{seed}"
            options = {**recipe, **dataclasses.asdict(variant), "seed": seed, "run_dir": None}
            runs.append(
                PlannedRun(variant, folder, with_defaults(TrainSettings(**options), dataset))
            )
    return runs
