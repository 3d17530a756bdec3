"""Graphs of thousands of layers, for which Keras recurses once per layer."""

import contextlib
import sys
from collections.abc import Iterator


@contextlib.contextmanager
def deep_graphs() -> Iterator[None]:
    """A context in which Keras can handle thousands of layers, as it recurses once per layer."""
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(max(limit, 100_000))
    try:
        yield
    finally:
        sys.setrecursionlimit(limit)
