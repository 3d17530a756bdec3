"""Every figure in the results tables of README.md and docs/results.md, recomputed from results/."""

import csv
import json
import re

import pytest
from scipy import stats

from tests.published_figures import (
    MODULES,
    RESULTS,
    accuracy_figures,
    check_figures,
    difference_figures,
    epochs_of,
    page,
    paired_accuracies,
    params,
    read_csv,
    read_runs,
    read_table,
    variants_of,
)

pytestmark = pytest.mark.once

TEST_IMAGES = {"cifar10": 10_000, "digits": 360}

NETWORKS = {"ResNet20": "cifar10-resnet20-30epochs", "ResNet56": "cifar10-resnet56-30epochs"}
# beginning of a row of the first table of docs/results.md -> experiment
OTHER_NETWORKS = {
    "ResNeXt-29": "digits-resnext-10epochs",
    "Inception-ResNet v2": "digits-inception_resnet_v2-10epochs",
}
DATA = {"CIFAR-10": "cifar10", "digits": "digits"}
EXPERIMENTS = sorted(path.name for path in RESULTS.iterdir() if path.is_dir())


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


def test_results_page_has_every_experiment():
    text = page("docs/results.md")
    included = re.findall(r'--8<-- "results/([^/]+)/comparison.md:3:"', text)
    assert sorted(included) == EXPERIMENTS
    commands = re.findall(r"configs/results/(\S+)\.json --seeds (\S+)", text)
    assert sorted(name for name, _ in commands) == EXPERIMENTS
    for name, seeds in commands:
        asked = {"0": [0], "0,1": [0, 1], "0-2": [0, 1, 2], "0-4": [0, 1, 2, 3, 4]}[seeds]
        for variant in variants_of(name):  # those on CIFAR-10 are not all done
            found = list(read_runs(name, variant))
            assert found == asked[: len(found)]
            assert found == asked or name.startswith("cifar10")


@pytest.mark.parametrize("experiment", EXPERIMENTS)
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


@pytest.mark.parametrize("experiment", EXPERIMENTS)
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
        pairs = len(paired_accuracies(experiment, variant)[0])
        due = ("", "") if variant == "none" else ("none", str(pairs))
        assert (row["base"], row["pairs"]) == due
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
