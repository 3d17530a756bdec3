"""Checks of the values of options, with errors that say what was received and what is allowed."""

import math


def require_int(name, value, least=1, odd=False):
    """Returns `value` as an int of at least `least`, or raises a `ValueError`."""
    allowed = f"an {'odd ' if odd else ''}integer of at least {least}"
    is_number = isinstance(value, (int, float)) or hasattr(value, "__index__")
    if not is_number or isinstance(value, bool) or not math.isfinite(value) or value != int(value):
        raise ValueError(f"{name} must be {allowed}, received {value!r}")
    if value < least or (odd and value % 2 == 0):
        raise ValueError(f"{name} must be {allowed}, received {value!r}")
    return int(value)


def require_number(name, value, most=math.inf):
    """Returns `value`, or raises a `ValueError` unless it is finite, above 0, at most `most`."""
    if not isinstance(value, (int, float)) or not (0 < value <= most and value < math.inf):
        limit = "" if most == math.inf else f" and at most {most}"
        raise ValueError(f"{name} must be a number above 0{limit}, received {value!r}")
    return value


def require_finite(name, value):
    """Returns `value`, or raises a `ValueError` unless it is a finite number."""
    if not isinstance(value, (int, float)) or not math.isfinite(value):
        raise ValueError(f"{name} must be a finite number, received {value!r}")
    return value


def require_one_of(name, value, allowed):
    """Returns `value`, or raises a `ValueError` unless it is one of the values allowed."""
    if value not in tuple(allowed):
        names = ", ".join(map(repr, allowed))
        raise ValueError(f"{name} must be one of {names}, received {value!r}")
    return value
