"""What the demo shows: what networks make of an image side by side, and what changed."""

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from ..explain.explanation_plots import MAP, draw_gates, draw_heat, show_pixels
from ..plots.figures import save_figure
from ..plots.pictures import draw_as_data_uri
from ..plots.templates import render_template

TEMPLATE = Path(__file__).with_name("explanations.html.jinja")
MOST_CLASSES = 5
WIDTH = 2.0  # inches of a picture
MORE_OR_LESS = "PuOr_r"  # purple to orange, white where nothing changed: for color-blind eyes too


def render(explanations, references, reference, class_names):
    """Renders explanations side by side as HTML, with what is other than in their references.

    Args:
        explanations: list of `Explanation`s of one query.
        references: list of as many `Explanation`s, or `None` for one that is compared with nothing.
        reference: string, what to call the references.
        class_names: sequence of strings.

    Returns:
        A string, a part of a page that loads nothing.
    """
    image = explanations[0].query.image
    true_class = None if image.label is None else class_names[image.label]
    said = [f"{each.name}: {class_names[each.predicted]}" for each in explanations]
    return render_template(
        TEMPLATE,
        picture=_drawn(lambda axes: show_pixels(axes, image.pixels), image),
        name=image.name,
        true_class=true_class,
        said="; ".join(said),
        reference=reference,
        networks=[
            {
                "name": explanation.name,
                "verdict": _verdict(explanation, true_class, class_names),
                "other": _other(explanation, before, reference, class_names),
                "rows": _rows(explanation, before, class_names),
                "compared": before is not None,
                "pictures": list(_pictures(explanation, before, reference, class_names)),
            }
            for explanation, before in zip(explanations, references, strict=True)
        ],
    )


def _verdict(explanation, true_class, class_names):
    name = class_names[explanation.predicted]
    verdict = f"{name}, {explanation.probabilities.max():.1%}"
    if true_class is None:
        return verdict
    return f"{verdict}: " + ("right ✓" if name == true_class else f"wrong ✗, it is {true_class}")


def _other(explanation, before, reference, class_names):
    """What the reference predicted, where that was something else."""
    if before is None or before.predicted == explanation.predicted:
        return None
    return f"{reference}: {class_names[before.predicted]}, {before.probabilities.max():.1%}"


def _rows(explanation, before, class_names):
    """The most probable classes and the one that is explained."""
    shown = list(np.argsort(-explanation.probabilities, kind="stable")[:MOST_CLASSES])
    shown += [explanation.target] if explanation.target not in shown else []
    changes = None if before is None else explanation.probabilities - before.probabilities
    return [
        {
            "name": class_names[n],
            "share": float(explanation.probabilities[n]),
            "explained": n == explanation.target,
            "change": None if changes is None else f"{100 * changes[n] + 0.0:+.1f}",
        }
        for n in shown
    ]


def _pictures(explanation, before, reference, class_names):
    """The pictures of an explanation: dictionaries of `source`, `alt` and `caption`."""
    network, name = explanation.name, class_names[explanation.target]
    height, width = explanation.query.stage
    image, at = explanation.query.image, f"at {height}×{width}"
    if explanation.cam is not None:
        yield {
            "source": _drawn(lambda axes: draw_heat(axes, image.pixels, explanation.cam), image),
            "alt": f"Grad-CAM of {network} for {name} {at}: {_strongest(explanation.cam)}",
            "caption": f"Grad-CAM {at}: bright speaks for {name}",
        }
    if explanation.cam is not None and before is not None and before.cam is not None:
        change = explanation.cam - before.cam
        yield {
            "source": _drawn(lambda axes: _draw_change(axes, change), image),
            "alt": f"Change of Grad-CAM of {network}: {_changed(change)}",
            "caption": f"Grad-CAM against {reference}: orange more, purple less",
        }
    spatial = None if explanation.attention is None else explanation.attention.spatial
    if spatial is not None:
        low, high = float(spatial.min()), float(spatial.max())
        yield {
            "source": _drawn(lambda axes: axes.imshow(spatial[0], cmap=MAP), image),
            "alt": f"Spatial attention of {network} {at}: {_strongest(spatial[0])}",
            "caption": f"Spatial attention {at}: {low:.2f} (dark) to {high:.2f} (bright)",
        }
    gates = None if explanation.attention is None else explanation.attention.channel
    if gates is not None:
        highest = max(1.0, float(gates.max()))
        yield {
            "source": _drawn(lambda axes: draw_gates(axes, [gates[0]], highest)),
            "alt": f"Channel gates of {network} {at}: {gates.min():.2f} to {gates.max():.2f}",
            "caption": f"Gates of {gates.shape[1]} channels {at}: bars from 0 to {highest:.3g}",
        }


def _draw_change(axes, change):
    axes.imshow(change, cmap=MORE_OR_LESS, vmin=-1, vmax=1)


def _drawn(draw, image=None):
    """What a function draws on axes, of an image's proportions or square, as a data URI."""
    height, width = (1, 1) if image is None else image.pixels.shape[:2]

    def plot(file):
        figure = Figure(figsize=(WIDTH, WIDTH * height / width), dpi=120)
        axes = figure.add_axes((0, 0, 1, 1))
        axes.axis("off")
        draw(axes)
        save_figure(figure, file)

    return draw_as_data_uri(plot)


def _strongest(values):
    if float(values.max()) <= float(values.min()):
        return "the same everywhere"
    return f"strongest at the {_place(values)}"


def _changed(change):
    if not change.any():
        return "none"
    parts = {"more": change, "less": -change}
    return ", ".join(f"{how} at the {_place(by)}" for how, by in parts.items() if by.max() > 0)


def _place(values):
    """Where in a picture a map is highest, in words."""
    row, column = np.unravel_index(values.argmax(), values.shape)
    down = ("upper", "", "lower")[3 * int(row) // values.shape[0]]
    across = ("left", "", "right")[3 * int(column) // values.shape[1]]
    return " ".join(filter(None, (down, across))) or "center"
