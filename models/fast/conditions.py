"""Where it is possible, and worth it, to compute several passes over a feature map as one."""

import contextlib
import math

import keras

from ..private_api import TRAINER_FUNCTIONS, traced_functions

# of a feature map; for less, separate passes cost as little, or compiling costs more than it saves
LEAST_POSITIONS = 16
LEAST_VALUES = 4096
FUSED_DTYPES = ("float32", "bfloat16")

_any_size = 0  # how many contexts of `for_any_size` are open


def can_fuse(x):
    """Returns whether passes over a map `x` are to be fused by XLA.

    They are on TensorFlow's CPU backend, in float32 or bfloat16, for a large map whose shape is
    known but for the batch, and in a graph that Keras's trainer traces. A graph that somebody else
    traces may be exported, and should then hold nothing of XLA.
    """
    return (
        is_tensorflow_on_cpu()
        and len(x.shape) == 4
        and x.dtype in FUSED_DTYPES
        and None not in x.shape[1:]
        and is_large(x)
        and bool(traced_functions() & TRAINER_FUNCTIONS)
    )


def is_large(x, least=LEAST_VALUES):
    """Returns whether a map has as many values, and positions, that compiling is worth it."""
    return bool(_any_size) or (
        math.prod(x.shape[1:3]) >= LEAST_POSITIONS and math.prod(x.shape[1:]) >= least
    )


@contextlib.contextmanager
def for_any_size():
    """A context in which small maps are fused too, which takes longer: for tests."""
    global _any_size
    _any_size += 1
    try:
        yield
    finally:
        _any_size -= 1


def is_tensorflow_on_cpu():
    """Returns whether the backend is TensorFlow, and has no GPU."""
    if keras.backend.backend() != "tensorflow":
        return False
    import tensorflow as tf

    return not tf.config.list_physical_devices("GPU")
