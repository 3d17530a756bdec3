"""What a setting can take: how its value is checked, and what --help shows in its place."""

import argparse
import dataclasses
import glob
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from models.pretrained import trained_weights
from models.specification import is_keras_model, is_reference, parse_specification

from ..system.errors import UserError

MOST = 1_000_000  # of a count such as epochs: more is a slip of the hand
# of options of networks and modules, in the command's flags or in a text such as 'resnet(depth=50)'
MOST_OF_OPTION = {
    "alpha": 64,
    "branches": 64,
    "cardinality": 512,
    "depth": 2000,
    "depth_multiplier": 64,
    "dilated_convs": 64,
    "dilation": 1023,
    "growth_rate": 512,
    "kernel_size": 1023,
    "num_layers": 64,
    "width": 128,
}
MOST_SEEDS = 1000
LARGEST_SEED = 2**32 - 1


class SettingError(UserError, argparse.ArgumentTypeError):
    """A value that a setting cannot take; argparse shows its text."""


@dataclasses.dataclass(frozen=True)
class Kind:
    """A kind of value.

    Args:
        check: function of a value, from a flag or a file, that returns it as the program wants it,
            or raises a `SettingError`.
        metavar: string, what --help shows in the value's place.
        split: function from a flag's text to the texts of several values; commas part them by
            default. `None` where a comma is part of a value.
    """

    check: Callable[[Any], Any]
    metavar: str
    split: Callable[[str], list[str]] | None = lambda text: text.split(",")

    def __call__(self, value: Any) -> Any:
        return self.check(value)


def integer(least: int, most: int | None = None, limit: int = MOST) -> Kind:
    """A whole number from `least` to `most`, or to a `limit` that only its own message names."""
    allowed = f"a whole number of at least {least}" + (f", at most {most}" if most else "")

    def check(value):
        try:
            number = int(value)
        except (TypeError, ValueError, OverflowError):
            number = None
        if number is None or isinstance(value, (bool, float)):  # 1.5 is no whole number
            raise SettingError(f"must be {allowed}; received {value!r}")
        if number < least or (most is not None and number > most):
            raise SettingError(f"must be {allowed}; received {value!r}")
        if most is None and number > limit:
            raise SettingError(f"must be at most {limit}; received {value!r}")
        return number

    return Kind(check, "N")


def number(
    least: float, below: float = math.inf, above: bool = False, limit: float = math.inf
) -> Kind:
    """A number from `least` (or, with `above`, above it), smaller than `below`, at most `limit`."""
    allowed = f"a number {'above' if above else 'of at least'} {least}"
    allowed += f" and below {below}" if below < math.inf else ""

    def check(value):
        try:
            result = float(value) if not isinstance(value, bool) else math.nan
        except (TypeError, ValueError, OverflowError):
            result = math.nan
        if not least <= result < below or (above and result == least):
            raise SettingError(f"must be {allowed}; received {value!r}")
        if result > limit:
            raise SettingError(f"must be at most {limit}; received {value!r}")
        return result

    return Kind(check, "X")


def choice(*names: str) -> Kind:
    """One of the given names."""

    def check(value):
        if value not in names:
            raise SettingError(f"must be one of {', '.join(names)}; received {value!r}")
        return value

    return Kind(check, "{" + ",".join(names) + "}")


def choice_or_own(*names: str, metavar: str) -> Kind:
    """One of the given names, alone or with options, or a user's own function in a module."""

    def check(value):
        name, _ = _parsed(value)
        if name not in names and not is_reference(name) and not is_keras_model(name):
            raise SettingError(
                f"must be one of {', '.join(names)}, keras.applications/NAME, FILE.keras, or "
                f"FILE.py:FUNCTION; received {value!r}"
            )
        return value

    return Kind(check, metavar, split_specifications)


def _check_specification(value):
    _parsed(value)
    return value


def _parsed(value):
    try:
        name, options = parse_specification(text(value))
    except ValueError as error:
        raise SettingError(str(error)) from None
    for option, given in options.items():
        most = most_of_option(option)
        if isinstance(given, (int, float)) and given > most:
            raise SettingError(f"must have {option} of at most {most}; received {value!r}")
    return name, options


def most_of_option(name: str) -> int:
    """Returns how large an option of a network or a module can be."""
    return MOST_OF_OPTION.get(name, MOST)


def split_specifications(value: str) -> list[str]:
    """Splits a text at the commas that are outside of parentheses."""
    parts, start, depth = [], 0, 0
    for place, character in enumerate(value):
        depth += {"(": 1, ")": -1}.get(character, 0)
        if character == "," and depth <= 0:
            parts.append(value[start:place])
            start = place + 1
    return [*parts, value[start:]]


def _check_words(value):
    found = tuple(value.split(",")) if isinstance(value, str) else value
    if not isinstance(found, (list, tuple)) or not found or not all(map(_is_word, found)):
        raise SettingError(f"must be one or more words, with commas; received {value!r}")
    return tuple(found)


def _is_word(value):
    return isinstance(value, str) and value.strip() == value and value != ""


def _check_descriptor(value):
    found = words(value)
    return "conv" if found == ("conv",) else found


def several(kind: Kind) -> Kind:
    """One or more values of a kind, each once: a list, or a text that the kind splits.

    A flag with such a value takes several words.
    """

    def check(value):
        items = list(value) if isinstance(value, (list, tuple)) else [value]
        if kind.split is not None:
            parts = [kind.split(item) if isinstance(item, str) else [item] for item in items]
            items = [part for group in parts for part in group]
        if not items:
            raise SettingError(f"must be one value or more; received {value!r}")
        return tuple(dict.fromkeys(map(kind, items)))

    return Kind(check, kind.metavar, None)


def _check_seeds(value):
    spans = several(Kind(_seed_range, "N"))(value)
    if sum(map(len, spans)) > MOST_SEEDS:
        raise SettingError(f"must be at most {MOST_SEEDS} seeds; received {value!r}")
    return tuple(dict.fromkeys(seed for span in spans for seed in span))


def _seed_range(value):
    match = re.fullmatch("([0-9]{1,10})(?:-([0-9]{1,10}))?", str(value), re.ASCII)
    low, high = (int(match[1]), int(match[2] or match[1])) if match else (1, 0)
    if not low <= high <= LARGEST_SEED:
        raise SettingError(f"must be numbers such as 0-4 or 0,2,5; received {value!r}")
    return range(low, high + 1)


def _check_text(value):
    if not isinstance(value, str) or not value:
        raise SettingError(f"must be a word; received {value!r}")
    return value


def _check_run(value):
    if not (Path(text(value)) / "config.json").is_file():
        raise SettingError(
            f"must be the folder of a run, with a config.json; received {value!r}"
            f"{_runs_near(value)}"
        )
    return value


def _runs_near(value):
    """Names a run in a folder of runs, or that of a file, for the end of a message."""
    folder = Path(value)
    if folder.is_file() and (folder.parent / "config.json").is_file():
        return f"; its run is {str(folder.parent)!r}"
    runs = sorted(folder.glob("*/config.json"))
    return f"; it holds runs, such as {str(runs[0].parent)!r}" if runs else ""


def _check_run_or_weights(value):
    if text(value) not in trained_weights() and not (Path(value) / "config.json").is_file():
        raise SettingError(
            "must be the folder of a run, with a config.json, or trained weights that 'main.py "
            f"list' names; received {value!r}{_runs_near(value)}"
        )
    return value


def _check_trained_network(value):
    found = Path(text(value))
    if found.is_dir() or value in trained_weights():
        return _check_run_or_weights(value)
    if found.suffix != ".keras" or not found.is_file():
        raise SettingError(
            f"must be the folder of a run, a .keras file, or trained weights that 'main.py list' "
            f"names; received {value!r}"
        )
    return value


def _check_image_source(value):
    if value != "-" and not glob.has_magic(text(value)) and not Path(value).exists():
        raise SettingError(
            f"must be image files, folders, patterns, or -; there is nothing called {value!r}"
        )
    return value


def _check_boolean(value):
    if isinstance(value, str):  # from a flag that takes a word
        value = {"true": True, "false": False}.get(value, value)
    if not isinstance(value, bool):
        raise SettingError(f"must be true or false; received {value!r}")
    return value


def _check_interval(value):
    if not re.fullmatch("[1-9][0-9]{0,8}m?", str(value), re.ASCII) or isinstance(value, bool):
        raise SettingError(f"must be steps such as 500 or minutes such as 10m; received {value!r}")
    return str(value)


def _check_address(value):
    if not re.fullmatch(r"[^\s,]+:[0-9]{1,5}", str(value), re.ASCII):
        raise SettingError(f"must be ADDRESS:PORT such as 10.0.0.1:1234; received {value!r}")
    return value


def _check_checksums(value):
    if not isinstance(value, dict) or not all(isinstance(v, str) for v in value.values()):
        raise SettingError(f"must be an object of names and SHA-256 sums; received {value!r}")
    return dict(value)


def optional(kind: Kind) -> Kind:
    """A value of a kind, or `None`."""
    return dataclasses.replace(
        kind, check=lambda value: None if value is None else kind.check(value)
    )


# kinds without parameters
text = Kind(_check_text, "TEXT")
path = Kind(_check_text, "PATH", None)
run_folder = Kind(
    _check_run, "RUN", None
)  # checked before a backend is loaded, which takes seconds
run_or_weights = Kind(_check_run_or_weights, "RUN", None)
trained_network = Kind(_check_trained_network, "RUN|FILE.keras|WEIGHTS", None)
image_source = Kind(_check_image_source, "PATH", None)
boolean = Kind(_check_boolean, "true|false")
words = Kind(_check_words, "WORD[,WORD...]", None)
descriptor = Kind(_check_descriptor, "WORD[,WORD...]", None)  # words, or "conv" alone
specification = Kind(_check_specification, "MODULE", split_specifications)
seeds = Kind(_check_seeds, "SEEDS", None)
interval = Kind(_check_interval, "STEPS|MINUTESm")
checksums = Kind(_check_checksums, "", None)
address = Kind(_check_address, "ADDRESS:PORT", None)
