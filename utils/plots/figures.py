"""What all figures share: colors, panels and how they are saved."""

import os
import textwrap
from typing import IO, Any

import matplotlib
from matplotlib.figure import Figure
from matplotlib.text import Text

from ..system.files import replacing
from ..system.terminal import printable

matplotlib.rcParams["text.parse_math"] = False  # names of folders and classes may contain a $

Target = str | os.PathLike[str] | IO[bytes]  # a path or an open binary file

# blue and vermilion, which color-blind people can tell apart
TRAINING, VALIDATION = "#0072B2", "#D55E00"
# of M. Okabe and K. Ito, Color Universal Design, 2008, without yellow, which is too pale for a line
COLORS = ("#000000", "#E69F00", "#56B4E9", "#009E73", "#0072B2", "#D55E00", "#CC79A7")
MARKERS = "osD^vPX*"
TITLE_CHARACTERS = 10  # of a title that fit on an inch


def two_panels(
    stacked: bool, wide: tuple[float, float], narrow: tuple[float, float]
) -> tuple[Figure, Any]:
    """Makes a figure with two panels.

    Args:
        stacked: bool, whether one panel is below the other instead of beside it.
        wide, narrow: pairs of floats, width and height of the figure in inches: side by side, and
            stacked.

    Returns:
        A Matplotlib figure and an array of its two axes.
    """
    size, shape = (narrow, (2, 1)) if stacked else (wide, (1, 2))
    figure = Figure(figsize=size, dpi=120, layout="constrained")
    return figure, figure.subplots(*shape)


def wrapped(text: str, most: int) -> str:
    """Breaks a text into lines of at most `most` characters: the name of a run can be long."""
    return "\n".join(textwrap.wrap(text, most))


def legend_label(name: str) -> str:
    """Returns a name as a legend shows it: Matplotlib leaves out what begins with an underscore."""
    return f" {name}" if name.startswith("_") else name


def wrapped_title(figure: Figure, title: str) -> str:
    """Breaks a title into lines that fit on a figure, and makes the figure higher by the others."""
    width, height = figure.get_size_inches()
    lines = wrapped(title, int(TITLE_CHARACTERS * width))
    figure.set_size_inches(width, height + 0.2 * lines.count("\n"))
    return lines


def save_figure(figure: Figure, path: Target) -> None:
    """Writes a figure as a PNG, PDF or SVG file.

    Args:
        figure: a Matplotlib figure.
        path: path of the file, which ends in .png, .pdf or .svg and is written whole or not at all;
            or an open binary file, for a PNG.
    """
    for text in figure.findobj(Text):  # no font has what a name of a file can have
        text.set_text(printable(text.get_text()))
    if not isinstance(path, (str, os.PathLike)):
        figure.savefig(path, format="png")
        return
    with replacing(path) as temporary:
        figure.savefig(temporary)
