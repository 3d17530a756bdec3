"""Gradients of a function, which Keras has for its own training only."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np


def gradient(function: Callable[[Any], Any], x: np.ndarray) -> np.ndarray:
    """Computes a gradient by the backend's own functions.

    Args:
        function: function from a tensor to a tensor, such as a Keras model.
        x: array.

    Returns:
        An array, the gradient of the sum of the function's outputs with respect to `x`.
    """
    tensor = keras.ops.convert_to_tensor(x)
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        with tf.GradientTape() as tape:
            tape.watch(tensor)
            total = keras.ops.sum(function(tensor))
        found = tape.gradient(total, tensor)
    elif keras.backend.backend() == "jax":
        import jax

        found = jax.grad(lambda tensor: keras.ops.sum(function(tensor)))(tensor)
    else:
        import torch

        tensor = tensor.detach().requires_grad_()
        (found,) = torch.autograd.grad(keras.ops.sum(function(tensor)), tensor)
    return keras.ops.convert_to_numpy(found)
