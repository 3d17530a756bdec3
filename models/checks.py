"""Checks of what an option can take, with errors that say what was received and allowed."""

import math


def require_int(name, value, least=1, odd=False):
    """Returns `value` as an int, or raises a `ValueError` that says what is allowed."""
    allowed = f"an {'odd ' if odd else ''}integer of at least {least}"
    is_number = isinstance(value, (int, float)) or hasattr(value, "__index__")
    if not is_number or isinstance(value, bool) or not math.isfinite(value) or value != int(value):
        raise ValueError(f"{name} must be {allowed}, received {value!r}")
    if value < least or (odd and value % 2 == 0):
        raise ValueError(f"{name} must be {allowed}, received {value!r}")
    return int(value)


def require_number(name, value, most=math.inf):
    """Returns `value`, or raises a `ValueError` if it is no finite number above 0, up to `most`."""
    if not isinstance(value, (int, float)) or not (0 < value <= most and value < math.inf):
        limit = "" if most == math.inf else f" and at most {most}"
        raise ValueError(f"{name} must be a number above 0{limit}, received {value!r}")
    return value


def require_one_of(name, value, allowed):
    """Returns `value`, or raises a `ValueError` that lists what is allowed."""
    if value not in tuple(allowed):
        names = ", ".join(map(repr, allowed))
        raise ValueError(f"{name} must be one of {names}, received {value!r}")
    return value
