"""Pictures of explanations: a grid of maps over images, and the curves of faithfulness."""

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from ..plots.figures import COLORS, save_figure
from .faithfulness import area

CELL = 1.25  # inches
LABELS = 2.0  # inches, the names beside the rows
HEAT, MAP = "inferno", "viridis"  # both even in lightness, for color-blind eyes too


def plot_explanations(path, images, explanations, class_names):
    """Draws a grid: a column per image; for each network its Grad-CAMs and attention maps.

    Args:
        path: path of the PNG file.
        images: list of `SelectedImage`s.
        explanations: list of `utils.explain.explain.Explanation`s.
        class_names: sequence of strings.
    """
    rows = [("image", lambda axes, n: _draw_image(axes, images[n], class_names))]
    for explanation in explanations:
        rows += _rows_of(explanation, images, class_names)
    height = CELL * 1.25
    figure = Figure(
        figsize=(LABELS + CELL * len(images), height * len(rows)), dpi=120, layout="constrained"
    )
    grid = figure.subplots(len(rows), len(images), squeeze=False)
    for line, (label, draw) in zip(grid, rows, strict=True):
        line[0].set_ylabel(label, rotation=0, ha="right", va="center", fontsize=8, labelpad=8)
        for number, axes in enumerate(line):
            axes.set(xticks=[], yticks=[])
            draw(axes, number)
    save_figure(figure, path)


def _rows_of(explanation, images, class_names):
    """The rows of one network: pairs of a label and a function that draws a column's cell."""
    name, predicted = explanation.name, explanation.predicted

    def draw_cam(cams, classes):
        def draw(axes, n):
            if cams[n] is not None:
                probability = explanation.probabilities[n, classes[n]]
                draw_heat(axes, images[n].pixels, cams[n])
                axes.set_title(f"{class_names[classes[n]]} {probability:.2f}", fontsize=8)
            else:
                axes.axis("off")

        return draw

    rows = []
    if any(image.label is not None for image in images):
        labels = [image.label for image in images]
        rows.append((f"{name}\nGrad-CAM\ntrue class", draw_cam(explanation.of_true_class, labels)))
    cams = draw_cam(explanation.of_prediction, predicted)
    rows.append((f"{name}\nGrad-CAM\npredicted class", cams))
    for maps in explanation.attention:
        if maps.spatial is not None:
            rows.append(_spatial_row(name, maps))
    gates = [maps.channel for maps in explanation.attention if maps.channel is not None]
    if gates:
        highest = max(1.0, *(float(gate.max()) for gate in gates))
        label = f"{name}\nchannel gates\n0 to {highest:.3g}"
        rows.append((label, lambda axes, n: draw_gates(axes, [g[n] for g in gates], highest)))
    return rows


def _spatial_row(name, maps):
    low, high = float(maps.spatial.min()), float(maps.spatial.max())
    height, width = maps.spatial.shape[1:]
    label = f"{name}\nspatial, {height}x{width}\n{low:.2f} to {high:.2f}"

    def draw(axes, n):
        axes.imshow(maps.spatial[n], cmap=MAP, vmin=low, vmax=max(high, low + 1e-6))

    return label, draw


def _draw_image(axes, image, class_names):
    show_pixels(axes, image.pixels)
    label = "" if image.label is None else f"{class_names[image.label]}\n"
    axes.set_title(f"{label}{_shortened(image.name)}", fontsize=8)


def _shortened(name, most=16):
    return name if len(name) <= most else f"{name[: most - 4]}…{name[-3:]}"


def show_pixels(axes, pixels):
    """Draws an image `(height, width, channels)`, of 1 channel in gray."""
    axes.imshow(pixels[..., 0] if pixels.shape[-1] == 1 else pixels, cmap="gray", vmin=0, vmax=255)


def draw_heat(axes, pixels, heat):
    """Draws an image in gray, under a Grad-CAM `(height, width)` of its own range."""
    show_pixels(axes, pixels.mean(axis=-1, keepdims=True))
    axes.imshow(heat / max(float(heat.max()), 1e-12), cmap=HEAT, vmin=0, vmax=1, alpha=0.6)


def draw_gates(axes, gates, highest):
    """Draws a bar per channel, for each of the stages' gates `(channels,)` in turn."""
    start = 0
    for number, gate in enumerate(gates):
        places = np.arange(start, start + len(gate))
        axes.fill_between(places, gate, step="mid", color=COLORS[4 if number % 2 else 1], lw=0)
        start += len(gate)
    axes.set(xlim=(-1, start), ylim=(0, highest))
    axes.set_box_aspect(1)


def plot_faithfulness(path, scores):
    """Draws how the predicted class's probability falls and rises with the pixels.

    Args:
        path: path of the PNG file.
        scores: dictionary from names to `utils.explain.faithfulness.Faithfulness`.
    """
    figure = Figure(figsize=(10, 4.4 + 0.2 * len(scores)), dpi=120, layout="constrained")
    for axes, kind in zip(figure.subplots(1, 2), ("deletion", "insertion"), strict=True):
        for number, (name, score) in enumerate(scores.items()):
            color = COLORS[number % len(COLORS)]
            for ordered, style in ((kind, "-"), (f"random_{kind}", ":")):
                curves = getattr(score, ordered)
                shares = np.linspace(0, 1, curves.shape[1])
                order = "random" if ordered != kind else "Grad-CAM"
                label = f"{name}, {order}: area {area(curves).mean():.3f}"
                axes.plot(shares, curves.mean(axis=0), style, color=color, label=label)
        verb = "deleted" if kind == "deletion" else "inserted"
        better = "lower is better" if kind == "deletion" else "higher is better"
        axes.set(xlabel=f"share of pixels {verb}", title=f"{kind}: {better}", ylim=(0, 1))
        axes.set(ylabel="probability of the predicted class (mean)")
        axes.xaxis.set_major_formatter(PercentFormatter(1))
        axes.grid(alpha=0.3)
        axes.legend(fontsize=7, loc="upper center", bbox_to_anchor=(0.5, -0.15))
    save_figure(figure, path)
