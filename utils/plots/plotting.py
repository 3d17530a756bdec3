"""Pictures: the curves of a run, a confusion matrix, and a comparison."""

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, PercentFormatter

from ..system.files import replacing

matplotlib.rcParams["text.parse_math"] = False  # names of folders and classes may hold a $

TRAINING, VALIDATION = "#0072B2", "#D55E00"  # blue and vermilion: apart for colour-blind eyes too
# of M. Okabe and K. Ito, Color Universal Design, 2008, without the yellow: too pale for a line
COLOURS = ("#000000", "#E69F00", "#56B4E9", "#009E73", "#0072B2", "#D55E00", "#CC79A7")
MARKERS = "osD^vPX*"
LONGEST_NAME = 20  # characters of a class


def plot_curves(path, history, title, stacked=False):
    """Draws loss and accuracy by epoch, training and validation.

    Args:
        path: path of the PNG file, or a binary file.
        history: list of dictionaries, one per epoch, with the columns of `metrics.csv`.
        title: string above the picture.
        stacked: bool, one above the other, for a narrow screen.
    """
    figure, panels = _two_panels(stacked, wide=(9, 3.8), narrow=(4.6, 5.4))
    figure.suptitle(title)
    epochs = [row["epoch"] for row in history]
    for axes, key in zip(panels, ("loss", "accuracy"), strict=True):
        lines = ((key, "training", TRAINING, "o--"), (f"val_{key}", "validation", VALIDATION, "o-"))
        for column, label, colour, style in lines:
            if column in history[-1]:
                values = [row[column] for row in history]
                axes.plot(epochs, values, style, color=colour, label=label, markersize=3)
        axes.set(xlabel="epoch", ylabel=key)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(alpha=0.3)
        axes.legend()
    save_figure(figure, path)


def plot_confusion_matrix(path, matrix, class_names, title, compact=False):
    """Draws a confusion matrix; up to 20 classes with a number in every cell.

    Args:
        path: path of the PNG file, or a binary file.
        matrix: int array `(classes, classes)`, rows the true class, columns the predicted one.
        class_names: sequence of strings.
        title: string above the picture.
        compact: bool, small cells and no legend of the colours, for a narrow screen.
    """
    names = [
        name if len(name) <= LONGEST_NAME else f"{name[:LONGEST_NAME]}…" for name in class_names
    ]
    cells = min(len(names), 20)
    labels = 0.08 * max(map(len, names)) if len(names) <= 20 else 0
    size = (0.5 * cells + 3.5, 0.5 * cells + 2.5)
    if compact:
        size = (max(0.36 * cells + labels + 0.5, 3), max(0.36 * cells + 0.7 * labels + 0.8, 3))
    figure = Figure(figsize=size, dpi=120, layout="constrained")
    axes = figure.subplots()
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    if not compact:
        figure.colorbar(image, ax=axes, label="share of the true class", shrink=0.8)
    axes.set(title=title, xlabel="predicted", ylabel="true")
    if len(names) <= 20:
        axes.set_xticks(range(len(names)), names, rotation=45, ha="right")
        axes.set_yticks(range(len(names)), names)
        for (row, column), count in np.ndenumerate(matrix):
            colour = "white" if shares[row, column] > 0.5 else "black"
            axes.text(column, row, count, ha="center", va="center", color=colour, fontsize=8)
    save_figure(figure, path)


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
    figure, panels = _two_panels(stacked, wide=(10, 4.4 + legend), narrow=(4.6, 8 + legend))
    figure.suptitle(title)
    cost_axes, curve_axes = panels
    for number, row in enumerate(rows):
        # another marker for the colours' second round
        colour, marker = COLOURS[number % len(COLOURS)], MARKERS[number % len(MARKERS)]
        cost_axes.errorbar(
            row.params if _untimed(rows) else 1 / row.speed,
            row.mean,
            row.deviation,
            fmt=marker,
            color=colour,
            capsize=4,
            label=row.name,
        )
        _plot_band(
            curve_axes, np.array(row.curves), number / len(rows), color=colour, marker=marker
        )
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


def _two_panels(stacked, wide, narrow):
    """A figure and its two axes, side by side or stacked, of that size in inches."""
    size, shape = (narrow, (2, 1)) if stacked else (wide, (1, 2))
    figure = Figure(figsize=size, dpi=120, layout="constrained")
    return figure, figure.subplots(*shape)


def save_figure(figure, path):
    """Writes a figure as a PNG file: to a path, as a whole or not at all, or to an open file."""
    if hasattr(path, "write"):
        figure.savefig(path, format="png")
        return
    with replacing(path) as temporary:
        figure.savefig(temporary)
