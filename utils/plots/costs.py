"""The picture of what attention modules cost: time against parameters."""

import math
from collections.abc import Mapping
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from models.attention.catalog import CATALOG
from models.attention.specification import AttentionSpec

from .figures import COLORS, MARKERS, Target, save_figure

ROWS = 24  # of a column of the key
OTHERS = "other"  # modules that are not in the catalog


def plot_costs(path: Target, costs: Mapping[str, Any]) -> None:
    """Draws the costs of a network with each of several modules, which are numbered in a key.

    Args:
        path: path of the file, or a binary file.
        costs: dictionary from the names of the modules, `"none"` first, to `Cost`s. Without times,
            multiply-adds are drawn in their place.
    """
    base, *names = costs
    columns = math.ceil(len(names) / ROWS)
    figure = Figure(figsize=(6.4 + 2.3 * columns, 5.6), dpi=120, layout="constrained")
    axes, *keys = figure.subplots(1, 1 + columns, width_ratios=[5, *[1.8] * columns])
    timed = all(cost.training_step is not None for cost in costs.values())
    points = {name: _point(costs[name], costs[base], timed) for name in names}
    for number, family in enumerate(sorted({_family(name) for name in names})):
        xs, ys = zip(*(points[name] for name in names if _family(name) == family), strict=True)
        style: dict[str, Any] = {"color": COLORS[number], "marker": MARKERS[number]}
        axes.scatter(xs, ys, s=80, alpha=0.7, label=family.replace("_", "-"), **style)
    for number, point in enumerate(points.values(), start=1):
        axes.annotate(str(number), point, (5, 4), textcoords="offset points", fontsize=8)
    _label(axes, timed, base)
    lines = [f"{number:>2} {name}" for number, name in enumerate(names, start=1)]
    for number, key in enumerate(keys):
        key.axis("off")
        text = "\n".join(lines[number * ROWS : (number + 1) * ROWS])
        key.text(0, 1, text, fontsize=8, va="top", family="monospace", linespacing=1.4)
    save_figure(figure, path)


def _family(name):
    entry = CATALOG.get(AttentionSpec.parse(name).name)
    return entry.family if entry else OTHERS


def _point(cost, base, timed):
    added = (cost.params - base.params) / base.params
    if timed:
        return added, cost.training_step
    return added, cost.multiply_adds / base.multiply_adds


def _label(axes: Axes, timed: bool, base: str) -> None:
    of = f"relative to {base}"
    axes.set(
        xlabel=f"parameters added, {of}",
        ylabel=f"{'time of a training step' if timed else 'multiply-adds'}, {of}",
        title="Costs of attention modules",
    )
    axes.set_xscale("symlog", linthresh=1e-3)
    low, high = axes.get_xlim()
    if low > 0:  # a few modules alone may have no tick among them
        axes.set_xlim(0, 2 * high)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:g} %"))
    axes.set_yscale("log")
    for axis_format in (axes.yaxis.set_major_formatter, axes.yaxis.set_minor_formatter):
        axis_format(FuncFormatter(lambda value, _: f"{value:g} x"))
    axes.grid(alpha=0.3, which="both")
    figure = axes.get_figure()
    if figure is not None:
        figure.legend(loc="outside lower center", ncols=6, fontsize=8)
