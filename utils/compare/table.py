"""What the runs of a comparison say, as a table."""

import csv
import dataclasses
import statistics

import numpy as np

from ..runs.predictions import read_predictions
from ..runs.run_folder import read_metrics
from ..system.errors import UserError
from ..system.files import read_json, replacing
from .paired_statistics import Difference, McNemar, mcnemar, mean_and_deviation, paired_difference
from .planning import PlannedRun


@dataclasses.dataclass(frozen=True)
class Result:
    """What a finished run has come to.

    Args:
        run: a `PlannedRun`.
        hits: boolean array, which test images it has right.
        confusion: int array `(classes, classes)`, rows the true class, columns the predicted one.
        history: list of dictionaries, the row of `metrics.csv` of every epoch.
        images_per_second: float.
    """

    run: PlannedRun
    hits: np.ndarray
    confusion: np.ndarray
    history: list
    images_per_second: float

    @property
    def accuracy(self):
        return float(self.hits.mean())

    @property
    def curve(self):
        """The accuracy of every epoch, on the validation split or, without one, in training."""
        return [row[_curve_column(self.run)] for row in self.history]


def _curve_column(run):
    return "val_accuracy" if run.settings.validation_split else "accuracy"


@dataclasses.dataclass(frozen=True)
class Row:
    """A variant over its seeds, and beside the base.

    Args:
        name: string, the variant's.
        params, multiply_adds: ints.
        accuracies: list of floats, of the seeds in order.
        mean, deviation: floats, of `accuracies`; no deviation (`None`) of a single one.
        curves: list of lists of floats, an accuracy per epoch for each seed.
        validated: bool, whether the curves are of the validation split.
        speed: float, images per second as a multiple of the base's, or `None`.
        difference: a `Difference` of accuracies to the base over the seeds that both have, or
            `None`.
        mcnemar: a `McNemar` on the predictions of those seeds together, or `None`.
    """

    name: str
    params: int
    multiply_adds: int
    accuracies: list
    mean: float
    deviation: float | None
    curves: list
    validated: bool
    speed: float | None = None
    difference: Difference | None = None
    mcnemar: McNemar | None = None


def read_result(run, dataset):
    """Reads what a finished run has come to.

    Args:
        run: a `PlannedRun`.
        dataset: a `Dataset`, the one it was trained on.

    Returns:
        A `Result`.

    Raises:
        UserError: a file of the run is missing, damaged, or of other data.
    """
    predictions = read_predictions(run.folder)
    same_classes = predictions.probabilities.shape[1] == dataset.classes
    if not same_classes or not np.array_equal(predictions.labels, dataset.y_test):
        raise UserError(
            f"{run.folder} was evaluated on other test images than {dataset.name}'s; "
            f"'python main.py evaluate {run.folder}' does it again"
        )
    summary = read_json(run.folder / "summary.json")
    speed = summary.get("images_per_second") if isinstance(summary, dict) else None
    if not isinstance(speed, (int, float)) or speed <= 0:
        raise UserError(f"{run.folder}/summary.json has no images_per_second; remove that folder")
    history = read_metrics(run.folder)
    columns = (_curve_column(run), "accuracy", "loss", "epoch")
    missing = [column for column in columns if column not in history[0]]
    if missing or len(history) != run.settings.epochs:
        lacking = missing[0] if missing else f"row for each of {run.settings.epochs} epochs"
        raise UserError(f"{run.folder}/metrics.csv has no {lacking}; remove that folder")
    return Result(run, predictions.correct, predictions.confusion, history, float(speed))


def base_of(variants):
    """Returns the variant that the others are compared with: none, or else the first."""
    return next((variant for variant in variants if variant.attention == "none"), variants[0])


def compare_results(results, costs, speeds):
    """Compares variants over the seeds, each with the base.

    Args:
        results: list of `Result`s.
        costs: dictionary from `Variant`s to parameters and multiply-adds, in the table's order.
        speeds: bool, whether the runs' speeds can be compared.

    Returns:
        A list of `Row`s; variants without a result have none.
    """
    found = {variant: {} for variant in costs}
    for result in results:
        found[result.run.variant][result.run.settings.seed] = result
    base = found[base_of(list(costs))]
    return [
        _row(variant, by_seed, base, costs[variant], speeds)
        for variant, by_seed in found.items()
        if by_seed
    ]


def _row(variant, by_seed, base, cost, speeds):
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
    return dataclasses.replace(row, **_beside_base(pairs, speeds)) if pairs else row


def _beside_base(pairs, speeds):
    ones, bases = zip(*pairs, strict=True)
    ratios = [one.images_per_second / base.images_per_second for one, base in pairs]
    return {
        "speed": statistics.median(ratios) if speeds else None,
        "difference": paired_difference(
            [one.accuracy for one in ones], [base.accuracy for base in bases]
        ),
        "mcnemar": mcnemar(
            np.concatenate([one.hits for one in ones]),
            np.concatenate([base.hits for base in bases]),
        ),
    }


def write_csv(path, rows):
    """Writes a table for programs: accuracies in [0, 1], an empty cell where there is nothing."""
    with replacing(path) as temporary, open(temporary, "w", newline="") as file:
        cells = list(map(_cells, rows))
        writer = csv.DictWriter(file, list(cells[0]))
        writer.writeheader()
        writer.writerows(cells)


def _cells(row):
    difference, test = row.difference, row.mcnemar
    return {
        "variant": row.name,
        "params": row.params,
        "multiply_adds": row.multiply_adds,
        "relative_images_per_second": row.speed,
        "seeds": len(row.accuracies),
        "test_accuracy": row.mean,
        "test_accuracy_deviation": row.deviation,
        "difference": difference and difference.mean,
        "difference_low": difference and difference.low,
        "difference_high": difference and difference.high,
        "mcnemar_gained": test and test.gained,
        "mcnemar_lost": test and test.lost,
        "mcnemar_p": test and test.p,
    }


# of the table to read, as `table_cells` fills it
HEAD = (
    "variant", "parameters", "multiply-adds", "images/s", "seeds", "test accuracy",
    "difference [95 %]", "McNemar p", "gained, lost",
)  # fmt: skip


def write_markdown(path, title, rows, notes):
    """Writes a table to read.

    Args:
        path: path of the file.
        title: string.
        rows: list of `Row`s.
        notes: list of strings, what to know about the table.
    """
    table = [HEAD, ("---", *["---:"] * (len(HEAD) - 1)), *map(table_cells, rows)]
    lines = ["| " + " | ".join(cells) + " |" for cells in table]
    text = "\n".join([f"# {title}", "", *lines, "", *(f"- {note}" for note in notes), ""])
    with replacing(path) as temporary:
        temporary.write_text(text, "utf-8")


def table_cells(row):
    """Returns the cells of a `Row` in a table to read, one string for each column of `HEAD`."""
    deviation = "" if row.deviation is None else f" ± {100 * row.deviation:.2f}"
    difference, test = "", ("", "")
    if row.difference is not None:
        found = row.difference
        difference = f"{100 * found.mean:+.2f}"
        if found.low is not None:
            difference += f" [{100 * found.low:+.2f}, {100 * found.high:+.2f}]"
        test = (f"{row.mcnemar.p:.2g}", f"{row.mcnemar.gained:,}, {row.mcnemar.lost:,}")
    return (
        row.name,
        f"{row.params:,}",
        f"{row.multiply_adds / 1e6:,.2f} M",
        "" if row.speed is None else f"{row.speed:.2f} x",
        str(len(row.accuracies)),
        f"{100 * row.mean:.2f} %{deviation}",
        difference,
        *test,
    )


def notes(runs, rows, speeds):
    """What to know about a comparison's table, as a list of sentences.

    Args:
        runs: list of `PlannedRun`s, those that there should be.
        rows: list of `Row`s.
        speeds: bool, whether the runs' speeds can be compared.
    """
    settings, base = runs[0].settings, base_of([run.variant for run in runs])
    seeds = dict.fromkeys(str(run.settings.seed) for run in runs)
    network = settings.model if settings.depth is None else f"{settings.model} {settings.depth}"
    found = [
        f"{network} on {settings.dataset}; epochs: {settings.epochs}; seeds: {', '.join(seeds)}; "
        "the rest of the recipe is in every run's config.json.",
        "Test accuracy is the mean ± the sample standard deviation over the seeds; the difference, "
        f"in percentage points, that to {base.name} with the same seed, with a 95 % confidence "
        "interval of Student's t over the seeds.",
        "McNemar's test (exact, two-sided) takes the predictions of all seeds together: gained are "
        f"those that {base.name} has wrong, lost those that it has right. Several seeds share "
        "their test images, which makes its p too small; it says nothing about other seeds.",
    ]
    if len(rows) > 2:
        found.append("Neither is corrected for the number of variants.")
    if len(seeds) == 1:
        found.append("One seed has no deviation and no interval.")
    if base.attention != "none":
        found.append(f"none is not compared; {base.name} stands in its place.")
    if speeds:
        found.append(
            f"images/s is the training speed as a multiple of that of {base.name} with the same "
            "seed, the median over the seeds. It holds if the machine did nothing else; 'main.py "
            "profile' times modules in turn."
        )
    else:
        found.append("No speeds: not every run was trained by this comparison one at a time.")
    missing = [run.name for run in runs if not run.is_finished()]
    if missing:
        found.append(f"**Missing: {', '.join(missing)}.** Pairs are of the seeds that both have.")
    return found
