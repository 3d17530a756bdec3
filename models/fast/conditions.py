"""Where the fast forms apply that join passes over a feature map."""

import math

import keras

from ..private_api import TRAINER_FUNCTIONS, traced_functions

# of a feature map: for less, passes cost as little apart, or compiling costs more than it saves
LEAST_POSITIONS = 16
LEAST_VALUES = 4096


def passes_join(x):
    """Whether several passes over a map can be joined to one, and it is worth it."""
    return (
        is_tensorflow_on_cpu()
        and x.dtype == "float32"
        and None not in x.shape[1:]
        and math.prod(x.shape[1:3]) >= LEAST_POSITIONS
        and math.prod(x.shape[1:]) >= LEAST_VALUES
        and in_a_step_of_keras()
    )


def in_a_step_of_keras():
    """Whether Keras's trainer is tracing a step.

    What another traces may be exported, and should then hold nothing of XLA.
    """
    return bool(traced_functions() & TRAINER_FUNCTIONS)


def is_tensorflow_on_cpu():
    """Whether the backend is TensorFlow, and has no GPU."""
    if keras.backend.backend() != "tensorflow":
        return False
    import tensorflow as tf

    return not tf.config.list_physical_devices("GPU")
