"""A moving average of the weights, which replaces them while the network is validated or saved."""

import contextlib
from collections.abc import Iterator

import keras
import numpy as np
from keras import ops

from models.private_api import averaged_variables, optimized_variables

from ..runs.recorder import Logs


class WeightAverages(keras.callbacks.Callback):
    """Replaces the weights by the optimizer's moving averages during every validation.

    Keras's own `SwapEMAWeights` swaps them by adding and subtracting, which changes the last bits
    of the weights. This callback restores the same bits.
    """

    def __init__(self) -> None:
        super().__init__()
        self._stack = contextlib.ExitStack()

    def on_test_begin(self, logs: Logs | None = None) -> None:
        self._stack.enter_context(self.average_weights())

    def on_test_end(self, logs: Logs | None = None) -> None:
        self._stack.close()

    @contextlib.contextmanager
    def average_weights(self) -> Iterator[None]:
        """A context in which the weights of the model are the moving averages."""
        optimizer = self.model.optimizer
        # with `mixed_float16`, Keras wraps the optimizer in one that scales the loss
        optimizer = getattr(optimizer, "inner_optimizer", optimizer)
        # not all that the model has now: a frozen layer is trainable while it is saved
        weights = optimized_variables(optimizer)
        averages = averaged_variables(optimizer)
        # copies: JAX donates the memory of variables to a step, so no two of them may share it
        original, means = (
            [np.array(ops.convert_to_numpy(variable)) for variable in variables]
            for variables in (weights, averages)
        )
        try:
            _assign(weights, means)
            yield
        finally:
            _assign(weights, original)


def _assign(variables, values):
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)
