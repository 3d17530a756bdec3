"""The figures on the pages of recipes, precision, weights and of the study, recomputed."""

import csv
import json
import statistics

import pytest
from scipy import stats

from tests.published_figures import (
    MODULES,
    RESULTS,
    check_figures,
    page,
    printed_interval,
    read_runs,
    read_table,
    variants_of,
)
from utils.runs.predictions import read_predictions

pytestmark = pytest.mark.once

HALF, IDENTITY = (f"\"cbam_block(start='{start}')\"" for start in ("half", "identity"))
PUBLISHED = ("none", "se_block", "cbam_block")  # whose 6 epochs are in results/precision.csv
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


def text_of(name):
    """A page's text, however its lines are broken."""
    return " ".join(page(name).split())


def recipe_runs(epochs, flags):
    """Test accuracies in percent by seed; of a seed that was trained twice, the first time."""
    with open(RESULTS / "recipe.csv", newline="") as file:
        rows = [r for r in csv.DictReader(file) if (r["epochs"], r["flags"]) == (epochs, flags)]
    found = {int(row["seed"]): 100 * float(row["test_accuracy"]) for row in reversed(rows)}
    return dict(sorted(found.items()))


def recipe_figures(epochs, flags):
    """Mean, deviation of several, and seeds."""
    return figures_of(recipe_runs(epochs, flags))


def figures_of(runs):
    values = list(runs.values())
    spread = [statistics.stdev(values)] if len(values) > 1 else []
    return [statistics.mean(values), *spread, *runs]


def test_recipes():
    rows = read_table(page("docs/recipe.md"), "change")
    assert [row["change"] for row in rows] == list(TRIED)
    for row in rows:
        check_figures(row["test accuracy (seeds)"], recipe_figures("15", TRIED[row["change"]]))
    for row in read_table(page("docs/recipe.md"), "epochs"):
        if row["`plain` (seeds)"]:
            plain = recipe_figures(row["epochs"], "--recipe plain")
            check_figures(row["`plain` (seeds)"], plain)
        if row["epochs"] == "6":
            muon = figures_of(six_epochs_on_a_cpu("none"))
        else:
            muon = recipe_figures(row["epochs"], "")
        check_figures(row["`muon` (seeds)"], muon)
    values = six_epochs_on_a_cpu("none", "float32").values()
    spread = f"{statistics.mean(values):.2f} ± {statistics.stdev(values):.2f} %"
    assert f"6 epochs reach {spread} (seeds 0, 1, 2;" in page("docs/recipe.md")


def six_epochs_on_a_cpu(module, precision="mixed_bfloat16"):
    """Test accuracies in percent, by seed."""
    with open(RESULTS / "precision.csv", newline="") as file:
        wanted = {"module": module, "precision": precision}
        found = [run for run in csv.DictReader(file) if wanted.items() <= run.items()]
    assert [run["seed"] for run in found] == ["0", "1", "2"]
    return {int(run["seed"]): 100 * float(run["test_accuracy"]) for run in found}


def test_recipes_of_six_epochs():
    base, *rows = read_table(page("docs/recipe.md"), "change, 6 epochs")
    unchanged = six_epochs_on_a_cpu("none")
    check_figures(base["test accuracy (seeds)"], figures_of(unchanged))
    changes = [
        "--crop-padding 2", f"{SMALL} 0.014 --crop-padding 2",
        "kernels that start close to the identity",
    ]  # fmt: skip
    for row, flags in zip(rows, changes, strict=True):
        check_figures(row["test accuracy (seeds)"], recipe_figures("6", flags))
    small = recipe_runs("6", "--crop-padding 2")
    gain = printed_interval(list(small.values()), list(unchanged.values()))
    assert f"better: {gain} points with the same seeds" in text_of("docs/recipe.md")


# first cell of a row of the table of the study -> experiment
STUDY = {
    "ResNet20, 30": "cifar10-resnet20-30epochs",
    "ResNet56, 30": "cifar10-resnet56-30epochs",
    "ResNet18, 15": "cifar10-resnet18-15epochs",
    "MobileNet, 15": "cifar10-mobilenet-15epochs",
    "ResNet-v2-20, 15": "cifar10-resnet_v2-15epochs",
    "Inception v3, 6": "cifar10-inception_v3-6epochs",
}
STUDIED = {
    **MODULES,
    "CBAM in every block, ratio 16, kernel 3": "cbam_block-ratio16-kernel_size3",
    "CBAM before the classifier": "cbam_block-ratio16-kernel_size3-at_head",
}


def differences(experiment, variant):
    """Accuracy minus that without attention with the same seed, in points."""
    own, base = read_runs(experiment, variant), read_runs(experiment, "none")
    return [100 * (run["test_accuracy"] - base[seed]["test_accuracy"]) for seed, run in own.items()]


CATALOG = {
    **MODULES,
    'Coordinate attention, `start="identity"`': "coordinate_block-start_identity",
    'ECA, `start="identity"`': "eca_block-start_identity",
    "Global context": "gc_block",
    "SimAM": "simam_block",
}


def test_the_study():
    rows = read_table(page("docs/does-attention-help.md"), "network, epochs")
    found = set()
    for row in rows:
        experiment, variant = STUDY[row["network, epochs"]], STUDIED[row["module"]]
        found.add((experiment, variant))
        check_figures(row["seeds"], list(read_runs(experiment, variant)))
        check_figures(row["difference"], differences(experiment, variant))
    every = {(e, v) for e in STUDY.values() for v in variants_of(e) if v != "none"}
    assert found == every


def test_the_study_in_the_readme():
    text = text_of("README.md")
    found = {
        (experiment, variant): differences(experiment, variant)
        for experiment in STUDY.values()
        for variant in variants_of(experiment)
    }
    first, second = found[STUDY["MobileNet, 15"], "cbam_block"]
    assert f"{-first:.2f} and {-second:.2f} points behind `none`" in text
    from_one = {key: values for key, values in found.items() if "identity" in key[1]}
    assert len({experiment for experiment, _ in from_one}) == 5
    assert set(map(len, from_one.values())) == {1, 2}
    ends = [end for values in from_one.values() for end in (min(values), max(values))]
    words = "were between {:.2f} points behind `none` and {:.2f} ahead in five networks"
    assert words.format(-min(ends), max(ends)) in text


def right(experiment, variant, seed=0):
    """Which test images a network gets right."""
    return read_predictions(RESULTS / experiment / f"{variant}-seed{seed}").correct


def test_images_that_one_network_alone_gets_right():
    text = text_of("docs/does-attention-help.md")
    start, published = (
        right("cifar10-mobilenet-15epochs", variant)
        for variant in ("cbam_block-start_identity", "cbam_block")
    )
    alone = (start & ~published).sum(), (published & ~start).sum()
    assert "{} are right in the first alone and {} in the second".format(*alone) in text
    first, second = (
        f"{100 * run['test_accuracy']:.2f}"
        for run in read_runs("cifar10-mobilenet-15epochs", "none").values()
    )
    assert f"reached {first} and {second} % with seeds 0 and 1" in text
    cbam, none = (
        right("cifar10-resnet18-15epochs", variant)
        for variant in ("cbam_block-ratio16-kernel_size3", "none")
    )
    alone = (none & ~cbam).sum(), (cbam & ~none).sum()
    assert "wrong alone on {} test images, and no attention alone on {}".format(*alone) in text
    first, second = (right("cifar10-resnet56-30epochs", "none", seed) for seed in (1, 2))
    alone = (first & ~second).sum(), (second & ~first).sum()
    words = "differ by {:.2f} points: {} test images are right with seed 1 alone and {} with seed 2"
    assert words.format(100 * (first.mean() - second.mean()), *alone) in text
    se, none = (right("cifar10-resnet_v2-15epochs", variant) for variant in ("se_block", "none"))
    alone = (se & ~none).sum(), (none & ~se).sum()
    assert "{} are right with SE alone and {} without attention alone".format(*alone) in text


def test_mobilenet_with_the_published_start():
    text = text_of("docs/does-attention-help.md")
    folder = RESULTS / "cifar10-mobilenet-15epochs" / "cbam_block-seed1"
    with open(folder / "metrics.csv", newline="") as file:
        losses = [f"{float(epoch['loss']):.2f}" for epoch in csv.DictReader(file)]
    assert losses[:6] == ["2.30"] * 6
    assert float(losses[6]) < 2.1
    assert f"stays at that of guessing for six of 15 epochs ({losses[0]}, the logarithm" in text


def test_the_blocks_of_mobilenet_in_the_first_steps():
    text = text_of("docs/does-attention-help.md")
    found = json.loads((RESULTS / "stall.json").read_text())
    seeds = found["published, seed 0"], found["published, seed 1"]
    ends = [f"{end(seed['0']['spatial']):.2f}" for seed in seeds for end in (min, max)]
    words = "with seed 0 means are between {} and {}, and with seed 1 between {} and {}"
    assert words.format(*ends) in text
    shut = seeds[1]["400"]
    assert f"its mean is {shut['spatial'][2]:.0e}" in text
    assert max(shut["difference"][2:]) < 1e-9
    assert seeds[1]["800"]["spatial"][2] < 1e-9
    assert f"the second gate falls to {seeds[0]['200']['spatial'][1]:.2f} after 200" in text
    assert seeds[0]["400"]["spatial"][1] > 0.9
    last = [f"{seed[step]['difference'][-1]:.2f}" for seed in seeds for step in ("0", "200")]
    words = "differ less and less, from {} to {} and from {} to {} after 200 steps"
    assert words.format(*last) in text
    quarter = found["published, a quarter of the rate, seed 1"]
    assert all(quarter[step]["spatial"][2] < 1e-5 for step in ("200", "400", "800"))
    open_gates = found["gates at one, seed 1"]
    least = min(min(measured["spatial"]) for measured in open_gates.values())
    assert f"none is below {least:.2f} at any of these steps" in text
    assert open_gates["800"]["difference"][0] > 2 * open_gates["0"]["difference"][0]


def test_gates_in_the_course_of_a_training():
    text = text_of("docs/does-attention-help.md")
    found = json.loads((RESULTS / "gates.json").read_text())
    steps, trained = found["steps"], found["trained"]
    border, inside = steps[IDENTITY.strip('"')]["1000"]["border"]
    assert f"(from one: {border:.2f} and {inside:.2f} of 2)" in text
    for form in ("cbam_block", HALF.strip('"')):
        assert [f"{each:.2f}" for each in steps[form]["1000"]["border"]] == ["0.98", "1.00"]
    se, from_one = (
        [f"{each:.2f}" for each in trained[f"cifar10/resnet_v1-20-{name}"]["channel"]]
        for name in ("se_block", "se_block-start_identity")
    )
    assert f"published half of the gates are between {se[1]} and {se[3]}" in text
    low, first, _, third, high = from_one
    words = f"half of them are between {first} and {third}, and 90 % between {low} and {high}"
    assert words in text
    quartiles = [
        f"below {gates['channel'][1]:.2f} or above {gates['channel'][3]:.2f}"
        for gates in (steps["cbam_block"][step] for step in ("0", "100", "1000"))
    ]
    assert f"half of the channel gates are {quartiles[0]} at step 0" in text
    assert f"After 100 steps the same half is {quartiles[1]} too, and after 1,000 steps" in text
    assert quartiles[2] in text
    norms = {f'"{form}"': f"{gates['10']['gradient']:.1f}" for form, gates in steps.items()}
    none, published = norms['"none"'], norms['"cbam_block"']
    assert (
        f"{none} without attention, {norms[IDENTITY]} with gates that start at one, {published} as "
        f"published and {norms[HALF]} with gates at a half" in text
    )
    ends = [gates["1000"]["gradient"] for gates in steps.values()]
    assert f"all are alike ({min(ends):.2f} to {max(ends):.2f})" in text


def test_single_changes():
    runs = {f"--attention {module}": six_epochs_on_a_cpu(module) for module in PUBLISHED}
    with open(RESULTS / "changes.csv", newline="") as file:
        for run in csv.DictReader(file):
            of_flags = runs.setdefault(run["flags"], {})
            of_flags[int(run["seed"])] = 100 * float(run["test_accuracy"])
    base = runs["--attention none"]
    rows = read_table(page("docs/does-attention-help.md"), "change")
    assert {row["flags"].strip("`") for row in rows} == runs.keys() - {"--attention none"}
    for row in rows:
        own = runs[row["flags"].strip("`")]
        check_figures(row["seeds"], list(own))
        check_figures(row["difference"], [own[seed] - base[seed] for seed in own])
    text = text_of("docs/does-attention-help.md")
    for flags, of_flags, words in (
        ("se_block", "none", "for SE"),
        ("cbam_block", "none", "for CBAM as published"),
        (HALF, "cbam_block", "with gates at a half"),
        (IDENTITY, "cbam_block", "with gates at one"),
        (HALF, "none", "from a half"),
        (IDENTITY, "none", "from one"),
        (f"{IDENTITY} --attention-rate 0.25", "none", "over them"),
    ):
        own, other = (list(runs[f"--attention {each}"].values()) for each in (flags, of_flags))
        assert f"{printed_interval(own, other)} {words}" in text


def test_the_catalog():
    experiment = "cifar10-resnet20-6epochs"
    rows = read_table(page("docs/does-attention-help.md"), "catalog, 6 epochs")
    assert {CATALOG[row["catalog, 6 epochs"]] for row in rows} == variants_of(experiment) - {"none"}
    for row in rows:
        variant = CATALOG[row["catalog, 6 epochs"]]
        check_figures(row["seeds"], list(read_runs(experiment, variant)))
        check_figures(row["difference"], differences(experiment, variant))
    own, other = (
        [100 * run["test_accuracy"] for run in read_runs(experiment, variant).values()]
        for variant in ("simam_block", "none")
    )
    assert f"{printed_interval(own, other)} points ahead" in text_of("docs/does-attention-help.md")


def test_changes_in_mobilenet():
    runs: dict[str, list[float]] = {}
    with open(RESULTS / "mobilenet_changes.csv", newline="") as file:
        for run in csv.DictReader(file):
            assert run["seed"] == "0"
            runs.setdefault(run["flags"], []).append(100 * float(run["test_accuracy"]))
    rows = read_table(page("docs/does-attention-help.md"), "MobileNet")
    assert {row["flags"].strip("`") for row in rows} == runs.keys()
    for row in rows:
        check_figures(row["test accuracy"], runs[row["flags"].strip("`")])


def test_mirror_images():
    found = json.loads((RESULTS / "mirror_images.json").read_text()).values()
    gains = [100 * (each["both"] - each["image"]) for each in found]
    expected = f"its mirror image gains {min(gains):.1f} to {max(gains):.1f} points"
    assert expected in text_of("docs/recipe.md")


def test_original_pixels():
    found = json.loads((RESULTS / "original_pixels.json").read_text())
    rows = read_table(page("docs/weights.md"), "name")
    assert {row["name"].strip("`") for row in rows} == set(found)
    for row in rows:
        of_name = found[row["name"].strip("`")]
        check_figures(row["on original pixels"], [100 * of_name["original"]])
    text = text_of("docs/weights.md")
    for v1, words in ((True, "the ResNets v1 are"), (False, "have learned less, differ by")):
        of_kind = [each for name, each in found.items() if ("/resnet_v1" in name) == v1]
        lost = [100 * (each["original"] - each["copy"]) for each in of_kind]
        assert f"{words} {min(lost):.1f} to {max(lost):.1f} points" in text


def test_precision():
    with open(RESULTS / "precision.csv", newline="") as file:
        runs = list(csv.DictReader(file))
    rows = read_table(page("docs/precision.md"), "module, 6 epochs")
    for row in rows:
        which = {"module": MODULES[row["module, 6 epochs"]], "seed": row["seed"]}
        of_seed = {run["precision"]: run for run in runs if which.items() <= run.items()}
        for column, precision in (("bfloat16", "mixed_bfloat16"), ("float32", "float32")):
            check_figures(row[column], [100 * float(of_seed[precision]["test_accuracy"])])
    assert len(rows) == len(runs) / 2
    text = text_of("docs/precision.md")
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
