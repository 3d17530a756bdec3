"""Optimizers whose weight decay is the L2 penalty of the published recipes."""

import functools
import pkgutil
from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from models.private_api import optimized_variables

from ..config.optimization import OPTIMIZERS
from ..system.backend_devices import replicas


class _L2Penalty(keras.optimizers.Optimizer):
    """Adds the gradient of `l2 / 2 * sum(kernel ** 2)` to the gradients of an optimizer.

    It can also have a learning rate for each variable: the attribute `rates` has their factors, in
    the order of the variables.

    Keras's own `weight_decay` is decoupled: it shrinks the weights separately from the update. In
    the published recipes the penalty is part of the gradient, and so of the momentum. Adding it
    here rather than by regularizers keeps it out of the reported loss, and takes less time. It
    applies to kernels only (weights of two or more axes), as in the seed's recipe, and not to those
    whose norm the optimizer bounds itself: a method `bounds_norm` of its own says which.

    Args:
        l2: float, weight of the penalty. Defaults to 0.
        **options: arguments of the optimizer.
    """

    def __init__(self, *, l2: float = 0.0, **options: Any) -> None:
        super().__init__(**options)
        self.l2 = l2
        self.rates: Sequence[float] = ()

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "l2": self.l2}

    def apply(self, grads, trainable_variables=None):
        if trainable_variables is None:
            variables = optimized_variables(self)
        else:
            variables = trainable_variables = list(trainable_variables)
        l2 = self.l2 / replicas()  # the replicas' gradients are added up after this
        grads = [
            grad + l2 * ops.cast(variable, grad.dtype)
            if grad is not None and self._is_penalized(variable) else grad
            for grad, variable in zip(grads, variables, strict=True)
        ]  # fmt: skip
        super().apply(grads, trainable_variables)

    def update_step(self, gradient, variable, learning_rate):
        if self.rates:
            learning_rate = learning_rate * self.rates[self._get_variable_index(variable)]
        super().update_step(gradient, variable, learning_rate)

    def _is_penalized(self, variable):
        bounds_norm = getattr(self, "bounds_norm", None)
        return len(variable.shape) >= 2 and not (bounds_norm and bounds_norm(variable))


@functools.cache
def _with_l2_penalty(optimizer_class):
    """Returns a subclass of a Keras optimizer with the argument `l2`; see `_L2Penalty`."""
    return type(optimizer_class.__name__, (_L2Penalty, optimizer_class), {})


def make_optimizer(
    name: str,
    learning_rate: float | keras.optimizers.schedules.LearningRateSchedule,
    l2: float = 0.0,
    ema: float = 0.0,
) -> keras.optimizers.Optimizer:
    """Makes an optimizer.

    Args:
        name: string, one of `OPTIMIZERS`.
        learning_rate: float or `LearningRateSchedule`.
        l2: float, weight of the L2 penalty on kernels, PyTorch's `weight_decay`. Defaults to 0.
        ema: float, momentum of a moving average of the weights; 0 for none. Defaults to 0.

    Returns:
        A `keras.optimizers.Optimizer`.
    """
    entry = OPTIMIZERS[name]
    optimizer_class = _with_l2_penalty(pkgutil.resolve_name(entry.path))
    average = {"use_ema": True, "ema_momentum": ema} if ema else {}
    return optimizer_class(learning_rate=learning_rate, l2=l2, **entry.options, **average)
