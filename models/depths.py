"""Depths of networks whose stages are of equal length, such as 6n+2 layers."""

import math
from collections.abc import Collection, Iterable
from typing import Any

from .checks import require_int


def require_depth(
    name: str, depth: Any, periods: Iterable[int], rest: int = 2, others: Collection[int] = ()
) -> int:
    """Returns a depth as an int, if it is `period * n + rest`.

    Args:
        name: string, the architecture.
        depth: int, the number of layers with weights.
        periods: ints, the periods that the architecture allows.
        rest: int. Defaults to 2.
        others: depths that the architecture allows besides.

    Raises:
        ValueError: the architecture does not allow the depth; the error names the nearest ones.
    """
    periods = list(periods)
    rule = ", ".join([" or ".join(f"{k}n+{rest}" for k in periods), *map(str, others)])
    try:
        number = require_int("depth", depth, least=-math.inf)
    except ValueError:
        raise ValueError(f"{name} can be {rule} layers deep; received depth={depth!r}") from None
    if number in others or any(number > rest and (number - rest) % k == 0 for k in periods):
        return number
    steps = [(k, max(1, (number - rest) // k)) for k in periods]
    around = {k * n + rest for k, least in steps for n in (least, least + 1)}
    around |= {other for other in others if min(around) < other < max(around)}
    nearest = ", ".join(map(str, sorted(around)))
    raise ValueError(
        f"{name} can be {rule} layers deep; the nearest are {nearest}; received depth={depth!r}"
    )
