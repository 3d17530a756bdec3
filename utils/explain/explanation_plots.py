"""Pictures of explanations: maps drawn over images, and the curves of faithfulness."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from ..plots.figures import COLORS, legend_label, save_figure, wrapped
from .explanations import Explanation
from .faithfulness import Faithfulness, area_under_curves
from .selection import SelectedImage

# a row of the grid: its label, and a function that draws the cell of one image
Row = tuple[str, Callable[[Axes, int], None]]

CELL = 1.25  # side of a cell, in inches
BAR = 0.8  # width of the bar of colors, in inches
LABELS = 2.0  # width of the labels beside the rows, in inches
MAX_NAME = 16  # characters of an image's name
# characters of a network's name in a line: beside a row, and in the legend of curves
LABEL_LINE, LEGEND_LINE = 28, 60
# both change evenly in lightness, so that they can be read without color vision
CAM_COLORS, MAP_COLORS = "inferno", "viridis"


def plot_explanations(
    path: Path,
    images: Sequence[SelectedImage],
    explanations: Sequence[Explanation],
    class_names: Sequence[str],
) -> None:
    """Draws a grid with a column per image, and for each network the rows of its maps.

    Args:
        path: path of the PNG file.
        images: list of `SelectedImage`s.
        explanations: list of `Explanation`s.
        class_names: sequence of strings.
    """
    spatial = [maps.spatial for each in explanations for maps in each.attention]
    scale = _common_scale([maps for maps in spatial if maps is not None])
    rows: list[Row] = [("image", lambda axes, n: _draw_image(axes, images[n], class_names))]
    for explanation in explanations:
        rows += _network_rows(explanation, images, class_names, scale)
    bar = BAR if scale else 0
    size = (LABELS + CELL * len(images) + bar, 1.25 * CELL * len(rows))
    figure = Figure(figsize=size, dpi=120, layout="compressed")  # cells are square
    grid = figure.subplots(len(rows), len(images), squeeze=False)
    for cells, (label, draw) in zip(grid, rows, strict=True):
        cells[0].set_ylabel(label, rotation=0, ha="right", va="center", fontsize=8, labelpad=8)
        for number, axes in enumerate(cells):
            axes.set(xticks=[], yticks=[])
            draw(axes, number)
    if scale:
        colors = ScalarMappable(scale, MAP_COLORS)
        figure.colorbar(colors, ax=grid, label="spatial attention", shrink=0.4, aspect=25)
    save_figure(figure, path)


def _common_scale(maps: Sequence[np.ndarray]) -> Normalize | None:
    """The scale of colors that all spatial maps share, or `None` if there are none."""
    if not maps:
        return None
    low, high = (
        float(pick(each(m) for m in maps)) for pick, each in ((min, np.min), (max, np.max))
    )
    return Normalize(low, max(high, low + 1e-6))


def _network_rows(
    explanation: Explanation,
    images: Sequence[SelectedImage],
    class_names: Sequence[str],
    scale: Normalize | None,
) -> list[Row]:
    name = wrapped(explanation.name, LABEL_LINE)
    rows: list[Row] = []
    labels = [image.label for image in images]
    if any(label is not None for label in labels):
        cams = explanation.true_class_cams
        rows.append(
            _cam_row(
                f"{name}\nGrad-CAM\ntrue class", explanation, cams, labels, images, class_names
            )
        )
    if labels != explanation.predicted.tolist():  # else the row above says it all
        rows.append(
            _cam_row(
                f"{name}\nGrad-CAM\npredicted class",
                explanation,
                explanation.predicted_class_cams,
                explanation.predicted,
                images,
                class_names,
            )
        )
    spatial = [maps.spatial for maps in explanation.attention if maps.spatial is not None]
    rows += [_spatial_row(name, maps, scale) for maps in spatial]
    gates = [maps.channel for maps in explanation.attention if maps.channel is not None]
    if gates:
        rows.append(_channel_row(name, "sorted gates", gates))
    for branch in dict.fromkeys(b for maps in explanation.attention for b in maps.branches):
        shares = [m.branches[branch] for m in explanation.attention if branch in m.branches]
        rows.append(_channel_row(name, f"sorted shares of {branch}", shares))
    return rows


def _cam_row(
    label: str,
    explanation: Explanation,
    cams: Sequence[np.ndarray | None] | np.ndarray,
    classes: Sequence[int | None] | np.ndarray,
    images: Sequence[SelectedImage],
    class_names: Sequence[str],
) -> Row:
    def draw(axes: Axes, n: int) -> None:
        cam, number = cams[n], classes[n]
        if cam is None or number is None:
            axes.axis("off")
            return
        draw_cam(axes, images[n].pixels, cam)
        probability = explanation.probabilities[n, number]
        axes.set_title(f"{class_names[number]}: {probability:.2f}", fontsize=8)

    return label, draw


def _spatial_row(name: str, maps: np.ndarray, scale: Normalize | None) -> Row:
    low, high = float(maps.min()), float(maps.max())
    height, width = maps.shape[1:]

    def draw(axes: Axes, n: int) -> None:
        axes.imshow(maps[n], cmap=MAP_COLORS, norm=scale)

    return f"{name}\nspatial attention\n{height}×{width}, {low:.2f} to {high:.2f}", draw


def _channel_row(name: str, what: str, gates: list[np.ndarray]) -> Row:
    highest = max(1.0, *(float(gate.max()) for gate in gates))

    def draw(axes: Axes, n: int) -> None:
        draw_channel_gates(axes, [gate[n] for gate in gates], highest)

    return f"{name}\nchannel attention\n{what}, 0 to {highest:.3g}", draw


def _draw_image(axes: Axes, image: SelectedImage, class_names: Sequence[str]) -> None:
    draw_pixels(axes, image.pixels)
    label = "" if image.label is None else f"{class_names[image.label]}\n"
    axes.set_title(f"{label}{_shortened(image.name)}", fontsize=8)


def _shortened(name: str) -> str:
    return name if len(name) <= MAX_NAME else f"{name[: MAX_NAME - 4]}…{name[-3:]}"


def draw_pixels(axes: Axes, pixels: np.ndarray) -> None:
    """Draws an image `(height, width, channels)`, one with a single channel in gray."""
    axes.imshow(pixels[..., 0] if pixels.shape[-1] == 1 else pixels, cmap="gray", vmin=0, vmax=255)


def draw_cam(axes: Axes, pixels: np.ndarray, cam: np.ndarray) -> None:
    """Draws a Grad-CAM `(height, width)`, scaled to its maximum, over an image in gray."""
    draw_pixels(axes, pixels.mean(axis=-1, keepdims=True))
    axes.imshow(cam / max(float(cam.max()), 1e-12), cmap=CAM_COLORS, vmin=0, vmax=1, alpha=0.6)


def draw_channel_gates(axes: Axes, gates: Sequence[np.ndarray], highest: float) -> None:
    """Draws the gates of each stage from the highest to the lowest, one stage after the other.

    Args:
        axes: the matplotlib axes.
        gates: list of float arrays `(channels,)`, one for each stage.
        highest: float, the top of the axis.
    """
    start = 0
    for number, gate in enumerate(gates):
        channels = np.arange(start, start + len(gate))
        ordered = np.sort(gate)[::-1]
        axes.fill_between(channels, ordered, step="mid", color=COLORS[4 if number % 2 else 1], lw=0)
        start += len(gate)
    axes.set(xlim=(-1, start), ylim=(0, highest))
    axes.set_box_aspect(1)


def plot_faithfulness(path: Path, scores: Mapping[str, Faithfulness]) -> None:
    """Draws the predicted class's mean probability against the share of deleted or inserted pixels.

    Args:
        path: path of the PNG file.
        scores: dictionary from names to `Faithfulness`.
    """
    scores = {wrapped(name, LEGEND_LINE): score for name, score in scores.items()}
    lines = sum(name.count("\n") + 1 for name in scores)
    figure = Figure(figsize=(10, 4.4 + 0.2 * lines), dpi=120, layout="constrained")
    left, right = figure.subplots(1, 2)
    _plot_curves(left, scores, "deletion")
    left.set(title="deletion: lower is better", xlabel="share of pixels deleted")
    _plot_curves(right, scores, "insertion")
    right.set(title="insertion: higher is better", xlabel="share of pixels inserted")
    for axes in (left, right):
        axes.set(ylabel="mean probability of the predicted class", ylim=(0, 1))
        axes.xaxis.set_major_formatter(PercentFormatter(1))
        axes.grid(alpha=0.3)
        axes.legend(fontsize=7, loc="upper center", bbox_to_anchor=(0.5, -0.15))
    save_figure(figure, path)


def _plot_curves(axes: Axes, scores: Mapping[str, Faithfulness], kind: str) -> None:
    orders = (("Grad-CAM order", kind, "-"), ("random order", f"random_{kind}", ":"))
    for number, (name, score) in enumerate(scores.items()):
        color = COLORS[number % len(COLORS)]
        for order, field, style in orders:
            curves = getattr(score, field)
            shares = np.linspace(0, 1, curves.shape[1])
            label = f"{name}, {order}: area {area_under_curves(curves).mean():.3f}"
            mean = curves.mean(axis=0)
            axes.plot(shares, mean, style, color=color, label=legend_label(label))
