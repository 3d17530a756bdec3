"""Where other computations can take the place of the plain ones here.

Attention layers announce themselves, and those layers inside them that may be computed in another
way. `models/attention_module.py` has `models/fast` listen; this package knows nothing of it.
"""

import weakref
from collections.abc import Callable
from typing import TypeVar

import keras

Layer = TypeVar("Layer", bound=keras.layers.Layer)

_ANNOUNCED: weakref.WeakSet = weakref.WeakSet()
_LISTENERS: list[Callable[[keras.layers.Layer], object]] = []


def listen(listener: Callable[[keras.layers.Layer], object]) -> None:
    """Has a function called with every layer that is announced from now on."""
    _LISTENERS.append(listener)


def announce(layer: Layer) -> Layer:
    """Hands a new layer to all listeners, and returns it."""
    _ANNOUNCED.add(layer)
    for listener in _LISTENERS:
        listener(layer)
    return layer


def is_announced(layer: keras.layers.Layer) -> bool:
    """Returns whether a layer was handed to `announce`."""
    return layer in _ANNOUNCED
