"""Every figure in the results tables of README.md and docs/results.md, recomputed from results/.

The tables are compared with the `summary.json` and `metrics.csv` of every run, without any code of
`utils.compare`, which wrote most of the tables.
"""

import csv
import json
import re
import statistics
from decimal import Decimal

import pytest
from scipy import stats

from tests.processes import ROOT

pytestmark = pytest.mark.once

RESULTS = ROOT / "results"
TEST_IMAGES = {"cifar10": 10_000, "digits": 360}

# row of the README's table -> variant, of both networks
MODULES = {
    "none": "none",
    "SE": "se_block",
    'SE, `start="identity"`': "se_block-start_identity",
    "CBAM": "cbam_block",
    'CBAM, `start="identity"`': "cbam_block-start_identity",
}
NETWORKS = {"ResNet20": "cifar10-resnet20-30epochs", "ResNet56": "cifar10-resnet56-30epochs"}
SIX_EPOCHS = "cifar10-resnet20-6epochs"
# beginning of a row of the first table of docs/results.md -> experiment
OTHER_NETWORKS = {
    "ResNet-v2-20": "cifar10-resnet_v2-2epochs",
    "MobileNet": "cifar10-mobilenet-2epochs",
    "ResNeXt-29": "digits-resnext-10epochs",
    "Inception-ResNet v2": "digits-inception_resnet_v2-10epochs",
}
DATA = {"CIFAR-10": "cifar10", "digits": "digits"}
EXPERIMENTS = sorted(path.name for path in RESULTS.iterdir() if path.is_dir())
COMPARISONS = [name for name in EXPERIMENTS if name != SIX_EPOCHS]  # with a comparison.csv


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
    mean = statistics.mean(value - of_base for value, of_base in zip(values, base, strict=True))
    if len(values) == 1:
        return [mean]
    interval = stats.ttest_rel(values, base).confidence_interval(0.95)
    return [mean, interval.low, interval.high]


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


def test_check_figures_sees_the_last_digit():
    check_figures("77.44 ± 0.23 % [-0.68, +1,659]", [77.4433, 0.2318, -0.6776, 1659])
    for cell in ("77.45 ± 0.23 %", "77.43 ± 0.23 %", "77.44 ± 0.24 %", "77.44 %", "77.4 0.2 1"):
        with pytest.raises(AssertionError):
            check_figures(cell, [77.4433, 0.2318])


def test_readme():
    rows = read_table(page("README.md"), "30 epochs on CIFAR-10")
    assert [row["30 epochs on CIFAR-10"] for row in rows] == list(MODULES)
    for row in rows:
        variant = MODULES[row["30 epochs on CIFAR-10"]]
        for network, experiment in NETWORKS.items():
            cell, difference = row[f"{network} (seeds)"], row[f"difference [95 %], {network}"]
            if variant not in variants_of(experiment):
                assert cell == difference == ""
                continue
            assert epochs_of(experiment) == 30
            seeds = list(read_runs(experiment, variant))
            check_figures(cell, [*accuracy_figures(experiment, variant), *seeds])
            expected = [] if variant == "none" else difference_figures(experiment, variant)
            check_figures(difference, expected)


def test_other_networks():
    rows = read_table(page("docs/results.md"), "other networks, seed 0")
    names = [row["other networks, seed 0"].split(",")[0] for row in rows]
    assert names == list(OTHER_NETWORKS)
    for name, row in zip(names, rows, strict=True):
        experiment = OTHER_NETWORKS[name]
        data, epochs = row["data, epochs"].split(", ")
        assert int(epochs) == epochs_of(experiment)
        for variant in variants_of(experiment):
            runs = read_runs(experiment, variant)
            assert list(runs) == [0]
            assert {run["dataset"] for run in runs.values()} == {DATA[data]}
        for column, module in (("none", "none"), ("SE", "se_block"), ("CBAM", "cbam_block")):
            # of ResNet18 two variants of CBAM: in the blocks, then before the classifier
            found = sorted(v for v in variants_of(experiment) if v.startswith(module))
            found.sort(key=lambda variant: "at_head" in variant)
            expected = [f for variant in found for f in accuracy_figures(experiment, variant)]
            check_figures(row[column], expected)


# first cell of a row of the tables of digits -> experiment
DIGITS = {
    "DenseNet-40, 10": "digits-densenet-10epochs",
    "Inception v3, 10": "digits-inception_v3-10epochs",
    "MobileNet, 30": "digits-mobilenet-30epochs",
    "ResNet-v2-20, 10": "digits-resnet_v2-10epochs",
}


@pytest.mark.parametrize(
    ("name", "figures"),
    [
        ("docs/results.md", accuracy_figures),
        ("docs/does-attention-help.md", difference_figures),
    ],
)
def test_digits(name, figures):
    rows = read_table(page(name), "digits, epochs")
    assert [row["digits, epochs"] for row in rows] == list(DIGITS)
    for row in rows:
        experiment = DIGITS[row["digits, epochs"]]
        assert row["digits, epochs"].endswith(f", {epochs_of(experiment)}")
        for module in list(row)[1:]:
            assert list(read_runs(experiment, MODULES[module])) == [0, 1, 2]
            check_figures(row[module], figures(experiment, MODULES[module]))


def test_six_epochs_of_the_study():
    values = {
        module: six_epochs_on_a_cpu(module, "mixed_bfloat16")
        for module in ("none", "se_block", "cbam_block")
    }
    text = " ".join(page("docs/does-attention-help.md").split())
    for module, name in (("se_block", "for SE"), ("cbam_block", "for CBAM as published")):
        mean = statistics.mean(values[module]) - statistics.mean(values["none"])
        interval = stats.ttest_rel(values[module], values["none"]).confidence_interval(0.95)
        assert f"{mean:+.2f} [{interval.low:+.2f}, {interval.high:+.2f}] {name}" in text


def test_results_page_has_every_experiment():
    text = page("docs/results.md")
    included = re.findall(r'--8<-- "results/([^/]+)/comparison.md:3:"', text)
    assert sorted([*included, SIX_EPOCHS]) == EXPERIMENTS
    commands = re.findall(r"configs/results/(\S+)\.json --seeds (\S+)", text)
    assert sorted(name for name, _ in commands) == EXPERIMENTS
    for name, seeds in commands:
        asked = {"0": [0], "0,1": [0, 1], "0-2": [0, 1, 2], "0-4": [0, 1, 2, 3, 4]}[seeds]
        for variant in variants_of(name):  # those on a GPU are not all done
            found = list(read_runs(name, variant))
            assert found == asked[: len(found)]
            assert found == asked or "configs/results/" + name in text.split("# Short")[0]


def test_results_page_six_epochs():
    rows = read_table(page("docs/results.md"), "variant")
    assert {row["variant"] for row in rows} == variants_of(SIX_EPOCHS)
    for row in rows:
        check_figures(row["parameters"], [params(SIX_EPOCHS, row["variant"])])
        check_figures(row["test accuracy"], accuracy_figures(SIX_EPOCHS, row["variant"]))


@pytest.mark.parametrize("experiment", COMPARISONS)
def test_tables_of_comparisons(experiment):
    """The `comparison.md` of an experiment, which docs/results.md includes."""
    text, exact = page(f"results/{experiment}/comparison.md"), read_csv(experiment)
    rows = read_table(text, "variant")
    assert [row["variant"] for row in rows] == list(exact)
    assert set(exact) == variants_of(experiment)
    assert f"epochs: {epochs_of(experiment)}; seeds: " in text
    seeds = sorted({seed for name in exact for seed in read_runs(experiment, name)})
    assert f"seeds: {', '.join(map(str, seeds))};" in text
    for row in rows:
        variant = row["variant"]
        check_figures(row["parameters"], [params(experiment, variant)])
        check_figures(row["multiply-adds"], [int(exact[variant]["multiply_adds"]) / 1e6])
        check_figures(row["seeds"], [len(read_runs(experiment, variant))])
        check_figures(row["test accuracy"], accuracy_figures(experiment, variant))
        assert row["speed"] == exact[variant]["relative_images_per_second"] == ""
        if variant == "none":
            assert row["difference [95 %]"] == row["McNemar p"] == row["gained, lost"] == ""
        else:
            check_figures(row["difference [95 %]"], difference_figures(experiment, variant))
            check_mcnemar(row, exact[variant], experiment)


def check_mcnemar(row, exact, experiment):
    """Gained minus lost is the difference in hits, and p is twice the tail of a fair coin."""
    gained, lost = int(exact["mcnemar_gained"]), int(exact["mcnemar_lost"])
    check_figures(row["gained, lost"], [gained, lost])
    images = TEST_IMAGES[experiment.split("-")[0]]
    pairs = paired_accuracies(experiment, row["variant"])
    hits, of_base = (sum(round(images * value) for value in each) for each in pairs)
    assert gained - lost == hits - of_base
    p = min(1, 2 * stats.binom.cdf(min(gained, lost), gained + lost, 0.5))
    assert float(exact["mcnemar_p"]) == pytest.approx(p)
    assert row["McNemar p"] == f"{p:.2g}"


@pytest.mark.parametrize("experiment", COMPARISONS)
def test_csv_of_comparisons(experiment):
    """The `comparison.csv` of an experiment, to full precision; an empty cell where none is due."""
    for variant, row in read_csv(experiment).items():
        assert int(row["params"]) == params(experiment, variant)
        difference = [] if variant == "none" else difference_figures(experiment, variant)
        columns = {
            "test_accuracy": accuracy_figures(experiment, variant),
            "difference": difference[:1],
            "difference_low": difference[1:2],
            "difference_high": difference[2:],
        }
        columns["test_accuracy_deviation"] = columns["test_accuracy"][1:]
        for name, expected in columns.items():
            found = [100 * float(row[name])] if row[name] else []
            assert found == pytest.approx(expected[:1], abs=1e-9), name


@pytest.mark.parametrize(
    "path", sorted(RESULTS.glob("*/*/summary.json")), ids=lambda path: path.parent.name
)
def test_summaries(path):
    """The accuracies are possible, and the selected epoch is one with the best validation."""
    summary = json.loads(path.read_text())
    hits = TEST_IMAGES[summary["dataset"]] * summary["test_accuracy"]
    assert hits == pytest.approx(round(hits), abs=1e-6)
    with open(path.with_name("metrics.csv"), newline="") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["epoch"]) for row in rows] == list(range(1, summary["epochs"] + 1))
    validation = [float(row["val_accuracy"]) for row in rows]
    assert max(validation) == pytest.approx(summary["best_val_accuracy"])
    assert validation[summary["best_epoch"] - 1] == pytest.approx(summary["best_val_accuracy"])


# row of the table of docs/recipe.md -> flags of its runs in results/recipe.csv
SMALL = "--batch-size 64 --learning-rate"
LINEAR = f"{SMALL} 0.014 --schedule linear_decay"
TRIED = {
    "none: batches of 128, peak 0.02": "",
    "batches of 64, peak 0.014": f"{SMALL} 0.014",
    "batches of 64, peak 0.02": f"{SMALL} 0.02",
    "batches of 64, peak 0.009": f"{SMALL} 0.009",
    "batches of 64, peak 0.014, crop by up to 3 pixels": f"{SMALL} 0.014 --crop-padding 3",
    "batches of 64, peak 0.014, crop by up to 2 pixels": f"{SMALL} 0.014 --crop-padding 2",
    "batches of 64, peak 0.014, `--label-smoothing 0.1`": f"{SMALL} 0.014 --label-smoothing 0.1",
    "batches of 64, peak 0.014, `--ema 0.998`": f"{SMALL} 0.014 --ema 0.998",
    "batches of 64, peak 0.014, `--schedule linear_decay`": LINEAR,
    "batches of 64, peak 0.014, `--cutout 8`": f"{SMALL} 0.014 --cutout 8",
}


def recipe_figures(epochs, flags):
    """Mean, deviation of several, and seeds; of a seed that was trained twice, the first time."""
    with open(RESULTS / "recipe.csv", newline="") as file:
        rows = [r for r in csv.DictReader(file) if (r["epochs"], r["flags"]) == (epochs, flags)]
    by_seed = {int(row["seed"]): 100 * float(row["test_accuracy"]) for row in reversed(rows)}
    values, seeds = list(by_seed.values()), sorted(by_seed)
    spread = [statistics.stdev(values)] if len(values) > 1 else []
    return [statistics.mean(values), *spread, *seeds]


def test_recipes():
    rows = read_table(page("docs/recipe.md"), "change")
    assert [row["change"] for row in rows] == list(TRIED)
    for row in rows:
        check_figures(row["test accuracy (seeds)"], recipe_figures("15", TRIED[row["change"]]))
    for row in read_table(page("docs/recipe.md"), "epochs"):
        if row["`plain` (seeds)"]:
            plain = recipe_figures(row["epochs"], "--recipe plain")
            check_figures(row["`plain` (seeds)"], plain)
        if row["epochs"] in ("6", "15", "60"):
            check_figures(row["`muon` (seeds)"], recipe_figures(row["epochs"], ""))
    values = six_epochs_on_a_cpu("none", "float32")
    spread = f"{statistics.mean(values):.2f} ± {statistics.stdev(values):.2f} %"
    assert f"6 epochs reach {spread} (seeds 0, 1, 2;" in page("docs/recipe.md")


def six_epochs_on_a_cpu(module, precision):
    """Test accuracies in percent, by seed."""
    with open(RESULTS / "precision.csv", newline="") as file:
        wanted = {"module": module, "precision": precision}
        found = [run for run in csv.DictReader(file) if wanted.items() <= run.items()]
    assert [run["seed"] for run in found] == ["0", "1", "2"]
    return [100 * float(run["test_accuracy"]) for run in found]


def test_recipes_of_six_epochs():
    base, *rows = read_table(page("docs/recipe.md"), "change, 6 epochs")
    values = six_epochs_on_a_cpu("none", "mixed_bfloat16")
    figures = [statistics.mean(values), statistics.stdev(values), 0, 1, 2]
    check_figures(base["test accuracy (seeds)"], figures)
    changes = [
        "--crop-padding 2", f"{SMALL} 0.014 --crop-padding 2",
        "kernels that start close to the identity",
    ]  # fmt: skip
    for row, flags in zip(rows, changes, strict=True):
        check_figures(row["test accuracy (seeds)"], recipe_figures("6", flags))


# first cell of a row of the table of the study -> experiment
STUDY = {
    "ResNet20, 30": "cifar10-resnet20-30epochs",
    "ResNet56, 30": "cifar10-resnet56-30epochs",
    "ResNet18, 15": "cifar10-resnet18-15epochs",
}
STUDIED = {
    **MODULES,
    "CBAM in every block, ratio 16, kernel 3": "cbam_block-ratio16-kernel_size3",
    "CBAM before the classifier": "cbam_block-ratio16-kernel_size3-at_head",
}


def test_the_study():
    rows = read_table(page("docs/does-attention-help.md"), "network, epochs")
    found = set()
    for row in rows:
        experiment, variant = STUDY[row["network, epochs"]], STUDIED[row["module"]]
        found.add((experiment, variant))
        own, base = read_runs(experiment, variant), read_runs(experiment, "none")
        check_figures(row["seeds"], list(own))
        differences = [
            100 * (own[seed]["test_accuracy"] - base[seed]["test_accuracy"]) for seed in own
        ]
        check_figures(row["difference"], differences)
    every = {(e, v) for e in STUDY.values() for v in variants_of(e) if v != "none"}
    assert found == every


def test_original_pixels():
    found = json.loads((RESULTS / "original_pixels.json").read_text())
    rows = read_table(page("docs/weights.md"), "name")
    assert {row["name"].strip("`") for row in rows} == set(found)
    for row in rows:
        of_name = found[row["name"].strip("`")]
        check_figures(row["on original pixels"], [100 * of_name["original"]])
    lost = [100 * (each["original"] - each["copy"]) for each in found.values()]
    assert f"{min(lost):.1f} to {max(lost):.1f} points" in " ".join(page("docs/weights.md").split())


def test_precision():
    with open(RESULTS / "precision.csv", newline="") as file:
        runs = list(csv.DictReader(file))
    rows = read_table(page("docs/precision.md"), "module")
    for row in rows:
        if row["epochs"] == "6":
            which = {"module": MODULES[row["module"]], "seed": row["seed"]}
            of_seed = {run["precision"]: run for run in runs if which.items() <= run.items()}
            for column, precision in (("bfloat16", "mixed_bfloat16"), ("float32", "float32")):
                check_figures(row[column], [100 * float(of_seed[precision]["test_accuracy"])])
    assert [row["epochs"] for row in rows].count("6") == len(runs) / 2
    text = " ".join(page("docs/precision.md").split())
    for modules in ({"none"}, set(MODULES.values())):
        lost = paired_differences(runs, modules)
        half = stats.t.ppf(0.975, len(lost) - 1) * stats.sem(lost)
        mean = statistics.mean(lost)
        interval = f"a 95 % confidence interval from {mean - half:+.2f} to {mean + half:+.2f}"
        assert f"{mean:+.2f} points, with {interval}" in text


def paired_differences(runs, modules):
    """Accuracy in bfloat16 minus that in float32, in points, of each module and seed."""
    of_precision = {
        precision: [
            (run["module"], run["seed"], 100 * float(run["test_accuracy"]))
            for run in runs
            if run["precision"] == precision and run["module"] in modules
        ]
        for precision in ("mixed_bfloat16", "float32")
    }
    return [
        half[2] - full[2]
        for half, full in zip(*map(sorted, of_precision.values()), strict=True)
        if half[:2] == full[:2]
    ]
