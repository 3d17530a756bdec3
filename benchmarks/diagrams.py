"""Diagrams of modules: from a line of text to an SVG of boxes, arrows and branches side by side.

A diagram is a chain of steps, `mean over positions [1×1×C] -> dense to C -> sigmoid`, with the
shape that comes out in brackets. Braces hold branches, `{ ; mean over positions -> sigmoid } ×`:
each of them starts from the same map, an empty one is that map itself, and the step after the
braces joins them.
"""

import html
import re
import textwrap
from typing import NamedTuple

GAP = 20  # between a step and the next, where the arrow is
FORK = 10  # from a step to the line that leads to the branches
BETWEEN = 18  # branches
MARGIN = 14
LINE = 17  # of text
CHARACTER = 7.6  # width of one, in the widest of the usual fonts
MOST_CHARACTERS = 21  # in a line of a step
RADIUS = 13  # of a circle with a sign
PLAIN = "#F2F2F2"
COLORS = (  # of the first kind of step that has one of the words
    (r"^(divide|normalize|subtract|take|multiply)", PLAIN),
    (r"sigmoid|softmax|tanh|Gaussian|gate", "#FBE3C4"),
    (r"conv|dense|depthwise|MLP|BN|GN|scale|add|learned", "#D6EBD3"),
    (r"\bmean|max\b|deviation|norm\b|variance|sums|sum over", "#CFE3F5"),
)


class Fork(NamedTuple):
    """Branches that start from the same map, and the step that joins them."""

    branches: list
    join: str


class Extent(NamedTuple):
    """How far a part of a diagram reaches to the left and right of its axis."""

    left: float
    right: float


def parse(text):
    """Returns a diagram's chain: a list of strings, the steps, and of `Fork`s."""
    tokens = re.split(r"\s*(->|[{};])\s*", " ".join(text.split()))
    tokens = [token for token in tokens if token]
    chain = _chain(tokens)
    if tokens:
        raise ValueError(f"{tokens[0]!r} has nothing that it closes, in the diagram {text!r}")
    return chain


def _chain(tokens):
    steps = []
    while tokens and tokens[0] not in (";", "}"):
        token = tokens.pop(0)
        if token == "{":
            branches = [_chain(tokens)]
            while tokens.pop(0) == ";":
                branches.append(_chain(tokens))
            steps.append(Fork(branches, join=tokens.pop(0)))
        elif token != "->":
            steps.append(token)
    return steps


def draw(text, title):
    """Returns the SVG of a diagram, with the map that goes in and the one that comes out.

    Args:
        text: string, as the head of this file describes it.
        title: string, for those who do not see the picture.
    """
    chain = ["x [H×W×C]", *parse(text), "y [H×W×C]"]
    extent = _extent(chain)
    parts = []
    bottom = _draw_chain(parts, chain, extent.left + MARGIN, MARGIN - GAP)
    width, height = extent.left + extent.right + 2 * MARGIN, bottom + MARGIN
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}" '
        f'viewBox="0 0 {width:.0f} {height:.0f}" font-family="sans-serif" font-size="13" '
        f'text-anchor="middle" role="img" aria-label="{html.escape(title)}">'
    )
    card = '<rect width="100%" height="100%" rx="10" fill="white"/>'
    return "\n".join([head, card, *parts[1:], "</svg>", ""])  # no arrow leads to the first step


def _lines(step):
    """The lines of a step's text, as short as they get, and the shape that comes out, if any."""
    label, _, shape = step.rstrip("]").partition(" [")
    wrapped = [
        textwrap.wrap(label, most, break_long_words=False, break_on_hyphens=False)
        for most in range(MOST_CHARACTERS, 1, -1)
    ]
    return min(wrapped, key=lambda lines: (len(lines), max(map(len, lines)))), shape


def _size(step):
    """Width and height of a step."""
    lines, shape = _lines(step)
    if _is_sign(step):
        return 2 * RADIUS, 2 * RADIUS
    longest = max(len(line) for line in [*lines, shape])
    return max(80, longest * CHARACTER + 18), (len(lines) + bool(shape)) * LINE + 12


def _is_sign(step):
    return len(step) == 1 and step not in "xy"


def _extent(chain):
    extents = [Extent(0, 0)]
    for step in chain:
        if isinstance(step, Fork):
            axes, (left, right) = _axes(step)
            width = _join_size(step.join, axes)[0]
            extents.append(Extent(max(left, width / 2), max(right, width / 2)))
        else:
            width = _size(step)[0]
            extents.append(Extent(width / 2, width / 2))
    return Extent(*map(max, zip(*extents, strict=True)))


def _axes(fork):
    """The branches' axes, and the extent of all, relative to the axis of the fork.

    That is the axis of the map itself, if it is one of the branches, or their middle.
    """
    axes, right = [], -BETWEEN
    for branch in fork.branches:
        extent = _extent(branch)
        axes.append(right + BETWEEN + extent.left)
        right = axes[-1] + extent.right
    middle = (axes[(len(axes) - 1) // 2] + axes[len(axes) // 2]) / 2
    axis = axes[fork.branches.index([])] if [] in fork.branches else middle
    return [place - axis for place in axes], Extent(axis, right - axis)


def _join_size(step, axes):
    """Width and height of a join, which reaches over the branches that end just beside it."""
    width, height = _size(step)
    near = [abs(axis) for axis in axes if abs(axis) < width / 2 + GAP]
    if not _is_sign(step) and max(near, default=0) > 0:
        width = max(width, 2 * max(near) + GAP)
    return width, height


def _draw_chain(parts, chain, x, y):
    """Draws a chain that starts at a point, and returns how far down it reaches."""
    for step in chain:
        if isinstance(step, Fork):
            y = _draw_fork(parts, step, x, y)
        else:
            height = _size(step)[1]
            parts.append(_arrow(x, y, (x, y + GAP)))
            parts += _step(step, x, y + GAP + height / 2)
            y += GAP + height
    return y


def _draw_fork(parts, fork, x, y):
    top, ends = y + FORK, []
    axes = _axes(fork)[0]
    for branch, offset in zip(fork.branches, axes, strict=True):
        parts.append(_path(f"M{x:g} {y:g} V{top:g} H{x + offset:g}"))
        ends.append((x + offset, _draw_chain(parts, branch, x + offset, top)))
    width, height = _join_size(fork.join, axes)
    center = max(end for _, end in ends) + GAP + height / 2
    for branch_x, end in ends:
        above = abs(branch_x - x) < width / 2
        side = width / 2 if branch_x > x else -width / 2
        to = (branch_x, center - height / 2) if above else (x + side, center)
        parts.append(_arrow(branch_x, end, to))
    parts += _step(fork.join, x, center, width)
    return center + height / 2


def _step(step, x, y, width=0):
    """A box around the text of a step, or a circle around a sign, centered at a point."""
    stroke = 'stroke="#555"'
    if _is_sign(step):
        circle = f'<circle cx="{x:g}" cy="{y:g}" r="{RADIUS}" fill="white" {stroke}/>'
        return [circle, f'<text x="{x:g}" y="{y + 6:g}" font-size="18" fill="#111">{step}</text>']
    (lines, shape), (least, height) = _lines(step), _size(step)
    width = max(least, width)
    color = next((c for words, c in COLORS if re.search(words, " ".join(lines))), PLAIN)
    top = y - height / 2
    parts = [
        f'<rect x="{x - width / 2:g}" y="{top:g}" width="{width:g}" height="{height:g}" rx="6" '
        f'fill="{color}" {stroke}/>'
    ]
    styles = ['fill="#111"'] * len(lines) + ['fill="#555" font-size="12"']
    for number, (line, style) in enumerate(zip([*lines, shape], styles, strict=True), 1):
        if line:
            place = f'x="{x:g}" y="{top + number * LINE + 2:g}"'
            parts.append(f"<text {place} {style}>{html.escape(line)}</text>")
    return parts


def _arrow(x, y, to):
    """A line down from a point and across to another, with a head."""
    end_x, end_y = to
    if x == end_x:
        return _path(f"M{x:g} {y:g} V{end_y:g} m-4 -6 l4 6 l4 -6")
    back = 6 if x > end_x else -6
    return _path(f"M{x:g} {y:g} V{end_y:g} H{end_x:g} m{back} -4 l{-back} 4 l{back} 4")


def _path(commands):
    return f'<path d="{commands}" fill="none" stroke="#333" stroke-width="1.5"/>'
