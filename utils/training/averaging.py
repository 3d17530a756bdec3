"""A moving average of the weights, in their place whenever the network is judged or saved."""

import contextlib

import keras
import numpy as np
from keras import ops

from models.private_api import averaged_variables


class WeightAverages(keras.callbacks.Callback):
    """Puts the optimizer's averages in the place of the weights during every validation.

    Keras's own `SwapEMAWeights` swaps by adding and subtracting, which changes the last bits of the
    weights; this one keeps them as they are.
    """

    def __init__(self):
        super().__init__()
        self._stack = contextlib.ExitStack()

    def on_test_begin(self, logs=None):
        self._stack.enter_context(self.in_place())

    def on_test_end(self, logs=None):
        self._stack.close()

    @contextlib.contextmanager
    def in_place(self):
        """A context in which the model has the averages for weights."""
        optimizer = self.model.optimizer
        optimizer = getattr(optimizer, "inner_optimizer", optimizer)  # of loss scaling
        weights = self.model.trainable_variables
        averages = averaged_variables(optimizer)
        # copies: no two variables may share memory, which JAX gives away in a step
        kept, means = (
            [np.array(ops.convert_to_numpy(variable)) for variable in variables]
            for variables in (weights, averages)
        )
        _assign(weights, means)
        try:
            yield
        finally:
            _assign(weights, kept)


def _assign(variables, values):
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)
