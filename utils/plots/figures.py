"""What every figure shares: its colors, its panels, and how it is saved."""

import matplotlib
from matplotlib.figure import Figure

from ..system.files import replacing

matplotlib.rcParams["text.parse_math"] = False  # names of folders and classes may hold a $

TRAINING, VALIDATION = (
    "#0072B2",
    "#D55E00",
)  # blue and vermilion: color-blind people tell them apart
# of M. Okabe and K. Ito, Color Universal Design, 2008, without the yellow: too pale for a line
COLORS = ("#000000", "#E69F00", "#56B4E9", "#009E73", "#0072B2", "#D55E00", "#CC79A7")
MARKERS = "osD^vPX*"


def two_panels(stacked, wide, narrow):
    """Returns a figure and its two axes, side by side or stacked, of a size in inches."""
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
