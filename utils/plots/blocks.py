"""The picture of what the blocks of a network do to images in the course of a training."""

from collections.abc import Mapping
from typing import Any

from matplotlib.figure import Figure

from .figures import Target, save_figure

PANELS = {"spatial": "mean spatial gate", "difference": "difference between images"}


def plot_blocks(path: Target, found: Mapping[str, Mapping[str, Any]]) -> None:
    """Draws the gates of all blocks after some steps, and how much their outputs differ.

    Args:
        path: path of the file, or a binary file.
        found: dictionary from titles of trainings to what `blocks_while_training` returns.
    """
    figure = Figure(figsize=(9, 0.6 + 1.9 * len(found)), dpi=120, layout="constrained")
    panels = figure.subplots(len(found), len(PANELS), squeeze=False)
    for column, (kind, title) in enumerate(PANELS.items()):
        values = {name: _rows(steps, kind) for name, steps in found.items()}
        # gates above one are as open as those at one; the other scale is that of the largest value
        most = 1 if kind == "spatial" else max(max(map(max, rows)) for rows in values.values())
        for row, (name, rows) in enumerate(values.items()):
            axes = panels[row, column]
            image = axes.imshow(rows, vmin=0, vmax=most, cmap="viridis", aspect="auto")
            axes.set_title(f"{name}: {title}", fontsize=9)
            axes.set_xticks(range(len(rows[0])), range(1, len(rows[0]) + 1))
            axes.set_yticks(range(len(rows)), found[name])
        panels[-1, column].set_xlabel("block")
        extend = "max" if kind == "spatial" else "neither"
        figure.colorbar(image, ax=panels[:, column], location="bottom", extend=extend, aspect=40)
    for axes in panels[:, 0]:
        axes.set_ylabel("step")
    save_figure(figure, path)


def _rows(steps, kind):
    return [measured[kind] for measured in steps.values()]
