"""What a setting can take: each function checks a value, from a flag or a file, and returns it."""

import argparse
import math
import re
from pathlib import Path

from ..system.errors import UserError

LARGEST = 2**32 - 1  # of whole numbers: what 32 bits hold
MOST_SEEDS = 1000


class SettingError(UserError, argparse.ArgumentTypeError):
    """A value that a setting cannot take; argparse shows its text."""


def integer(least, most=None):
    """A whole number from `least` to `most`."""
    allowed = f"a whole number of at least {least}" + (f", at most {most}" if most else "")

    def parse(value):
        try:
            number = int(value)
        except (TypeError, ValueError, OverflowError):
            number = None
        whole = number is not None and not isinstance(value, (bool, float))
        if not whole or number < least or (most is not None and number > most):
            raise SettingError(f"must be {allowed}; received {value!r}")
        if number > LARGEST:
            raise SettingError(f"must be at most {LARGEST}; received {value!r}")
        return number

    return parse


def number(least, below=math.inf, above=False):
    """A number from `least` (or, with `above`, above it) and smaller than `below`."""
    allowed = f"a number {'above' if above else 'of at least'} {least}"
    allowed += f" and below {below}" if below < math.inf else ""

    def parse(value):
        try:
            result = float(value) if not isinstance(value, bool) else math.nan
        except (TypeError, ValueError, OverflowError):
            result = math.nan
        if not least <= result < below or (above and result == least):
            raise SettingError(f"must be {allowed}; received {value!r}")
        return result

    return parse


def choice(*names):
    """One of the given names."""

    def parse(value):
        if value not in names:
            raise SettingError(f"must be one of {', '.join(names)}; received {value!r}")
        return value

    return parse


def words(value):
    """A list of words, or one string with commas."""
    found = tuple(value.split(",")) if isinstance(value, str) else value
    if not isinstance(found, (list, tuple)) or not found or not all(map(_is_word, found)):
        raise SettingError(f"must be one or more words, with commas; received {value!r}")
    return tuple(found)


def _is_word(value):
    return isinstance(value, str) and value.strip() == value and value != ""


def several(parse, commas=True):
    """One or more of what `parse` takes, each once: a list or, with `commas`, a string with them.

    A flag with such a value takes several words.
    """

    def parse_all(value):
        items = list(value) if isinstance(value, (list, tuple)) else [value]
        if commas:
            parts = [item.split(",") if isinstance(item, str) else [item] for item in items]
            items = [part for group in parts for part in group]
        if not items:
            raise SettingError(f"must be one value or more; received {value!r}")
        return tuple(dict.fromkeys(map(parse, items)))

    return parse_all


def seeds(value):
    """Seeds and ranges of them, such as `0-4` or `0,2,5`."""
    spans = several(_seed_range)(value)
    if sum(map(len, spans)) > MOST_SEEDS:
        raise SettingError(f"must be at most {MOST_SEEDS} seeds; received {value!r}")
    return tuple(dict.fromkeys(seed for span in spans for seed in span))


def _seed_range(value):
    match = re.fullmatch("([0-9]{1,10})(?:-([0-9]{1,10}))?", str(value), re.ASCII)
    low, high = (int(match[1]), int(match[2] or match[1])) if match else (1, 0)
    if not low <= high <= LARGEST:
        raise SettingError(f"must be seeds such as 0-4 or 0,2,5; received {value!r}")
    return range(low, high + 1)


def text(value):
    """Any string that says something."""
    if not isinstance(value, str) or not value:
        raise SettingError(f"must be a word; received {value!r}")
    return value


def run_folder(value):
    """The folder of a run: said before a backend is loaded, which takes seconds."""
    if not (Path(text(value)) / "config.json").is_file():
        raise SettingError(f"must be the folder of a run, with a config.json; received {value!r}")
    return value


def boolean(value):
    """True or false."""
    if not isinstance(value, bool):
        raise SettingError(f"must be true or false; received {value!r}")
    return value


def boolean_word(value):
    """True or false, as a value or as a word."""
    if isinstance(value, str):
        return choice("true", "false")(value) == "true"
    return boolean(value)


def descriptor(value):
    """A list of words, or `"conv"` alone."""
    found = words(value)
    return "conv" if found == ("conv",) else found


def interval(value):
    """A number of steps, such as `500`, or of minutes, such as `10m`."""
    if not re.fullmatch("[1-9][0-9]{0,8}m?", str(value), re.ASCII) or isinstance(value, bool):
        raise SettingError(f"must be steps such as 500 or minutes such as 10m; received {value!r}")
    return str(value)


def address(value):
    """A host and a port, such as `10.0.0.1:1234`."""
    if not re.fullmatch(r"[^\s,]+:[0-9]{1,5}", str(value), re.ASCII):
        raise SettingError(f"must be ADDRESS:PORT such as 10.0.0.1:1234; received {value!r}")
    return value


def optional(parse):
    """What `parse` takes, or `None`."""
    return lambda value: None if value is None else parse(value)
