"""The figure of a confusion matrix."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from .figures import Target, save_figure, wrapped_title

LONGEST_NAME = 20  # characters of a class name


def plot_confusion_matrix(
    path: Target,
    matrix: np.ndarray,
    class_names: Sequence[str],
    title: str,
    compact: bool = False,
) -> None:
    """Draws a confusion matrix; up to 20 classes have a number in every cell.

    Args:
        path: path of the PNG file, or a binary file.
        matrix: int array `(classes, classes)`, with a row per true class and a column per predicted
            class.
        class_names: sequence of strings.
        title: string above the figure.
        compact: bool, whether cells are small and the colors have no legend, for a narrow screen.
            Defaults to `False`.
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
    axes.set(title=wrapped_title(figure, title), xlabel="predicted", ylabel="true")
    if len(names) <= 20:
        axes.set_xticks(range(len(names)), names, rotation=45, ha="right")
        axes.set_yticks(range(len(names)), names)
        for (row, column), count in np.ndenumerate(matrix):
            color = "white" if shares[row, column] > 0.5 else "black"
            axes.text(column, row, count, ha="center", va="center", color=color, fontsize=8)
    save_figure(figure, path)
