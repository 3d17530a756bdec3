"""The picture of a comparison: test accuracy against cost, and accuracy by epoch."""

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator

from ..plots.figures import COLORS, MARKERS, legend_label, save_figure, two_panels
from .table import Row

MANY_EPOCHS = 8


def plot_comparison(
    path: Path | BinaryIO, rows: Sequence[Row], title: str, stacked: bool = False
) -> None:
    """Draws what accuracy the variants of a network reach, at what cost and in how many epochs.

    Left: test accuracy, mean and standard deviation over the seeds, against training time or, if
    the rows have no speeds, against the number of parameters. Right: the accuracy of every epoch,
    mean and range over the seeds.

    Args:
        path: path of the file, which ends in .png, .pdf or .svg, or a binary file for a PNG.
        rows: list of `Row`s.
        title: string above the picture.
        stacked: bool, whether the right part goes below the left one, for a narrow screen. Defaults
            to `False`.
    """
    longest = max(len(row.name) for row in rows)
    columns = 1 if stacked else min(max(100 // (longest + 8), 1), 4)
    legend = 0.22 * -(-len(rows) // columns)
    figure, panels = two_panels(stacked, wide=(10, 4.4 + legend), narrow=(4.6, 8 + legend))
    figure.suptitle(title)
    cost_axes, curve_axes = panels
    _plot_costs(cost_axes, rows)
    _plot_curves(curve_axes, rows)
    for axes in (cost_axes, curve_axes):
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:g} %"))
        axes.grid(alpha=0.3)
    figure.legend(loc="outside lower center", ncols=columns, fontsize=min(10, 430 / longest))
    save_figure(figure, path)


def _style(number: int) -> dict[str, Any]:
    """Color and marker of a row; rows of the same color have different markers."""
    return {"color": COLORS[number % len(COLORS)], "marker": MARKERS[number % len(MARKERS)]}


def _plot_costs(axes: Axes, rows: Sequence[Row]) -> None:
    speeds = [row.speed for row in rows if row.speed is not None]
    if len(speeds) == len(rows):
        costs = [1 / speed for speed in speeds]
        bases = [row.name for row in rows if row.difference is None]
        of = f"relative to {bases[0]}" if len(bases) == 1 else "relative to the base"
        axes.set(xlabel=f"training time per image, {of}")
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g} x"))
    else:
        costs = [row.params for row in rows]
        axes.set(xlabel="parameters")
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    for number, (row, cost) in enumerate(zip(rows, costs, strict=True)):
        style = {**_style(number), "linestyle": "none", "capsize": 4}
        axes.errorbar(cost, row.mean, row.deviation, label=legend_label(row.name), **style)
    axes.set(ylabel="test accuracy (mean ± standard deviation)")
    axes.margins(x=0.15)
    axes.xaxis.set_major_locator(MaxNLocator(5))


def _plot_curves(axes: Axes, rows: Sequence[Row]) -> None:
    for number, row in enumerate(rows):
        _plot_band(axes, _as_array(row.curves), number / len(rows), **_style(number))
    curves = [curve for row in rows for curve in row.curves]
    epochs = max(map(len, curves))
    # need not show the first half of many epochs, whose rise would flatten the rest
    lowest = min(min(c[len(c) // 2 if epochs >= MANY_EPOCHS else 0 :]) for c in curves)
    highest = max(map(max, curves))
    margin = 0.05 * (highest - lowest) + 1e-3
    splits = dict.fromkeys("validation" if row.validated else "training" for row in rows)
    split = " or ".join(splits)
    axes.set(xlabel="epoch", ylabel=f"{split} accuracy (mean and range)")
    axes.set(ylim=(lowest - margin, highest + margin))
    # the epochs before any curve comes into view would leave a part of the picture empty
    seen = [n for curve in curves for n, accuracy in enumerate(curve) if accuracy >= lowest]
    axes.set_xlim(max(min(seen), 1) - 0.04 * epochs, epochs * 1.04)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))


def _as_array(curves: Sequence[Sequence[float]]) -> np.ndarray:
    """Curves as rows, with NaN after the end of those that are shorter, by `--patience`."""
    return np.array(list(itertools.zip_longest(*curves, fillvalue=np.nan))).T


def _plot_band(axes: Axes, curves: np.ndarray, phase: float, **style: Any) -> None:
    """Draws the mean of curves and the range around it; the phase shifts the markers, in [0, 1)."""
    count = curves.shape[1]
    epochs, every = np.arange(1, count + 1), max(1, count // 8)
    markers: dict[str, Any] = {"markevery": (int(phase * every), every), "markersize": 4}
    axes.plot(epochs, np.nanmean(curves, axis=0), linewidth=1.2, **markers, **style)
    low, high = np.nanmin(curves, axis=0), np.nanmax(curves, axis=0)
    axes.fill_between(epochs, low, high, color=style["color"], alpha=0.2, linewidth=0)
