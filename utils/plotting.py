"""Pictures: the curves of a run, and a confusion matrix."""

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from .files import replacing

TRAINING, VALIDATION = "#0072B2", "#D55E00"  # blue and vermilion: apart for colour-blind eyes too


def plot_curves(path, history, title):
    """Draws loss and accuracy by epoch, training and validation.

    Args:
        path: path of the PNG file.
        history: list of dictionaries, one per epoch, with the columns of `metrics.csv`.
        title: string above the picture.
    """
    figure = Figure(figsize=(9, 3.8), dpi=120, layout="constrained")
    figure.suptitle(title)
    epochs = [row["epoch"] for row in history]
    for axes, key in zip(figure.subplots(1, 2), ("loss", "accuracy"), strict=True):
        lines = ((key, "training", TRAINING, "o--"), (f"val_{key}", "validation", VALIDATION, "o-"))
        for column, label, colour, style in lines:
            if column in history[-1]:
                values = [row[column] for row in history]
                axes.plot(epochs, values, style, color=colour, label=label, markersize=3)
        axes.set(xlabel="epoch", ylabel=key)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(alpha=0.3)
        axes.legend()
    _save(figure, path)


def plot_confusion_matrix(path, matrix, class_names, title):
    """Draws a confusion matrix; up to 20 classes with a number in every cell.

    Args:
        path: path of the PNG file.
        matrix: int array `(classes, classes)`, rows the true class, columns the predicted one.
        class_names: sequence of strings.
        title: string above the picture.
    """
    side = 2.5 + 0.5 * min(len(class_names), 20)
    figure = Figure(figsize=(side + 1, side), dpi=120, layout="constrained")
    axes = figure.subplots()
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    figure.colorbar(image, ax=axes, label="share of the true class", shrink=0.8)
    axes.set(title=title, xlabel="predicted", ylabel="true")
    if len(class_names) <= 20:
        ticks = range(len(class_names))
        axes.set_xticks(ticks, class_names, rotation=45, ha="right")
        axes.set_yticks(ticks, class_names)
        for (row, column), count in np.ndenumerate(matrix):
            colour = "white" if shares[row, column] > 0.5 else "black"
            axes.text(column, row, count, ha="center", va="center", color=colour, fontsize=8)
    _save(figure, path)


def _save(figure, path):
    with replacing(path) as temporary:
        figure.savefig(temporary)
