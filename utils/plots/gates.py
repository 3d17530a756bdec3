"""The picture of how gates of attention are distributed in the course of a training."""

from collections.abc import Mapping
from typing import Any

from matplotlib.figure import Figure

from .figures import COLORS, Target, legend_label, save_figure

KINDS = {"channel": "channel gates", "spatial": "spatial gates"}


def plot_gates(path: Target, found: Mapping[str, Mapping[str, Any]]) -> None:
    """Draws the quantiles of channel and spatial gates after some steps, for each module.

    Args:
        path: path of the file, or a binary file.
        found: dictionary from modules to dictionaries from steps to `gate_quantiles`.
    """
    forms = [form for form, steps in found.items() if any("channel" in g for g in steps.values())]
    figure = Figure(figsize=(9, 4.2), dpi=120, layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    times = _times(found[form] for form in forms)
    for axes, (kind, title) in zip(panels, KINDS.items(), strict=True):
        for number, form in enumerate(forms):
            shift = _shift(number, len(forms))
            _draw_boxes(axes, found[form], kind, times, shift, _color(number), legend_label(form))
        axes.set(title=title, xlabel="step of the training")
        axes.set_xticks(range(len(times)), times)
        axes.axhline(1, color="black", linewidth=0.8, linestyle=":")
        axes.set_ylim(-0.05, 2.05)
        axes.grid(alpha=0.3, axis="y")
    panels[0].set_ylabel("gate: median, half and 90 % of all values")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    save_figure(figure, path)


def _shift(number, count):
    """How far beside a step the boxes of a form are; the next step is at a distance of 1."""
    return min(0.22, 0.8 / count) * (number - (count - 1) / 2)


def _color(number):
    return COLORS[(number + 3) % len(COLORS)]


def _times(of_forms):
    """All steps in order, and `end` last."""
    steps = {step for steps in of_forms for step in steps}
    return sorted(steps, key=lambda step: (step == "end", 0 if step == "end" else int(step)))


def _draw_boxes(axes, steps, kind, times, shift, color, label):
    for place, time in enumerate(times):
        if kind not in steps.get(time, {}):
            continue
        low, first, median, third, high = steps[time][kind]
        x = place + shift
        axes.plot([x, x], [low, high], color=color, linewidth=1.5)
        axes.plot([x, x], [first, third], color=color, linewidth=8, solid_capstyle="butt")
        axes.plot(x, median, "o", color="white", markeredgecolor=color, label=label)
        label = None
