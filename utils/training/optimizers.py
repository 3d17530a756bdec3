"""Optimizers whose weight decay is the L2 penalty of the published recipes."""

import keras
from keras import ops

from models.private_api import optimized_variables

from ..system.backend_devices import replicas


class _L2Penalty:
    """Adds the gradient of `l2 / 2 * sum(kernel ** 2)` before the optimizer sees it.

    Keras's own `weight_decay` is decoupled: it shrinks the weights beside the update. The published
    recipes decay through the gradient, and so through the momentum. Doing it here rather than with
    regularizers keeps the penalty out of the loss that is reported and saves their time. Kernels
    alone decay (weights of two or more axes), as in the seed's recipe.
    """

    l2 = 0.0

    def apply(self, grads, trainable_variables=None):
        if trainable_variables is None:
            variables = optimized_variables(self)
        else:
            variables = trainable_variables = list(trainable_variables)
        l2 = self.l2 / replicas()  # the replicas' gradients are added up after this
        grads = [
            grad if grad is None or len(variable.shape) < 2
            else grad + l2 * ops.cast(variable, grad.dtype)
            for grad, variable in zip(grads, variables, strict=True)
        ]  # fmt: skip
        super().apply(grads, trainable_variables)


class SGD(_L2Penalty, keras.optimizers.SGD):
    """Stochastic gradient descent with an L2 penalty; the options are Keras's."""


class Adam(_L2Penalty, keras.optimizers.Adam):
    """Adam with an L2 penalty; the options are Keras's."""


# name -> (class, its options)
OPTIMIZERS = {
    "sgd": (SGD, {"momentum": 0.9, "nesterov": True}),
    "adam": (Adam, {}),
}


def make_optimizer(name, learning_rate, l2=0.0, ema=0.0):
    """Makes an optimizer.

    Args:
        name: `"sgd"` (Nesterov momentum 0.9) or `"adam"`.
        learning_rate: float or `LearningRateSchedule`.
        l2: float, weight of the L2 penalty on kernels, PyTorch's `weight_decay`. Defaults to 0.
        ema: float, momentum of a moving average of the weights; 0 for none. Defaults to 0.

    Returns:
        A `keras.optimizers.Optimizer`.
    """
    optimizer_class, options = OPTIMIZERS[name]
    if ema:
        options = {**options, "use_ema": True, "ema_momentum": ema}
    optimizer = optimizer_class(learning_rate, **options)
    optimizer.l2 = l2
    return optimizer
