"""The picture of a comparison: where its points are."""

import dataclasses

import matplotlib.image
import numpy as np
import pytest

from utils.compare import plot
from utils.compare.paired_statistics import paired_difference
from utils.compare.plot import plot_comparison
from utils.compare.table import Row

pytestmark = pytest.mark.once

NONE = Row(
    name="none",
    params=1000,
    multiply_adds=2000,
    accuracies=[0.6, 0.8],
    mean=0.7,
    deviation=0.1,
    curves=[[0.2, 0.5, 0.6], [0.4, 0.7, 0.8]],
    validated=True,
    speed=1.0,
)
GAIN = paired_difference([0.65, 0.85], NONE.accuracies)
SE = dataclasses.replace(NONE, name="se_block", params=1100, mean=0.75, speed=0.8, difference=GAIN)


@pytest.fixture
def figures(monkeypatch):
    saved = []
    monkeypatch.setattr(plot, "save_figure", lambda figure, path: saved.append(figure))
    return saved


def points(axes):
    """Of each row: cost, mean, and the ends of the error bar."""
    found = []
    for container in axes.containers:
        line, _, (bar,) = container
        (cost,), (mean,) = line.get_data()
        (_, low), (_, high) = bar.get_segments()[0]
        found.append((container.get_label(), cost, mean, low, high))
    return found


def test_accuracy_against_training_time(figures):
    plot_comparison("unused.png", [NONE, SE], "title")
    cost_axes, curve_axes = figures[0].axes
    assert points(cost_axes) == [
        ("none", 1, 0.7, pytest.approx(0.6), pytest.approx(0.8)),
        ("se_block", 1.25, 0.75, pytest.approx(0.65), pytest.approx(0.85)),
    ]
    assert cost_axes.get_xlabel() == "training time per image, relative to none"
    line = curve_axes.lines[0]
    np.testing.assert_array_equal(line.get_xdata(), [1, 2, 3])
    np.testing.assert_allclose(line.get_ydata(), [0.3, 0.6, 0.7])
    assert curve_axes.get_ylabel() == "validation accuracy (mean and range)"
    assert curve_axes.get_ylim()[0] < 0.2  # of few epochs, all are in sight
    (band,) = curve_axes.collections[0].get_paths()
    assert band.get_extents().y0 == pytest.approx(0.2)
    assert band.get_extents().y1 == pytest.approx(0.8)


def test_without_speeds_accuracy_against_parameters(figures):
    rows = [dataclasses.replace(row, speed=None, validated=False) for row in (NONE, SE)]
    plot_comparison("unused.png", rows, "title")
    cost_axes, curve_axes = figures[0].axes
    assert [cost for _, cost, *_ in points(cost_axes)] == [1000, 1100]
    assert cost_axes.get_xlabel() == "parameters"
    assert curve_axes.get_ylabel() == "training accuracy (mean and range)"


def test_curves_of_two_kinds_say_so(figures):
    plot_comparison("unused.png", [NONE, dataclasses.replace(SE, validated=False)], "title")
    label = figures[0].axes[1].get_ylabel()
    assert label == "validation or training accuracy (mean and range)"


def test_the_rise_takes_no_room(figures):
    curve = [*np.linspace(0.1, 0.6, 10), *np.linspace(0.7, 0.8, 10)]
    plot_comparison("unused.png", [dataclasses.replace(NONE, curves=[curve])], "title")
    left, right = figures[0].axes[1].get_xlim()
    assert 9 < left < 10  # the last epoch before the curve comes into view
    assert right > 20


def test_more_variants_than_colors(figures):
    rows = [dataclasses.replace(NONE, name=str(n)) for n in range(20)]
    plot_comparison("unused.png", rows, "title")
    lines = figures[0].axes[1].lines
    assert len({(line.get_color(), line.get_marker()) for line in lines}) == 20


def test_one_seed_and_one_epoch(tmp_path):
    one = dataclasses.replace(NONE, accuracies=[0.7], deviation=None, curves=[[0.5]])
    plot_comparison(tmp_path / "one.png", [one], "title")
    assert min(matplotlib.image.imread(tmp_path / "one.png").shape[:2]) > 300


def test_a_name_that_begins_with_an_underscore_is_in_the_legend(figures):
    """Matplotlib would leave it out."""
    plot_comparison("unused.png", [NONE, dataclasses.replace(SE, name="_se")], "title")
    (legend,) = figures[0].legends
    assert [text.get_text().strip() for text in legend.get_texts()] == ["none", "_se"]
