"""A comparison as a picture: accuracy against cost, and accuracy by epoch."""

import numpy as np
from matplotlib.ticker import FuncFormatter, MaxNLocator, PercentFormatter

from ..plots.figures import COLORS, MARKERS, save_figure, two_panels


def plot_comparison(path, rows, title, stacked=False):
    """Draws what variants of a network reach at what cost, and how they come to it.

    Left: test accuracy against training time where the rows have it, and otherwise against the
    number of parameters; mean and standard deviation over the seeds. Right: the accuracy of every
    epoch, mean and range over the seeds.

    Args:
        path: path of the PNG file, or a binary file.
        rows: list of `utils.compare.table.Row`s.
        title: string above the picture.
        stacked: bool, one above the other, for a narrow screen.
    """
    longest = max(len(row.name) for row in rows)
    columns = 1 if stacked else min(max(100 // (longest + 8), 1), 4)
    legend = 0.22 * -(-len(rows) // columns)
    figure, panels = two_panels(stacked, wide=(10, 4.4 + legend), narrow=(4.6, 8 + legend))
    figure.suptitle(title)
    cost_axes, curve_axes = panels
    for number, row in enumerate(rows):
        # another marker for the colors' second round
        color, marker = COLORS[number % len(COLORS)], MARKERS[number % len(MARKERS)]
        cost_axes.errorbar(
            row.params if _untimed(rows) else 1 / row.speed,
            row.mean,
            row.deviation,
            fmt=marker,
            color=color,
            capsize=4,
            label=row.name,
        )
        _plot_band(curve_axes, np.array(row.curves), number / len(rows), color=color, marker=marker)
    _label_cost(cost_axes, _untimed(rows))
    # what the first quarter of the epochs climbs would hide what comes after
    lowest = min(min(curve[len(curve) // 4 :]) for row in rows for curve in row.curves)
    highest = max(max(curve) for row in rows for curve in row.curves)
    margin = 0.05 * (highest - lowest) + 1e-3
    split = "validation" if rows[0].validated else "training"
    curve_axes.set(xlabel="epoch", ylabel=f"{split} accuracy (mean, range)")
    curve_axes.set(ylim=(lowest - margin, highest + margin))
    curve_axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    for axes in (cost_axes, curve_axes):
        axes.yaxis.set_major_formatter(PercentFormatter(1))
        axes.grid(alpha=0.3)
    figure.legend(loc="outside lower center", ncols=columns, fontsize=min(10, 430 / longest))
    save_figure(figure, path)


def _plot_band(axes, curves, phase, **style):
    """The mean of curves and the range about it; at another phase its markers lie elsewhere."""
    count = curves.shape[1]
    epochs, every = np.arange(1, count + 1), max(1, count // 8)
    markers = {"markevery": (int(phase * every), every), "markersize": 4}
    axes.plot(epochs, curves.mean(axis=0), linewidth=1.2, **markers, **style)
    low, high = curves.min(axis=0), curves.max(axis=0)
    axes.fill_between(epochs, low, high, color=style["color"], alpha=0.2, linewidth=0)


def _untimed(rows):
    return any(row.speed is None for row in rows)


def _label_cost(axes, untimed):
    axes.set(ylabel="test accuracy (mean ± standard deviation)")
    axes.margins(x=0.15)
    axes.xaxis.set_major_locator(MaxNLocator(5))
    if untimed:
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
        axes.set(xlabel="parameters")
    else:
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g} x"))
        axes.set(xlabel="training time per image, as a multiple of the base's")
