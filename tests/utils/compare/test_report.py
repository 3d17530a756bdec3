"""The page of a comparison: complete in one file, with any names."""

import base64
import csv
import dataclasses
import io
from html.parser import HTMLParser

import matplotlib.image
import numpy as np
import pytest

from tests.fake_comparison import COSTS, DATA, fake, fake_comparison, settings_of
from utils.compare.compare import write_comparison
from utils.compare.planning import MOST_VARIANTS, plan_runs
from utils.compare.report import MAX_PICTURE, shared_settings
from utils.compare.table import HEAD
from utils.plots.curves import plot_curves
from utils.runs.predictions import Predictions, write_predictions

pytestmark = pytest.mark.once

HOSTILE = "<script>alert('x')</script>\"&amp;$\\frac$"
VOID = {"meta", "img", "source", "wbr"}


class Page(HTMLParser):
    """The text of a page, the cells of its tables, and its tags, all of which must be closed."""

    def __init__(self, path):
        super().__init__()
        self.content = path.read_text("utf-8")
        self.open, self.tags, self.pictures, self.cells, self.text = [], [], [], [], ""
        self.feed(self.content)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.tags.append((tag, attributes))
        if tag not in VOID:
            self.open.append(tag)
        if tag in ("td", "th"):
            self.cells.append("")
        if tag in ("img", "source"):
            self.pictures.append(attributes.get("src") or attributes["srcset"])

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data
        if "td" in self.open or "th" in self.open:
            self.cells[-1] += data


def page_of(folder, data=DATA, explained=False, **options):
    runs = fake_comparison(folder, **options)
    write_comparison(runs, data, COSTS, folder, explained=explained)
    return Page(folder / "report.html")


def shape_of(uri):
    kind, _, content = uri.partition(",")
    assert kind == "data:image/png;base64"
    return matplotlib.image.imread(io.BytesIO(base64.b64decode(content, validate=True))).shape


def test_the_file_is_complete(tmp_path):
    page = page_of(tmp_path)
    assert len(page.pictures) == 2 + 2 * 2  # the comparison twice, each variant's curves and matrix
    assert all(min(shape_of(picture)[:2]) > 200 for picture in page.pictures)
    assert "http:" not in page.content
    assert "https:" not in page.content
    used = {tag for tag, _ in page.tags}
    assert not used & {"script", "link", "iframe", "object", "embed", "base", "form"}
    for tag, attributes in page.tags:
        assert not [name for name in attributes if name.startswith("on")]
        assert tag in ("img", "source") or not {"src", "srcset"} & attributes.keys()
        assert attributes.get("href", "#").startswith("#")
        assert tag != "img" or len(attributes["alt"]) > 20
    assert "url(" not in page.content
    assert ("html", {"lang": "en"}) in page.tags
    assert ("meta", {"name": "viewport", "content": "width=device-width, initial-scale=1"}) in (
        page.tags
    )
    assert not [path for path in tmp_path.iterdir() if "partial" in path.name]


def test_text_of_the_page(tmp_path):
    page = page_of(tmp_path)
    markdown = (tmp_path / "comparison.md").read_text("utf-8")
    rows = [line for line in markdown.splitlines() if line.startswith("| ")]
    cells = [cell.strip() for row in (rows[0], *rows[2:]) for cell in row.split("|")[1:-1]]
    assert page.cells[: len(cells)] == cells
    with open(tmp_path / "comparison.csv", newline="") as file:
        se = list(csv.DictReader(file))[1]
    se_cells = dict(zip(HEAD, page.cells[2 * len(HEAD) : 3 * len(HEAD)], strict=True))
    assert se_cells["variant"] == se["variant"] == "se_block"
    assert se_cells["parameters"].replace(",", "") == se["params"]
    percent = [100 * float(se[name]) for name in ("test_accuracy", "test_accuracy_deviation")]
    assert se_cells["test accuracy"] == "{:.2f} % ± {:.2f}".format(*percent)
    for name in ("difference", "difference_low", "difference_high"):
        assert f"{100 * float(se[name]):+.2f}" in se_cells["difference [95 %]"]
    assert (se["base"], se["pairs"]) == ("none", se_cells["seeds"])
    assert se_cells["gained, lost"] == f"{se['mcnemar_gained']}, {se['mcnemar_lost']}"
    for line in markdown.splitlines():
        if line.startswith("- "):
            assert line[2:] in page.text
    assert page.cells[page.cells.index("epochs") + 1] == "2"
    # se_block gets images 0, 1; 0, 9; and 0, 1, 2 wrong; even images are of class a, odd ones of b
    assert "a classified as b: 4 of 15 (26.7%)" in page.text
    assert "b classified as a: 3 of 15 (20.0%)" in page.text


def test_a_page_of_many_variants_is_small(tmp_path):
    """A fifth of the most variants, with ten classes, in a fifth of 5 MB."""
    ratios = list(range(1, MOST_VARIANTS // 5 + 1))
    settings = settings_of(attention="cbam_block", ratio=ratios, seeds=0)
    labels = np.arange(1000) % 10
    names = tuple(f"class number {number}" for number in range(10))
    data = dataclasses.replace(DATA, y_test=labels, class_names=names)
    rng, costs = np.random.default_rng(0), {}
    for run in plan_runs(settings, data, tmp_path):
        fake(run)
        predicted = np.where(rng.random(1000) < 0.7, labels, rng.integers(0, 10, 1000))
        write_predictions(run.folder, Predictions(np.eye(10, dtype="float32")[predicted], labels))
        costs[run.variant] = (1000, 1000)
    write_comparison(plan_runs(settings, data, tmp_path), data, costs, tmp_path)
    assert (tmp_path / "report.html").stat().st_size < 5e6 / 5


def test_missing_runs_are_named(tmp_path):
    runs = fake_comparison(tmp_path)
    (runs[3].folder / "summary.json").unlink()
    write_comparison(runs, DATA, COSTS, tmp_path)
    page = Page(tmp_path / "report.html")
    assert "Missing runs: se_block-seed1." in page.text
    assert "A difference is over the seeds that both variants have" in page.text
    assert "mean of 2 seed(s)" in page.content


def test_hostile_names_are_escaped(tmp_path):
    """The names of the folder and of the classes."""
    folder = tmp_path / HOSTILE.replace("/", "")
    data = dataclasses.replace(DATA, class_names=(HOSTILE, "b"))
    page = page_of(folder, data)
    assert "script" not in {tag for tag, _ in page.tags}
    assert folder.name in page.text
    assert f"{HOSTILE} classified as b" in page.text
    assert all(min(shape_of(picture)[:2]) > 200 for picture in page.pictures)


@pytest.mark.parametrize(
    ("content", "included"),
    [(None, True), (b"<svg onload=alert(1)>", False), (b"x" * (MAX_PICTURE + 1), False)],
)
def test_attention_pictures(tmp_path, content, included):
    path = tmp_path / "explanation.png"
    if content is None:
        plot_curves(path, [{"epoch": 1, "loss": 1, "accuracy": 0.5}], "")
        content = path.read_bytes()
    path.write_bytes(content)
    page = page_of(tmp_path, explained=True)
    assert "What the networks look at" in page.text
    assert (base64.b64encode(content).decode() in page.content) == included
    assert ("explanation.png is left out" in page.text) != included


def test_a_picture_of_an_earlier_command_is_left_out(tmp_path):
    (tmp_path / "explanation.png").write_bytes(b"\x89PNG\r\n\x1a\n of other variants")
    assert "What the networks look at" not in page_of(tmp_path).text


def test_settings_that_differ_by_default_are_not_shared(tmp_path):
    runs = plan_runs(settings_of(optimizer=("sgd", "adam")), DATA, tmp_path)
    assert len({run.settings.learning_rate for run in runs}) == 2
    shared = shared_settings(runs)
    assert not {"optimizer", "learning_rate"} & set(shared)
    assert shared["depth"] == "8"


def test_without_errors_and_without_attention_pictures(tmp_path, monkeypatch):
    monkeypatch.setattr("tests.fake_comparison.WRONG", {"none": {0: []}, "se_block": {0: []}})
    page = page_of(tmp_path, seeds=0)
    assert page.text.count("Every test image is classified correctly.") == 2
    assert "What the networks look at" not in page.text
