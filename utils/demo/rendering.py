"""Explanations of an image as HTML: the networks side by side, each compared with a reference."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..explain.explanation_plots import MAP_COLORS, draw_cam, draw_channel_gates, draw_pixels
from ..explain.selection import SelectedImage
from ..plots.figures import save_figure
from ..plots.pictures import draw_as_data_uri
from ..plots.templates import render_template
from .explainer import ImageExplanation

TEMPLATE = Path(__file__).with_name("explanations.html.jinja")
MAX_CLASSES = 5  # that the table names beside the explained one
WIDTH = 2.0  # of a picture, in inches
CHANGE_COLORS = "PuOr_r"  # purple, white at 0, orange: they differ without color vision too


def render(
    explanations: Sequence[ImageExplanation],
    references: Sequence[ImageExplanation | None],
    reference_name: str,
    class_names: Sequence[str],
) -> str:
    """Renders explanations side by side as HTML, each compared with its reference.

    Args:
        explanations: list of `ImageExplanation`s of one query.
        references: list of as many `ImageExplanation`s; `None` for no comparison.
        reference_name: string, what to call the references in a sentence.
        class_names: sequence of strings.

    Returns:
        A string, a part of a page that loads nothing.
    """
    image = explanations[0].query.image
    true_class = None if image.label is None else class_names[image.label]
    predictions = [f"{each.name}: {class_names[each.predicted]}" for each in explanations]
    return render_template(
        TEMPLATE,
        picture=_draw_to_uri(lambda axes: draw_pixels(axes, image.pixels), image),
        name=image.name,
        true_class=true_class,
        predictions="; ".join(predictions),
        reference_name=reference_name,
        networks=[
            {
                "name": explanation.name,
                "verdict": _verdict(explanation, true_class, class_names),
                "difference": _difference(explanation, reference, reference_name, class_names),
                "rows": _rows(explanation, reference, class_names),
                "has_reference": reference is not None,
                "pictures": list(_pictures(explanation, reference, reference_name, class_names)),
            }
            for explanation, reference in zip(explanations, references, strict=True)
        ],
    )


def _verdict(
    explanation: ImageExplanation, true_class: str | None, class_names: Sequence[str]
) -> str:
    name = class_names[explanation.predicted]
    verdict = f"{name}, {explanation.probabilities.max():.1%}"
    if true_class is None:
        return verdict
    return f"{verdict}: " + ("right ✓" if name == true_class else f"wrong ✗, it is {true_class}")


def _difference(
    explanation: ImageExplanation,
    reference: ImageExplanation | None,
    reference_name: str,
    class_names: Sequence[str],
) -> str | None:
    """The reference's prediction, if that is another class."""
    if reference is None or reference.predicted == explanation.predicted:
        return None
    name, probability = class_names[reference.predicted], reference.probabilities.max()
    return f"Differs from {reference_name}: {name}, {probability:.1%}"


def _rows(
    explanation: ImageExplanation, reference: ImageExplanation | None, class_names: Sequence[str]
) -> list[dict[str, Any]]:
    """The rows of the table: the most probable classes and the explained one."""
    classes = list(np.argsort(-explanation.probabilities, kind="stable")[:MAX_CLASSES])
    classes += [explanation.target] if explanation.target not in classes else []
    changes = None if reference is None else explanation.probabilities - reference.probabilities
    return [
        {
            "name": class_names[n],
            "share": float(explanation.probabilities[n]),
            "explained": n == explanation.target,
            "change": None if changes is None else f"{100 * changes[n] + 0.0:+.1f}",
        }
        for n in classes
    ]


def _pictures(
    explanation: ImageExplanation,
    reference: ImageExplanation | None,
    reference_name: str,
    class_names: Sequence[str],
) -> Iterator[dict[str, str]]:
    """The pictures of an explanation: dictionaries of `source`, `alt` and `caption`."""
    cam = explanation.cam
    if cam is not None:
        yield _cam_picture(explanation, cam, class_names)
        if reference is not None and reference.cam is not None:
            yield _change_picture(explanation, cam - reference.cam, reference_name)
    attention = explanation.attention
    if attention is not None and attention.spatial is not None:
        yield _spatial_picture(explanation, attention.spatial[0])
    if attention is not None and attention.channel is not None:
        yield _channel_picture(explanation, "gates", attention.channel[0])
    if attention is not None:
        for branch, shares in attention.branches.items():
            yield _channel_picture(explanation, f"shares of {branch}", shares[0])


def _cam_picture(
    explanation: ImageExplanation, cam: np.ndarray, class_names: Sequence[str]
) -> dict[str, str]:
    image, at, name = explanation.query.image, _at(explanation), class_names[explanation.target]
    return {
        "source": _draw_to_uri(lambda axes: draw_cam(axes, image.pixels, cam), image),
        "alt": f"Grad-CAM of {explanation.name} for {name} {at}: {_strongest(cam)}",
        "caption": f"Grad-CAM {at}: bright areas speak for {name}",
    }


def _change_picture(
    explanation: ImageExplanation, change: np.ndarray, reference_name: str
) -> dict[str, str]:
    return {
        "source": _draw_to_uri(
            lambda axes: axes.imshow(change, cmap=CHANGE_COLORS, vmin=-1, vmax=1),
            explanation.query.image,
        ),
        "alt": f"Change of Grad-CAM of {explanation.name} relative to {reference_name}: "
        f"{_where_changed(change)}",
        "caption": f"Grad-CAM relative to {reference_name}: orange higher, purple lower",
    }


def _spatial_picture(explanation: ImageExplanation, spatial: np.ndarray) -> dict[str, str]:
    at, low, high = _at(explanation), float(spatial.min()), float(spatial.max())
    return {
        "source": _draw_to_uri(
            lambda axes: axes.imshow(spatial, cmap=MAP_COLORS), explanation.query.image
        ),
        "alt": f"Spatial attention of {explanation.name} {at}: {_strongest(spatial)}",
        "caption": f"Spatial attention {at}: {low:.2f} (dark) to {high:.2f} (bright)",
    }


def _channel_picture(explanation: ImageExplanation, what: str, gates: np.ndarray) -> dict[str, str]:
    at, highest = _at(explanation), max(1.0, float(gates.max()))
    return {
        "source": _draw_to_uri(lambda axes: draw_channel_gates(axes, [gates], highest)),
        "alt": f"Channel attention of {explanation.name} {at}: {what} from {gates.min():.2f} to "
        f"{gates.max():.2f}",
        "caption": f"Channel attention {at}: a bar for each of {len(gates)} {what}, "
        f"0 to {highest:.3g}",
    }


def _at(explanation: ImageExplanation) -> str:
    height, width = explanation.query.stage
    return f"at {height}×{width}"


def _draw_to_uri(draw: Callable[[Axes], Any], image: SelectedImage | None = None) -> str:
    """Draws a picture with an image's proportions, or a square one, and returns its data URI."""
    height, width = (1, 1) if image is None else image.pixels.shape[:2]

    def plot(file: BinaryIO) -> None:
        figure = Figure(figsize=(WIDTH, WIDTH * height / width), dpi=120)
        axes = figure.add_axes((0, 0, 1, 1))
        axes.axis("off")
        draw(axes)
        save_figure(figure, file)

    return draw_as_data_uri(plot)


def _strongest(values: np.ndarray) -> str:
    if float(values.max()) <= float(values.min()):
        return "the same everywhere"
    return f"strongest at the {_position_of_maximum(values)}"


def _where_changed(change: np.ndarray) -> str:
    if not change.any():
        return "none"
    parts = {"higher": change, "lower": -change}
    return ", ".join(
        f"{how} at the {_position_of_maximum(values)}"
        for how, values in parts.items()
        if values.max() > 0
    )


def _position_of_maximum(values: np.ndarray) -> str:
    """Such as `"upper left"` or `"center"`: where in a map `(height, width)` its maximum is."""
    row, column = np.unravel_index(values.argmax(), values.shape)
    vertical = ("upper", "", "lower")[3 * int(row) // values.shape[0]]
    horizontal = ("left", "", "right")[3 * int(column) // values.shape[1]]
    return " ".join(filter(None, (vertical, horizontal))) or "center"
