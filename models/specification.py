"""Text that names a callable with options: `cbam_block(ratio=4)`, `my_modules.py:my_block`.

Nothing here needs Keras, so that the command line can check text before a backend is imported.
"""

import ast
import hashlib
import importlib
import importlib.util
import itertools
import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

LONGEST = 2000  # characters
MOST_NAMES = 20  # in an error
APPLICATIONS = "keras.applications/"  # before the name of one of Keras's own networks
EXAMPLE = "cbam_block(ratio=4, order='parallel')"


def parse_specification(text: str) -> tuple[str, dict[str, Any]]:
    """Parses a name with options.

    Args:
        text: string, a name alone, or a name with options in parentheses, as a call in Python is
            written: `"cbam_block(ratio=4, order='parallel')"`. Values are Python literals; nothing
            is run.

    Returns:
        The name, and a dictionary of the options; lists become tuples.

    Raises:
        ValueError: the text is not written like that.

    Example:

    >>> parse_specification("cbam_block(ratio=4)")
    ('cbam_block', {'ratio': 4})
    """
    match = re.fullmatch(r"\s*([^()]*[^()\s])\s*(?:\((.*)\))?\s*", text, re.DOTALL)
    if match is None or len(text) > LONGEST:
        raise _malformed(text)
    name, arguments = match.groups()
    try:
        call = ast.parse(f"f({arguments or ''})", mode="eval").body
        if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name) or call.args:
            raise ValueError("options need names")
        options = {_option_name(k): _as_tuple(ast.literal_eval(k.value)) for k in call.keywords}
    except (SyntaxError, ValueError, TypeError, MemoryError, RecursionError):
        raise _malformed(text) from None
    if len(options) < len(call.keywords):
        raise ValueError(f"{text!r} gives an option twice")
    return name, options


def format_specification(name: str, options: Mapping[str, Any]) -> str:
    """Returns the text that `parse_specification` reads back as the same name and options."""
    arguments = ", ".join(f"{key}={value!r}" for key, value in options.items())
    return f"{name}({arguments})" if arguments else name


def is_reference(name: str) -> bool:
    """Returns whether a name points into a module: `my_modules.py:my_block`, `package.module:f`."""
    return ":" in name


def is_keras_model(name: str) -> bool:
    """Returns whether a name is that of a model of Keras: one of its own, or a `.keras` file."""
    return name.startswith(APPLICATIONS) or name.endswith(".keras")


def load_reference(name: str) -> Callable[..., Any]:
    """Imports what a reference points to.

    Args:
        name: string, `FILE.py:NAME` or `PACKAGE.MODULE:NAME`. A package is looked for in the
            current folder too.

    Returns:
        The callable.

    Raises:
        ValueError: there is no such file, module or callable, or its import fails.
    """
    place, _, attribute = name.rpartition(":")
    if not place.endswith(".py") and Path(place).is_file():
        raise _not_python(name)
    try:
        module = _import_file(Path(place)) if place.endswith(".py") else _import_module(place)
    except Exception as error:  # the user's own code can fail in any way
        raise ValueError(
            f"{place!r} of {name!r} cannot be imported: {type(error).__name__}: {error}"
        ) from error
    found = getattr(module, attribute, None)
    if not callable(found):
        raise ValueError(
            f"{place!r} has no function or class {attribute!r}; it has {_callables_of(module)}"
        )
    return found


def absolute_reference(name: str) -> str:
    """Returns a reference to a file with the file's absolute path; other names as they are."""
    if name.endswith(".keras"):
        return str(Path(name).resolve())
    place, _, attribute = name.rpartition(":")
    return f"{Path(place).resolve()}:{attribute}" if place.endswith(".py") else name


def short_name(name: str) -> str:
    """Returns a name without the file, the module or the folder that it is in."""
    if is_keras_model(name):
        return name.rpartition("/")[2].removesuffix(".keras")
    return name.rpartition(":")[2]


def reference_checksum(name: str) -> str:
    """Returns the SHA-256 of the file that a reference points into, a hex string.

    Raises:
        ValueError: there is no such file or module.
    """
    place = name if name.endswith(".keras") else name.rpartition(":")[0]
    is_file = place.endswith((".py", ".keras"))
    path = Path(place) if is_file else _file_of_module(place)
    if path is None or not path.is_file():
        if Path(place).exists():
            raise _not_python(name)
        raise ValueError(f"{name!r} points to no file: {place!r} is not there")
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _option_name(keyword: ast.keyword) -> str:
    if keyword.arg is None:
        raise ValueError("** is not allowed")
    return keyword.arg


def _as_tuple(value: Any) -> Any:
    """A literal with tuples in the place of lists, which have no hash."""
    return tuple(map(_as_tuple, value)) if isinstance(value, (list, tuple)) else value


def _not_python(name: str) -> ValueError:
    return ValueError(
        f"{name!r} points to no file of Python: write FILE.py:NAME or PACKAGE.MODULE:NAME"
    )


def _malformed(text: str) -> ValueError:
    shown = text if len(text) <= 200 else f"{text[:200]}..."
    return ValueError(
        f"must be a name, or a name with options such as {EXAMPLE!r}, whose values are numbers, "
        f"strings, True, False, None or tuples of these; received {shown!r}"
    )


def _import_file(path: Path) -> Any:
    """Imports a file once, whatever its path is written like."""
    path = path.resolve()
    name = f"{path.stem}_{hashlib.sha256(str(path).encode()).hexdigest()[:8]}"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, path)
        if spec is None or spec.loader is None or not path.is_file():
            raise FileNotFoundError(f"there is no file {path}")
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        try:
            spec.loader.exec_module(module)
        except BaseException:
            del sys.modules[name]
            raise
    return sys.modules[name]


def _import_module(name: str) -> Any:
    _look_in_current_folder()
    return importlib.import_module(name)


def _file_of_module(name: str) -> Path | None:
    _look_in_current_folder()
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError):
        return None
    return Path(spec.origin) if spec is not None and spec.origin else None


def _callables_of(module: Any) -> str:
    """The functions and classes that a module defines itself, for an error."""
    found = (
        name
        for name, value in vars(module).items()
        if callable(value) and getattr(value, "__module__", None) == module.__name__
    )
    return ", ".join(itertools.islice(found, MOST_NAMES)) or "none"


def _look_in_current_folder() -> None:
    """Lets modules be found in the current folder, after all other places."""
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.append(here)
