"""Pickled data read without an unpickler: opcodes become values, and no code is ever run."""

import pickletools
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ..system.errors import UserError

LARGEST_FILE = 256 * 2**20  # bytes; the largest official file has 155 MB
MOST_OPCODES = 10**6  # the largest official file has some 200,000


def read_pickle(path: Path) -> dict[bytes, Any]:
    """Reads a pickled dictionary of numbers, text, lists, dictionaries and arrays of numbers.

    The memory that it needs is bounded by the size of the file.

    Args:
        path: path of the file.

    Returns:
        A dictionary with bytes keys.

    Raises:
        UserError: the file is missing, empty, too large or damaged, or would run code if it were
            unpickled.
    """
    if not path.is_file():
        raise UserError(f"{path} is missing")
    size = path.stat().st_size
    if not 0 < size <= LARGEST_FILE:
        raise UserError(f"{path} has {size} bytes; a batch file has 1 to {LARGEST_FILE}")
    try:
        content = _load(path.read_bytes())
        if isinstance(content, dict):
            return {
                key.encode() if isinstance(key, str) else key: _to_array(value)
                for key, value in content.items()
            }
    except _ForbiddenName as error:
        raise UserError(f"{path} wants to run {error}, which no batch file does; refused") from None
    except Exception as error:  # a damaged pickle can fail in any way
        reason = str(error) or type(error).__name__
        raise UserError(f"{path} is truncated, damaged or no CIFAR batch ({reason})") from error
    raise UserError(f"{path} is no CIFAR batch: it holds a {type(content).__name__}")


class _ForbiddenName(Exception):
    """A pickle names a function or class that no data needs."""


def _load(content: bytes) -> Any:
    stack = _Stack()
    for count, (opcode, value, _) in enumerate(pickletools.genops(content)):
        if count == MOST_OPCODES:
            raise ValueError(f"it has more than {MOST_OPCODES} opcodes")
        if opcode.name == "STOP":
            return stack.values.pop()
        if not stack.take(opcode.name, value):
            raise ValueError(f"opcode {opcode.name} is not for data")
    raise AssertionError("genops ends with STOP")


class _Stack:
    """The values of a pickle, as its opcodes make and combine them."""

    def __init__(self) -> None:
        self.values: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[Any, Any] = {}

    def take(self, opcode: str, value: Any) -> bool:
        """Does what an opcode says; returns whether it is known."""
        return (
            self._take_literal(opcode, value)
            or self._take_sequence(opcode)
            or self._take_dictionary(opcode)
            or self._take_name(opcode, value)
        )

    def _take_literal(self, opcode: str, value: Any) -> bool:
        match opcode:
            case "PROTO" | "FRAME":
                pass
            case "NONE" | "NEWTRUE" | "NEWFALSE":
                self.values.append({"NONE": None, "NEWTRUE": True, "NEWFALSE": False}[opcode])
            case "STRING" | "BINSTRING" | "SHORT_BINSTRING":  # Python 2's bytes
                self.values.append(value.encode("latin-1"))
            case (
                "INT" | "BININT" | "BININT1" | "BININT2" | "LONG" | "LONG1" | "LONG4" | "FLOAT"
                | "BINFLOAT" | "UNICODE" | "BINUNICODE" | "SHORT_BINUNICODE" | "BINUNICODE8"
                | "BINBYTES" | "SHORT_BINBYTES" | "BINBYTES8" | "BYTEARRAY8"
            ):  # fmt: skip
                self.values.append(value)
            case _:
                return False
        return True

    def _take_sequence(self, opcode: str) -> bool:
        match opcode:
            case "MARK":
                self.marks.append(len(self.values))
            case "POP":
                self.values.pop()
            # tuples become lists, which cannot be keys: hashing a nested tuple could take forever
            case "EMPTY_LIST" | "EMPTY_TUPLE":
                self.values.append([])
            case "LIST" | "TUPLE":
                self.values.append(self._pop_to_mark())
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                length = int(opcode[-1])
                self.values[-length:] = [self.values[-length:]]
            case "APPEND":
                item = self.values.pop()
                self.values[-1].append(item)
            case "APPENDS":
                items = self._pop_to_mark()
                self.values[-1].extend(items)
            case _:
                return False
        return True

    def _take_dictionary(self, opcode: str) -> bool:
        match opcode:
            case "EMPTY_DICT":
                self.values.append({})
            case "DICT":
                items = self._pop_to_mark()
                self.values.append({})
                _set(self.values[-1], items)
            case "SETITEM":
                items = [self.values.pop(-2), self.values.pop()]
                _set(self.values[-1], items)
            case "SETITEMS":
                items = self._pop_to_mark()
                _set(self.values[-1], items)
            case _:
                return False
        return True

    def _take_name(self, opcode: str, value: Any) -> bool:
        match opcode:
            case "PUT" | "BINPUT" | "LONG_BINPUT":
                self.memo[value] = self.values[-1]
            case "MEMOIZE":
                self.memo[len(self.memo)] = self.values[-1]
            case "GET" | "BINGET" | "LONG_BINGET":
                self.values.append(self.memo[value])
            case "GLOBAL":
                self.values.append(_maker(value.replace(" ", ".")))
            case "STACK_GLOBAL":
                name = self.values.pop()
                self.values.append(_maker(f"{self.values.pop()}.{name}"))
            case "REDUCE":
                arguments = self.values.pop()
                maker = self.values.pop()
                self.values.append(maker(arguments))
            case "BUILD":
                state = self.values.pop()
                self.values[-1].set_state(state)
            case _:
                return False
        return True

    def _pop_to_mark(self) -> list[Any]:
        start = self.marks.pop()
        items = self.values[start:]
        del self.values[start:]
        return items


def _set(dictionary: dict[Any, Any], items: list[Any]) -> None:
    for key, value in zip(items[::2], items[1::2], strict=True):
        if not isinstance(key, (bytes, str)):  # the hashes of numbers could be made to collide
            raise ValueError(f"a key is a {type(key).__name__}")
        dictionary[key] = value


class _Dtype:
    """Stands for `numpy.dtype`; only numbers are allowed."""

    def __init__(self, arguments: list[Any]) -> None:
        code = arguments[0].decode() if isinstance(arguments[0], bytes) else arguments[0]
        if not re.fullmatch("b1|[iu][1248]|f[248]", code):
            raise ValueError(f"dtype {code} is no number")
        self.dtype = np.dtype(code)

    def set_state(self, state: list[Any]) -> None:
        order: Any = state[1].decode() if isinstance(state[1], bytes) else state[1]
        self.dtype = self.dtype.newbyteorder(order)


class _Array:
    """Stands for an array as NumPy 1 and 2 pickle it up to protocol 4."""

    def __init__(self, arguments: list[Any]) -> None:
        self.value: np.ndarray | None = None

    def set_state(self, state: list[Any]) -> None:
        _, shape, dtype, fortran, data = state
        self.value = _from_buffer([data, dtype, shape, "F" if fortran else "C"]).value


def _from_buffer(arguments: list[Any]) -> _Array:
    """Makes an array as protocol 5 has it."""
    data, dtype, shape, order = arguments
    array = _Array([])
    array.value = np.frombuffer(data, dtype.dtype).reshape(shape, order=order)
    return array


def _scalar(arguments: list[Any]) -> Any:
    dtype, data = arguments
    (number,) = np.frombuffer(data, dtype.dtype)
    return number


def _encode(arguments: list[Any]) -> bytes:
    """Makes bytes, which Python 3 writes as text in protocols 0 to 2."""
    text, encoding = arguments
    if encoding != "latin1":
        raise ValueError(f"encoding {encoding!r}")
    return text.encode("latin-1")


def _to_array(value: Any) -> Any:
    return value.value if isinstance(value, _Array) else value


# all that a pickle may name: what makes the value of it and its list of arguments
_MAKERS: dict[str, Callable[[list[Any]], Any] | None] = {
    "_codecs.encode": _encode,
    "numpy.dtype": _Dtype,
    "numpy.ndarray": None,  # an argument of `_reconstruct`, never called
    **{f"numpy.{core}.multiarray._reconstruct": _Array for core in ("core", "_core")},
    **{f"numpy.{core}.multiarray.scalar": _scalar for core in ("core", "_core")},
    **{f"numpy.{core}.numeric._frombuffer": _from_buffer for core in ("core", "_core")},
}


def _maker(name: str) -> Callable[[list[Any]], Any] | None:
    if name not in _MAKERS:
        raise _ForbiddenName(name)
    return _MAKERS[name]
