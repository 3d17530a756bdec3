"""The picture of what attention modules cost: time against parameters."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from models.attention.catalog import CATALOG
from models.attention.specification import AttentionSpec

from .figures import COLORS, MARKERS, Target, save_figure

ROWS = 30  # of a column of the key
LINEAR = 1e-4  # below, the axes are not logarithmic, as many modules add nothing
TOUCHING = 11  # pixels, between points whose labels would lie on each other
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
    figure = Figure(figsize=(8 + 2.3 * columns, 7), dpi=120, layout="constrained")
    axes, *keys = figure.subplots(1, 1 + columns, width_ratios=[8, *[2] * columns])
    timed = all(cost.training_step is not None for cost in costs.values())
    points = {name: _point(costs[name], costs[base], timed) for name in names}
    for number, family in enumerate(sorted({_family(name) for name in names})):
        xs, ys = zip(*(points[name] for name in names if _family(name) == family), strict=True)
        style: dict[str, Any] = {"color": COLORS[number], "marker": MARKERS[number]}
        axes.scatter(xs, ys, s=60, alpha=0.7, label=family.replace("_", "-"), **style)
    _label(axes, list(points.values()), timed, base)
    _number(axes, list(points.values()))
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
    return added, (cost.multiply_adds - base.multiply_adds) / base.multiply_adds


def _number(axes: Axes, points: Sequence[tuple[float, float]]) -> None:
    """Numbers the points; those that lie on each other share a label."""
    places = axes.transData.transform(points)
    labels: list[tuple[Any, list[int]]] = []
    for number, place in enumerate(places, start=1):
        near = (numbers for at, numbers in labels if max(abs(place - at)) < TOUCHING)
        numbers = next(near, None)
        if numbers is None:
            labels.append((place, [number]))
        else:
            numbers.append(number)
    for _, numbers in labels:
        top_down = sorted(numbers, key=lambda number: -points[number - 1][1])
        text = "\n".join(map(str, top_down))
        point = points[numbers[0] - 1]
        axes.annotate(text, point, (5, 3), textcoords="offset points", fontsize=8)


def _limits(added: Sequence[float]) -> tuple[float, float]:
    """From a little below none, which is at zero, to beyond the most; with a tick at least."""
    least = min(added)
    return (2 * least if least < 0 else -LINEAR / 3), max(2 * max(added), 10 * LINEAR)


def _label(axes: Axes, points: Sequence[tuple[float, float]], timed: bool, base: str) -> None:
    xs, ys = zip(*points, strict=True)
    of = f"relative to {base}"
    axes.set(
        xlabel=f"parameters added, {of}",
        ylabel=f"{'time of a training step' if timed else 'multiply-adds added'}, {of}",
        title="Costs of attention modules",
    )
    axes.set_xscale("symlog", linthresh=LINEAR)
    axes.set_xlim(*_limits(xs))
    percent = FuncFormatter(lambda value, _: f"{100 * value:g} %")
    axes.xaxis.set_major_formatter(percent)
    if timed:
        axes.set_yscale("log")
        for axis_format in (axes.yaxis.set_major_formatter, axes.yaxis.set_minor_formatter):
            axis_format(FuncFormatter(lambda value, _: f"{value:g} x"))
    else:
        axes.set_yscale("symlog", linthresh=LINEAR)
        axes.set_ylim(*_limits(ys))
        axes.yaxis.set_major_formatter(percent)
    axes.grid(alpha=0.3, which="both")
    figure = axes.get_figure()
    if figure is not None:
        figure.legend(loc="outside lower center", ncols=6, fontsize=8)
