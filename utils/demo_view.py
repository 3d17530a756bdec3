"""What the demo shows: what networks make of an image side by side, and what changed."""

import numpy as np
from matplotlib.figure import Figure

from .explanation_plots import MAP, draw_gates, draw_heat, show_pixels
from .pictures import drawn
from .plotting import save_figure
from .templates import filled

TEMPLATE = "demo.html.jinja"
MOST_CLASSES = 5
WIDTH = 2.0  # inches of a picture
MORE_OR_LESS = "PuOr_r"  # purple to orange, white where nothing changed: for colour-blind eyes too


def render(looks, references, reference, class_names):
    """Renders looks side by side as HTML, with what is other than in their references.

    Args:
        looks: list of `Look`s at one choice.
        references: list of as many `Look`s, or `None` for one that is compared with nothing.
        reference: string, what to call the references.
        class_names: sequence of strings.

    Returns:
        A string, a part of a page that loads nothing.
    """
    image = looks[0].choice.image
    truth = None if image.label is None else class_names[image.label]
    said = [f"{look.name}: {class_names[look.predicted]}" for look in looks]
    return filled(
        TEMPLATE,
        picture=_drawn(lambda axes: show_pixels(axes, image.pixels), image),
        name=image.name,
        truth=truth,
        said="; ".join(said),
        reference=reference,
        networks=[
            {
                "name": look.name,
                "verdict": _verdict(look, truth, class_names),
                "other": _other(look, before, reference, class_names),
                "rows": _rows(look, before, class_names),
                "compared": before is not None,
                "pictures": list(_pictures(look, before, reference, class_names)),
            }
            for look, before in zip(looks, references, strict=True)
        ],
    )


def _verdict(look, truth, class_names):
    name = class_names[look.predicted]
    verdict = f"{name}, {look.probabilities.max():.1%}"
    if truth is None:
        return verdict
    return f"{verdict}: " + ("right ✓" if name == truth else f"wrong ✗, it is {truth}")


def _other(look, before, reference, class_names):
    """What the reference predicted, where that was something else."""
    if before is None or before.predicted == look.predicted:
        return None
    return f"{reference}: {class_names[before.predicted]}, {before.probabilities.max():.1%}"


def _rows(look, before, class_names):
    """The most probable classes and the one that is explained."""
    shown = list(np.argsort(-look.probabilities, kind="stable")[:MOST_CLASSES])
    shown += [look.target] if look.target not in shown else []
    changes = None if before is None else look.probabilities - before.probabilities
    return [
        {
            "name": class_names[n],
            "share": float(look.probabilities[n]),
            "explained": n == look.target,
            "change": None if changes is None else f"{100 * changes[n] + 0.0:+.1f}",
        }
        for n in shown
    ]


def _pictures(look, before, reference, class_names):
    """The pictures of a look: dictionaries of `source`, `alt` and `caption`."""
    name, (height, width) = class_names[look.target], look.choice.stage
    image, at = look.choice.image, f"at {height}×{width}"
    if look.cam is not None:
        yield {
            "source": _drawn(lambda axes: draw_heat(axes, image.pixels, look.cam), image),
            "alt": f"Grad-CAM of {look.name} for {name} {at}: {_strongest(look.cam)}",
            "caption": f"Grad-CAM {at}: bright speaks for {name}",
        }
    if look.cam is not None and before is not None and before.cam is not None:
        change = look.cam - before.cam
        yield {
            "source": _drawn(lambda axes: _draw_change(axes, change), image),
            "alt": f"Change of Grad-CAM of {look.name}: {_changed(change)}",
            "caption": f"Grad-CAM against {reference}: orange more, purple less",
        }
    spatial = None if look.attention is None else look.attention.spatial
    if spatial is not None:
        low, high = float(spatial.min()), float(spatial.max())
        yield {
            "source": _drawn(lambda axes: axes.imshow(spatial[0], cmap=MAP), image),
            "alt": f"Spatial attention of {look.name} {at}: {_strongest(spatial[0])}",
            "caption": f"Spatial attention {at}: {low:.2f} (dark) to {high:.2f} (bright)",
        }
    gates = None if look.attention is None else look.attention.channel
    if gates is not None:
        highest = max(1.0, float(gates.max()))
        yield {
            "source": _drawn(lambda axes: draw_gates(axes, [gates[0]], highest)),
            "alt": f"Channel gates of {look.name} {at}: {gates.min():.2f} to {gates.max():.2f}",
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

    return drawn(plot)


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
    return " ".join(filter(None, (down, across))) or "centre"
