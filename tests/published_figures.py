"""Figures on the pages and in `results/`, read without the code of `utils.compare`."""

import csv
import json
import re
import statistics
from decimal import Decimal

from scipy import stats

from tests.processes import ROOT

RESULTS = ROOT / "results"
# row of the README's table -> variant, of both networks
MODULES = {
    "none": "none",
    "SE": "se_block",
    'SE, `start="identity"`': "se_block-start_identity",
    "CBAM": "cbam_block",
    'CBAM, `start="identity"`': "cbam_block-start_identity",
}


def read_table(text, first_cell):
    """The rows of the Markdown table with that first cell, as dictionaries by column."""
    lines = iter(text.splitlines())
    head = next(line for line in lines if line.startswith(f"| {first_cell} |"))
    next(lines)
    columns, rows = split_row(head), []
    for line in lines:
        if not line.startswith("|"):
            break
        rows.append(dict(zip(columns, split_row(line), strict=True)))
    return rows


def split_row(line):
    return [cell.strip() for cell in line.strip().strip("|").split("|")]


def page(name):
    return (ROOT / name).read_text("utf-8")


def read_runs(experiment, variant):
    """The `summary.json` of a variant's runs, by seed."""
    folders = (RESULTS / experiment).glob(f"{variant}-seed*")
    summaries = [json.loads((folder / "summary.json").read_text()) for folder in folders]
    assert summaries, f"{experiment} has no run of {variant}"
    return {summary["seed"]: summary for summary in sorted(summaries, key=lambda s: s["seed"])}


def read_csv(experiment):
    """The rows of `comparison.csv` by variant."""
    with open(RESULTS / experiment / "comparison.csv", newline="") as file:
        return {row["variant"]: row for row in csv.DictReader(file)}


def variants_of(experiment):
    folders = [path for path in (RESULTS / experiment).iterdir() if path.is_dir()]
    return {path.name.rsplit("-seed", 1)[0] for path in folders}


def epochs_of(experiment):
    """The number of epochs in the `metrics.csv` of every run, which must be the same."""
    counts = set()
    for path in (RESULTS / experiment).glob("*/metrics.csv"):
        with open(path, newline="") as file:
            counts.add(len(list(csv.DictReader(file))))
    (count,) = counts
    return count


def accuracies(experiment, variant):
    return [run["test_accuracy"] for run in read_runs(experiment, variant).values()]


def paired_accuracies(experiment, variant):
    """The accuracies of a variant and of none, of the seeds that both have."""
    own, base = (read_runs(experiment, name) for name in (variant, "none"))
    seeds = [seed for seed in own if seed in base]
    return [[runs[seed]["test_accuracy"] for seed in seeds] for runs in (own, base)]


def accuracy_figures(experiment, variant):
    """The mean in percent and, if there are several seeds, the sample standard deviation."""
    values = [100 * value for value in accuracies(experiment, variant)]
    return [statistics.mean(values), *([statistics.stdev(values)] if len(values) > 1 else [])]


def difference_figures(experiment, variant):
    """The mean difference to none in percentage points and, with several seeds, its interval."""
    pairs = paired_accuracies(experiment, variant)
    values, base = ([100 * value for value in each] for each in pairs)
    return mean_and_interval(values, base)


def mean_and_interval(values, base):
    """The mean of paired differences and, of several pairs, its 95 % interval."""
    mean = statistics.mean(value - of_base for value, of_base in zip(values, base, strict=True))
    if len(values) == 1:
        return [mean]
    interval = stats.ttest_rel(values, base).confidence_interval(0.95)
    return [mean, interval.low, interval.high]


def printed_interval(values, base):
    """Mean and interval of paired differences as pages print them: `+0.27 [-0.48, +1.01]`."""
    mean, low, high = mean_and_interval(values, base)
    return f"{mean:+.2f} [{low:+.2f}, {high:+.2f}]"


def params(experiment, variant):
    (count,) = {run["params"] for run in read_runs(experiment, variant).values()}
    return count


def figures_in(cell):
    """The numbers that a cell prints, as text."""
    return re.findall(r"[-+]?\d+(?:,\d{3})*(?:\.\d+)?(?:e-?\d+)?", cell)


def check_figures(cell, expected):
    """Fails unless a cell prints these figures, right to the last digit.

    A value halfway between two figures, such as 76.535, may be rounded to either.
    """
    found = figures_in(cell)
    assert len(found) == len(expected), f"{cell!r} should print {expected}"
    for text, value in zip(found, expected, strict=True):
        printed = Decimal(text.replace(",", ""))
        half_digit = Decimal(1).scaleb(printed.as_tuple().exponent) / 2
        assert abs(printed - Decimal(value)) <= half_digit + Decimal("1e-9"), (
            f"{cell!r} prints {text} for {value}"
        )
