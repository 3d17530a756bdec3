"""The results of a comparison as a table: a row for each variant, over all of its seeds."""

import csv
import dataclasses
import statistics
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..system.files import replacing, spreadsheet_text
from .costs import Costs
from .paired_statistics import Difference, McNemar, mcnemar, mean_and_deviation, paired_difference
from .planning import PlannedRun, Variant
from .results import Result


@dataclasses.dataclass(frozen=True)
class Row:
    """The results of a variant over its seeds, compared with the base variant.

    Args:
        name: string, the variant's name.
        params, multiply_adds: ints.
        accuracies: list of floats, the test accuracy of each seed.
        mean, deviation: floats, mean and sample standard deviation of `accuracies`; the deviation
            of a single one is `None`.
        curves: list of lists of floats, for each seed the accuracy of each epoch.
        validated: bool, whether the curves are those of the validation split.
        speed: float, median over the seeds of the images per second in training, divided by the
            base's; `None` if the speeds cannot be compared.
        base: string, the name of the variant that this one is compared with; `None` for the base,
            and if they share no seed.
        difference: the `Difference` between the test accuracies and the base's over the seeds that
            both have, or `None` likewise.
        mcnemar: the `McNemar` of the predictions of those seeds together, or `None`.
    """

    name: str
    params: int
    multiply_adds: int
    accuracies: list[float]
    mean: float
    deviation: float | None
    curves: list[list[float]]
    validated: bool
    speed: float | None = None
    base: str | None = None
    difference: Difference | None = None
    mcnemar: McNemar | None = None


def base_of(variant: Variant, variants: Sequence[Variant]) -> Variant:
    """Returns the variant that another is compared with.

    It is `none` with the same recipe, or else the first variant with that recipe: itself, if there
    is no other. Variants of one module are compared with the first, as it is their recipes that
    differ.

    Args:
        variant: a `Variant`.
        variants: sequence of `Variant`s, among them that one.
    """
    if len({v.spec for v in variants}) == 1:
        return variants[0]
    alike = [v for v in variants if v.recipe == variant.recipe]
    return next((v for v in alike if v.attention == "none"), alike[0])


def compare_results(results: Sequence[Result], costs: Costs, speeds: bool) -> list[Row]:
    """Compares each variant with the base, seed by seed.

    Args:
        results: list of `Result`s.
        costs: dictionary from `Variant`s to parameters and multiply-adds, in the table's order.
        speeds: bool, whether the runs' speeds can be compared.

    Returns:
        A list of `Row`s, one for each variant that has a result.
    """
    by_variant: dict[Variant, dict[int, Result]] = {variant: {} for variant in costs}
    for result in results:
        by_variant[result.run.variant][result.run.settings.seed] = result
    return [
        _row(variant, by_seed, by_variant[base_of(variant, list(costs))], costs[variant], speeds)
        for variant, by_seed in by_variant.items()
        if by_seed
    ]


def _row(
    variant: Variant,
    by_seed: dict[int, Result],
    base: dict[int, Result],
    cost: tuple[int, int],
    speeds: bool,
) -> Row:
    results = list(by_seed.values())
    accuracies = [result.accuracy for result in results]
    mean, deviation = mean_and_deviation(accuracies)
    row = Row(
        name=variant.name,
        params=cost[0],
        multiply_adds=cost[1],
        accuracies=accuracies,
        mean=mean,
        deviation=deviation,
        curves=[result.curve for result in results],
        validated=results[0].run.settings.validation_split > 0,
    )
    if by_seed is base:
        return dataclasses.replace(row, speed=1.0 if speeds else None)
    pairs = [(by_seed[seed], base[seed]) for seed in by_seed if seed in base]
    return dataclasses.replace(row, **_compare_pairs(pairs, speeds)) if pairs else row


def _compare_pairs(pairs: Sequence[tuple[Result, Result]], speeds: bool) -> dict[str, Any]:
    """The fields of a `Row` that compare a variant's results with the base's of the same seeds."""
    results, bases = zip(*pairs, strict=True)
    ratios = [result.images_per_second / base.images_per_second for result, base in pairs]
    return {
        "speed": statistics.median(ratios) if speeds else None,
        "base": bases[0].run.variant.name,
        "difference": paired_difference(
            [result.accuracy for result in results], [base.accuracy for base in bases]
        ),
        "mcnemar": mcnemar(
            np.concatenate([result.hits for result in results]),
            np.concatenate([base.hits for base in bases]),
        ),
    }


def write_csv(path: Path, rows: Sequence[Row]) -> None:
    """Writes the table as CSV: accuracies from 0 to 1, an empty cell for `None`."""
    with (
        replacing(path) as temporary,
        open(temporary, "w", newline="", encoding="utf-8", errors="backslashreplace") as file,
    ):
        cells = list(map(_csv_cells, rows))
        writer = csv.DictWriter(file, list(cells[0]))
        writer.writeheader()
        writer.writerows(cells)


def _csv_cells(row: Row) -> dict[str, Any]:
    difference, test = row.difference, row.mcnemar
    return {
        "variant": spreadsheet_text(row.name),
        "params": row.params,
        "multiply_adds": row.multiply_adds,
        "relative_images_per_second": row.speed,
        "seeds": len(row.accuracies),
        "test_accuracy": row.mean,
        "test_accuracy_deviation": row.deviation,
        "base": row.base and spreadsheet_text(row.base),
        "pairs": difference and difference.pairs,
        "difference": difference and difference.mean,
        "difference_low": difference and difference.low,
        "difference_high": difference and difference.high,
        "conclusion": conclusion(row),
        "mcnemar_gained": test and test.gained,
        "mcnemar_lost": test and test.lost,
        "mcnemar_p": test and test.p,
    }


# the columns of the table in Markdown and on the page; `table_cells` returns their cells
HEAD = (
    "variant", "parameters", "multiply-adds", "speed", "seeds", "test accuracy",
    "difference [95 %]", "conclusion", "McNemar p", "gained, lost",
)  # fmt: skip
OF_COLUMNS = (
    "Test accuracy: mean ± sample standard deviation over the seeds. Difference: test accuracy "
    "minus the base's with the same seed, in percentage points; mean over the seeds, with the "
    "95 % confidence interval of Student's paired t-test.",
    "Conclusion: ahead or behind if the interval leaves zero out; otherwise these seeds cannot "
    "tell, and about how many would if the difference and its spread stayed as they are.",
    "McNemar p: McNemar's exact, two-sided test against the base, on the predictions of all "
    "seeds together. Gained: predictions that are right where the base's are wrong; lost: the "
    "reverse. It compares the networks that were trained, and says nothing about other seeds: "
    "a small p beside a conclusion of 'cannot tell' means that these networks differ, and that "
    "others may not. Several seeds share their test images, which makes p too small.",
)
OF_SPEEDS = (
    "Speed: images per second in training, divided by the base's with the same seed; median over "
    "the seeds. It is reliable only if the machine did nothing else; 'main.py profile' times the "
    "modules in turn."
)
WITHOUT_SPEEDS = (
    "Speed: left empty, because this comparison did not train every run, or trained several at "
    "once."
)
OF_COMMON_SEEDS = (
    "Not every variant has every seed. A difference is over the seeds that both variants have, and "
    "is not that of the two means."
)


def write_markdown(path: Path, title: str, rows: Sequence[Row], notes: Sequence[str]) -> None:
    """Writes the table as Markdown.

    Args:
        path: path of the file.
        title: string.
        rows: list of `Row`s.
        notes: list of strings, as `table_notes` returns them.
    """
    table = [HEAD, ("---", *["---:"] * (len(HEAD) - 1)), *map(table_cells, rows)]
    lines = ["| " + " | ".join(cells) + " |" for cells in table]
    text = "\n".join([f"# {title}", "", *lines, "", *(f"- {note}" for note in notes), ""])
    with replacing(path) as temporary:
        temporary.write_text(text, "utf-8", "backslashreplace")


def table_cells(row: Row) -> tuple[str, ...]:
    """Returns the cells of a row in Markdown and on the page, a string for each of `HEAD`."""
    deviation = "" if row.deviation is None else f" ± {100 * row.deviation:.2f}"
    return (
        row.name,
        f"{row.params:,}",
        f"{row.multiply_adds / 1e6:,.2f} M",
        "" if row.speed is None else f"{row.speed:.2f} x",
        str(len(row.accuracies)),
        f"{100 * row.mean:.2f} %{deviation}",
        "" if row.difference is None else _difference_cell(row.difference),
        conclusion(row),
        "" if row.mcnemar is None else f"{row.mcnemar.p:.2g}",
        "" if row.mcnemar is None else f"{row.mcnemar.gained:,}, {row.mcnemar.lost:,}",
    )


def conclusion(row: Row, outlook: bool = True) -> str:
    """Returns in words what the seeds say of a variant beside its base; empty for a base.

    Args:
        row: a `Row`.
        outlook: bool, whether to add how many seeds could tell. Defaults to `True`.
    """
    difference = row.difference
    if difference is None:
        return ""
    if difference.low is None or difference.high is None:
        return f"cannot tell from {'one seed' if difference.pairs == 1 else 'equal differences'}"
    if difference.low > 0:
        return "ahead"
    if difference.high < 0:
        return "behind"
    if not outlook:
        return "cannot tell"
    if difference.pairs_needed is None:
        return "cannot tell; no difference in sight"
    return f"cannot tell; about {difference.pairs_needed} seeds would"


def _difference_cell(difference: Difference) -> str:
    mean = f"{100 * difference.mean:+.2f}"
    if difference.low is None or difference.high is None:
        return mean
    return f"{mean} [{100 * difference.low:+.2f}, {100 * difference.high:+.2f}]"


def table_notes(runs: Sequence[PlannedRun], rows: Sequence[Row], speeds: bool) -> list[str]:
    """Explains a comparison's table.

    Args:
        runs: list of all `PlannedRun`s, finished or not.
        rows: list of `Row`s.
        speeds: bool, whether the runs' speeds can be compared.

    Returns:
        A list of strings, each a sentence or more.
    """
    missing = [run.name for run in runs if not run.is_finished()]
    return [
        _what_is_compared(runs),
        *OF_COLUMNS,
        *_notes_on_counts(rows),
        *_notes_on_bases(list(dict.fromkeys(run.variant for run in runs))),
        OF_SPEEDS if speeds else WITHOUT_SPEEDS,
        *([f"**Missing runs: {', '.join(missing)}.**"] if missing else []),
    ]


def _what_is_compared(runs: Sequence[PlannedRun]) -> str:
    settings = runs[0].settings
    variants = list(dict.fromkeys(run.variant for run in runs))
    bases = dict.fromkeys(base_of(variant, variants).name for variant in variants)
    seeds = dict.fromkeys(str(run.settings.seed) for run in runs)
    varied = {name for name, _ in variants[0].recipe}
    network = settings.model if settings.depth is None else f"{settings.model} {settings.depth}"
    network = "several networks" if varied & {"model", "depth"} else network
    epochs = "several" if "epochs" in varied else settings.epochs
    return (
        f"{network} on {settings.dataset}; epochs: {epochs}; seeds: {', '.join(seeds)}; compared "
        f"with: {', '.join(bases)}. Every run's config.json has the rest of the recipe."
    )


def _notes_on_counts(rows: Sequence[Row]) -> Iterator[str]:
    """What the numbers of variants, of seeds, and of pairs of seeds mean for the table."""
    if len(rows) > 2:
        yield "Neither the intervals nor p are corrected for the number of variants."
    counts = {len(row.accuracies) for row in rows}
    if 1 in counts:
        yield "A single seed has no standard deviation and no interval."
    pairs = {row.difference.pairs for row in rows if row.difference is not None}
    if len(counts | pairs) > 1:
        yield OF_COMMON_SEEDS


def _notes_on_bases(variants: Sequence[Variant]) -> Iterator[str]:
    """Which variant each is compared with, if that is not `none` for all of them."""
    bases = list(dict.fromkeys(base_of(variant, variants) for variant in variants))
    without_none = [base for base in bases if base.attention != "none"]
    if len(bases) == 1:
        if without_none:
            yield f"The comparison does not include none; the base is {bases[0].name} instead."
        return
    if not without_none:
        yield "Every variant is compared with none of the same settings."
    elif without_none == bases:
        yield "The comparison does not include none; the base is the first of the same settings."
    else:
        yield "The base is none of the same settings or, where that is missing, the first of these."
    recipes = [variant.recipe for variant in variants]
    alone = [base.name for base in bases if recipes.count(base.recipe) == 1]
    if alone:
        yield f"Without a difference, as no other variant has its settings: {', '.join(alone)}."
