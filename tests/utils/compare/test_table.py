"""The table and the picture of a comparison, against figures computed by hand."""

import dataclasses
import shutil

import matplotlib.image
import pytest

from models.attention.specification import AttentionSpec
from tests.fake_comparison import COSTS, DATA, LABELS, fake, fake_comparison, settings_of, table
from utils.compare import compare as comparison
from utils.compare.compare import write_comparison
from utils.compare.missing_runs import read_jobs, record_jobs
from utils.compare.paired_statistics import Difference
from utils.compare.planning import Variant, plan_runs
from utils.compare.plot import plot_comparison
from utils.compare.table import Row, base_of, conclusion
from utils.system.errors import UserError

pytestmark = pytest.mark.once


def test_numbers_of_the_table(tmp_path):
    runs = fake_comparison(tmp_path)
    write_comparison(runs, DATA, COSTS, tmp_path)
    found = table(tmp_path)
    assert list(found) == ["none", "se_block"]
    none, se = found["none"], found["se_block"]
    assert (se["params"], se["multiply_adds"], se["seeds"]) == ("1100", "2500000", "3")
    assert float(none["test_accuracy"]) == pytest.approx(0.7)
    assert float(none["test_accuracy_deviation"]) == pytest.approx(0.1)
    assert float(se["test_accuracy"]) == pytest.approx(2.3 / 3)
    assert (float(none["relative_images_per_second"]), none["difference"]) == (1, "")
    assert float(se["relative_images_per_second"]) == pytest.approx(0.81)
    # differences 0.1, 0 and 0.1: mean 0.2 / 3, standard error 0.1 / 3, t(0.975; 2) = 4.302653
    assert float(se["difference"]) == pytest.approx(0.2 / 3)
    assert float(se["difference_low"]) == pytest.approx((0.2 - 0.4302653) / 3, rel=1e-5)
    assert float(se["difference_high"]) == pytest.approx((0.2 + 0.4302653) / 3, rel=1e-5)
    # gained: place 2 of seed 0, 1 of seed 1, 3 of seed 2; lost: 9 of seed 1
    assert (se["mcnemar_gained"], se["mcnemar_lost"]) == ("3", "1")
    assert float(se["mcnemar_p"]) == pytest.approx(2 * (1 + 4) / 2**4)


def test_table_in_markdown(tmp_path):
    write_comparison(fake_comparison(tmp_path), DATA, COSTS, tmp_path)
    text = (tmp_path / "comparison.md").read_text("utf-8")
    assert "| none | 1,000 | 2.00 M | 1.00 x | 3 | 70.00 % ± 10.00 |  |  |  |  |" in text
    assert (
        "| se_block | 1,100 | 2.50 M | 0.81 x | 3 | 76.67 % ± 5.77 | +6.67 [-7.68, +21.01] "
        "| cannot tell; about 6 seeds would | 0.62 | 3, 1 |"
    ) in text
    assert "seeds: 0, 1, 2; compared with: none." in text
    assert "Missing" not in text
    assert len({line.count("|") for line in text.splitlines() if "|" in line}) == 1
    assert min(matplotlib.image.imread(tmp_path / "comparison.png").shape[:2]) > 300


@pytest.mark.parametrize(
    ("difference", "words"),
    [
        (None, ""),
        (Difference(0.01, None, None), "cannot tell from one seed"),
        (Difference(0.01, None, None, pairs=2), "cannot tell from equal differences"),
        (Difference(0.02, 0.001, 0.039), "ahead"),
        (Difference(-0.02, -0.039, -0.001), "behind"),
        (Difference(0.02, -0.01, 0.05, 7), "cannot tell; about 7 seeds would"),
        (Difference(0.0, -0.01, 0.01), "cannot tell; no difference in sight"),
    ],
)
def test_conclusion_in_words(difference, words):
    row = Row("a", 1, 1, [0.5], 0.5, None, [[0.5]], True, difference=difference)
    assert conclusion(row) == words
    assert conclusion(row, outlook=False) == words.partition(";")[0]


def test_speeds_only_of_runs_that_were_trained_alone(tmp_path):
    runs = fake_comparison(tmp_path)
    record_jobs(tmp_path, runs[3], 2)
    assert read_jobs(tmp_path)[runs[3].name] == 2
    record_jobs(tmp_path, runs[3], 1)  # resumed alone, but not alone from the start
    assert read_jobs(tmp_path)[runs[3].name] == 2
    write_comparison(runs, DATA, COSTS, tmp_path)
    assert table(tmp_path)["se_block"]["relative_images_per_second"] == ""
    assert "Speed: left empty" in (tmp_path / "comparison.md").read_text("utf-8")


def test_missing_runs_are_named(tmp_path):
    runs = fake_comparison(tmp_path)
    shutil.rmtree(runs[0].folder)  # none-seed0
    (runs[3].folder / "summary.json").unlink()  # se_block-seed1
    write_comparison(runs, DATA, COSTS, tmp_path)
    se = table(tmp_path)["se_block"]
    assert float(se["difference"]) == pytest.approx(0.1)  # of seed 2 alone
    assert (se["difference_low"], se["seeds"]) == ("", "2")
    text = (tmp_path / "comparison.md").read_text("utf-8")
    assert "**Missing runs: none-seed0, se_block-seed1.**" in text
    assert "A difference is over the seeds that both variants have" in text


def test_it_is_said_that_variants_have_different_seeds(tmp_path):
    """In the published tables: the difference is of one seed, the means are of three and one."""
    runs = fake_comparison(tmp_path)
    some = [run for run in runs if run.variant.name == "none" or run.settings.seed == 1]
    write_comparison(some, DATA, COSTS, tmp_path)
    text = (tmp_path / "comparison.md").read_text("utf-8")
    assert "Missing" not in text
    assert "A difference is over the seeds that both variants have" in text
    assert "A single seed has no standard deviation and no interval." in text
    write_comparison(runs, DATA, COSTS, tmp_path)
    whole = (tmp_path / "comparison.md").read_text("utf-8")
    assert "both variants have" not in whole
    assert "A single seed" not in whole


def test_runs_that_ended_early(tmp_path):
    """`--patience 1` ends runs after different numbers of epochs."""
    runs = fake_comparison(tmp_path, patience=1)
    metrics = runs[0].folder / "metrics.csv"
    metrics.write_text("\n".join(metrics.read_text().splitlines()[:2]))
    write_comparison(runs, DATA, COSTS, tmp_path)
    assert table(tmp_path)["none"]["seeds"] == "3"
    assert (tmp_path / "report.html").exists()


def test_without_none_the_first_variant_is_the_base(tmp_path):
    runs = fake_comparison(tmp_path)
    se_alone = plan_runs(settings_of(attention="se_block"), DATA, tmp_path)
    costs = {Variant(AttentionSpec("se_block")): (1100, 2_500_000)}
    write_comparison(se_alone, DATA, costs, tmp_path)
    assert "the base is se_block instead" in (tmp_path / "comparison.md").read_text("utf-8")
    # none is the base, also if it is not the first
    backwards = dict(reversed(COSTS.items()))
    write_comparison(runs, DATA, backwards, tmp_path)
    assert list(table(tmp_path)) == ["se_block", "none"]
    assert table(tmp_path)["none"]["difference"] == ""


def test_a_base_has_the_same_recipe(tmp_path):
    """With rates a, b and c: `none` of b is not finished, of c there is one variant alone."""
    options = {"attention": "none,se_block,cbam_block", "learning_rate": [0.1, 0.05, 0.01]}
    planned = plan_runs(settings_of(seeds=0, **options), DATA, tmp_path)
    left_out = {"none-learning_rate0.05-seed0", "none-learning_rate0.01-seed0",
                "se_block-learning_rate0.01-seed0"}  # fmt: skip
    runs = [run for run in planned if run.name not in left_out]
    for run in runs:
        fake(run)
    write_comparison(runs, DATA, {run.variant: (1000, 1000) for run in runs}, tmp_path)
    compared = {name: row["difference"] != "" for name, row in table(tmp_path).items()}
    assert compared == {
        "none-learning_rate0.1": False,
        "se_block-learning_rate0.1": True,
        "cbam_block-learning_rate0.1": True,
        "se_block-learning_rate0.05": False,
        "cbam_block-learning_rate0.05": True,
        "cbam_block-learning_rate0.01": False,
    }
    variants = [run.variant for run in runs]
    assert base_of(variants[4], variants) is variants[3]
    text = (tmp_path / "comparison.md").read_text("utf-8")
    assert "The base is none of the same settings or, where that is missing, the first" in text
    assert "as no other variant has its settings: cbam_block-learning_rate0.01." in text


@pytest.mark.parametrize("module", ["none", "se_block"])
def test_recipes_of_one_module_are_compared_with_the_first(tmp_path, module):
    options = {"attention": module, "learning_rate": [0.1, 0.05]}
    runs = plan_runs(settings_of(seeds=0, **options), DATA, tmp_path)
    for run in runs:
        fake(run)
    write_comparison(runs, DATA, {run.variant: (1000, 1000) for run in runs}, tmp_path)
    compared = {name: row["difference"] != "" for name, row in table(tmp_path).items()}
    first, second = (f"{module}-learning_rate{rate}" for rate in (0.1, 0.05))
    assert compared == {first: False, second: True}
    assert f"compared with: {first}." in (tmp_path / "comparison.md").read_text("utf-8")


def test_the_base_of_several_recipes_without_none(tmp_path):
    options = {"attention": "se_block,cbam_block", "learning_rate": [0.1, 0.05]}
    runs = plan_runs(settings_of(seeds=0, **options), DATA, tmp_path)
    for run in runs:
        fake(run)
    write_comparison(runs, DATA, {run.variant: (1000, 1000) for run in runs}, tmp_path)
    text = (tmp_path / "comparison.md").read_text("utf-8")
    assert "compared with: se_block-learning_rate0.1, se_block-learning_rate0.05." in text
    assert "does not include none; the base is the first of the same settings." in text
    assert "no other variant" not in text


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("predictions.npz", b"", "damaged"),
        ("summary.json", b"[]", "no images_per_second"),
        ("metrics.csv", b"epoch,val_accuracy\n", "does not hold the metrics"),
        ("metrics.csv", b"epoch,val_accuracy\n1,nan\n", "does not hold the metrics"),
        ("metrics.csv", b"epoch,val_accuracy\n1,2,3,4\n", "does not hold the metrics"),
        ("metrics.csv", b"epoch,loss\n1,2\n", "no val_accuracy"),
        ("metrics.csv", b"epoch,loss,accuracy,val_accuracy\n1,2,3,4\n", "each of 2 epochs"),
        ("metrics.csv", b"\xff\x00", "does not hold the metrics"),
    ],
)
def test_damaged_runs_are_named(tmp_path, name, content, reason):
    runs = fake_comparison(tmp_path)
    (runs[0].folder / name).write_bytes(content)
    with pytest.raises(UserError, match=reason):
        write_comparison(runs, DATA, COSTS, tmp_path)


def test_runs_on_other_test_images_are_refused(tmp_path):
    runs = fake_comparison(tmp_path)
    other = dataclasses.replace(DATA, y_test=1 - LABELS)
    with pytest.raises(UserError, match=r"other test images .*; remove its predictions\.npz, then"):
        write_comparison(runs, other, COSTS, tmp_path)
    other = dataclasses.replace(DATA, class_names=("a", "b", "c"))
    with pytest.raises(UserError, match="other test images"):
        write_comparison(runs, other, COSTS, tmp_path)


def test_picture_of_many_variants(tmp_path, monkeypatch):
    """More variants than colors, one seed, one epoch."""
    runs = fake_comparison(tmp_path, seeds=0)
    rows = []
    monkeypatch.setattr(comparison, "plot_comparison", lambda path, new, title: rows.extend(new))
    write_comparison(runs, DATA, COSTS, tmp_path)
    one = dataclasses.replace(rows[0], curves=[[0.5]])
    plot_comparison(tmp_path / "many.png", [one] * 9, "nine")
    assert min(matplotlib.image.imread(tmp_path / "many.png").shape[:2]) > 300
