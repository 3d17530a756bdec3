"""Checks of the values of options, with errors that say what was received and what is allowed.

The numbers that they return are Python's, whatever library they came from, so that a configuration
can be written as JSON.
"""

import math
import numbers
import operator
import sys

LARGEST = sys.float_info.max


def require_int(name, value, least=1, odd=False):
    """Returns `value` as an int of at least `least`, or raises a `ValueError`."""
    number = _as_python(value)
    is_whole = isinstance(number, int) or (number is not None and number.is_integer())
    if not is_whole or number < least or (odd and number % 2 == 0):
        allowed = f"an {'odd ' if odd else ''}integer of at least {least}"
        raise ValueError(f"{name} must be {allowed}, received {value!r}")
    return int(number)


def require_number(name, value, most=math.inf):
    """Returns `value`, or raises a `ValueError` unless it is finite, above 0, at most `most`."""
    number = _as_python(value)
    if number is None or not 0 < number <= min(most, LARGEST):
        limit = "" if most == math.inf else f" and at most {most}"
        raise ValueError(f"{name} must be a number above 0{limit}, received {value!r}")
    return number


def require_finite(name, value):
    """Returns `value`, or raises a `ValueError` unless it is a finite number."""
    number = _as_python(value)
    if number is None or not abs(number) <= LARGEST:
        raise ValueError(f"{name} must be a finite number, received {value!r}")
    return number


def require_one_of(name, value, allowed):
    """Returns `value`, or raises a `ValueError` unless it is one of the values allowed."""
    if value not in tuple(allowed):
        names = ", ".join(map(repr, allowed))
        raise ValueError(f"{name} must be one of {names}, received {value!r}")
    return value


def _as_python(value):
    """A number as an int or a float of Python; `None` for what is no number, and for a bool."""
    if isinstance(value, bool):
        return None
    try:
        return operator.index(value)
    except TypeError:
        return float(value) if isinstance(value, numbers.Real) else None
