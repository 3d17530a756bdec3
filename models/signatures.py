"""The options of every architecture and its places for attention, read from its source.

An architecture declares them once, in its function's signature and docstring. Nothing here imports
Keras, so that the command line can list and check them before it imports a backend.
"""

import ast
import dataclasses
import functools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from . import _location, list_models

# what the command line does not set, or sets in another way
NOT_OPTIONS = ("input_shape", "classes", "num_classes", "attention_module", "name")
COMMON_PLACES = ("block", "stage", "head")
KINDS: dict[str, type] = {"int": int, "float": float, "bool": bool, "str": str}


@dataclasses.dataclass(frozen=True)
class Option:
    """An option of an architecture."""

    name: str
    kind: type  # int, float, bool or str
    choices: tuple[str, ...]  # the values allowed; empty if there is no list of them
    default: Any
    help: str  # the first sentence that the docstring says about it, without type and full stop


def architecture_options(name: str) -> dict[str, Option]:
    """Returns the options that an architecture has beyond the common ones.

    Args:
        name: string, one of `list_models()`.

    Returns:
        Dictionary from names to `Option`s, in the order of the function's signature.

    Raises:
        ValueError: if the name is unknown, or the source does not declare an option as a literal.

    Example:

    >>> architecture_options("mobilenet")["alpha"].default
    1.0
    """
    file, function = _location(name)
    definition = _definition(file, function)
    descriptions = _descriptions(definition)
    options = {}
    for parameter, default in _parameters(definition):
        option = parameter.arg
        try:
            kind, choices = _kind_and_choices(parameter.annotation)
            value = ast.literal_eval(default)
            text = descriptions[option]
        except (KeyError, TypeError, ValueError):
            raise ValueError(
                f"option {option!r} of {function} in {file}.py needs a type such as int, "
                "float | None or Literal['a', 'b'], a literal default and a line in the docstring"
            ) from None
        options[option] = Option(option, kind, choices, value, text)
    return options


def all_architecture_options() -> dict[str, tuple[tuple[str, Option], ...]]:
    """Returns the options of all architectures.

    Returns:
        Dictionary from an option's name to the pairs `(architecture, option)` that have it, in the
        order of `list_models()`.
    """
    found: dict[str, list[tuple[str, Option]]] = {}
    for name in list_models():
        for option in architecture_options(name).values():
            found.setdefault(option.name, []).append((name, option))
    return {option: tuple(pairs) for option, pairs in found.items()}


def architecture_places(name: str) -> tuple[str, ...]:
    """Returns the values that `attention_at` allows for an architecture.

    Those that all architectures have come first, then the literal `OWN_PLACES` of its file, if
    there is one.

    Args:
        name: string, one of `list_models()`.

    Returns:
        Tuple of strings.

    Raises:
        ValueError: if the name is unknown.
    """
    file, _ = _location(name)
    for statement in _statements(file):
        match statement:
            case ast.Assign(targets=[ast.Name("OWN_PLACES")], value=places):
                return COMMON_PLACES + ast.literal_eval(places)
    return COMMON_PLACES


@functools.cache
def _statements(file: str) -> list[ast.stmt]:
    source = (Path(__file__).parent / f"{file}.py").read_text(encoding="utf-8")
    return ast.parse(source).body


def _definition(file: str, function: str) -> ast.FunctionDef:
    for statement in _statements(file):
        if isinstance(statement, ast.FunctionDef) and statement.name == function:
            return statement
    raise ValueError(f"there is no function {function} in {file}.py")


def _parameters(definition: ast.FunctionDef) -> Iterator[tuple[ast.arg, Any]]:
    """Yields the parameters that are options, with their defaults."""
    arguments = definition.args
    positional = [*arguments.posonlyargs, *arguments.args]
    required = [None] * (len(positional) - len(arguments.defaults))
    parameters = [*positional, *arguments.kwonlyargs]
    defaults = [*required, *arguments.defaults, *arguments.kw_defaults]
    for parameter, default in zip(parameters, defaults, strict=True):
        if parameter.arg not in NOT_OPTIONS:
            yield parameter, default


def _kind_and_choices(annotation: ast.expr | None) -> tuple[type, tuple[str, ...]]:
    """Returns the type and the choices of `int`, `Literal["a", "b"]` or these with `| None`."""
    match annotation:
        case ast.BinOp(left=kind, op=ast.BitOr(), right=ast.Constant(None)):
            return _kind_and_choices(kind)
        case ast.Subscript(value=ast.Name("Literal"), slice=values):
            choices = ast.literal_eval(values)
            choices = choices if isinstance(choices, tuple) else (choices,)
            return type(choices[0]), choices
        case ast.Name(kind):
            return KINDS[kind], ()
    raise ValueError("not a type that an option can have")


def _descriptions(definition: ast.FunctionDef) -> dict[str, str]:
    """Returns the first sentence that the docstring's Args section has for each parameter."""
    section = re.search(
        r"^Args:\n(.*?)(?:^\S|\Z)", ast.get_docstring(definition) or "", re.MULTILINE | re.DOTALL
    )
    entries = re.findall(
        r"^    (\w+): (.*?)(?=^    \S|\Z)", section[1] if section else "", re.MULTILINE | re.DOTALL
    )
    return {parameter: _first_sentence(text) for parameter, text in entries}


def _first_sentence(text: str) -> str:
    sentence = re.split(r"\.(?:\s|$)", " ".join(text.split()))[0]
    return re.sub(r"^(int|float|bool|string), ", "", sentence).replace("`", "")
