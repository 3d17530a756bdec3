"""The picture of what the blocks of a network do to images in the course of a training."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure

from .figures import Target, save_figure

# of both kinds of panels: the label, and the scale of its colors. What is beyond a scale looks as
# its end does: gates above one are open, and a difference below 0.01 is hardly any
PANELS = {
    "spatial": ("mean spatial gate of the block", Normalize(0, 1), "max", [0, 0.5, 1]),
    "difference": (
        "difference of its outputs between images",
        LogNorm(0.01, 1),
        "both",
        [0.01, 0.1, 1],
    ),
}


def plot_blocks(path: Target, found: Mapping[str, Mapping[str, Any]]) -> None:
    """Draws the gates of all blocks after some steps, and how much their outputs differ.

    Args:
        path: path of the file, or a binary file.
        found: dictionary from titles of trainings to what `blocks_while_training` returns.
    """
    figure = Figure(figsize=(9, 0.8 + 1.8 * len(found)), dpi=120, layout="constrained")
    panels = figure.subplots(len(found), len(PANELS), squeeze=False)
    for column, (kind, (label, scale, extend, ticks)) in enumerate(PANELS.items()):
        for axes, (name, steps) in zip(panels[:, column], found.items(), strict=True):
            rows = np.array([measured[kind] for measured in steps.values()])
            values = np.maximum(rows, 1e-9)  # a logarithm of 0 would leave a hole
            image = axes.imshow(values, norm=scale, cmap="viridis", aspect="auto")
            axes.set_title(name, fontsize=10)
            axes.set_xticks(range(rows.shape[1]), range(1, rows.shape[1] + 1))
            axes.set_yticks(range(len(rows)), steps)
        panels[-1, column].set_xlabel("block")
        figure.colorbar(
            image,
            ax=panels[:, column],
            location="bottom",
            aspect=40,
            label=label,
            extend=extend,
            ticks=ticks,
            format="%g",
        )
    for axes in panels[:, 0]:
        axes.set_ylabel("step")
    save_figure(figure, path)
