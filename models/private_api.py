"""All that is used here of Keras and TensorFlow without being in their public interfaces.

A private name can move in any release. No other file uses one, and every function and constant here
has a test in `tests/models/test_private_api.py` that says which name has moved. Comments name the
versions that each was checked with.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any, Protocol


class Node(Protocol):
    """One call of an operation in the graph of a Functional model: Keras's `Node`.

    Attributes:
        operation: the layer, or the function of `keras.ops`, that is called.
        input_tensors: list of Keras tensors, all those among its arguments.
        outputs: list of Keras tensors.
        is_input: bool, whether it stands for an input of the model and computes nothing.
        arguments: Keras's record of the arguments; see `arguments_of`.
    """

    operation: Any
    input_tensors: list[Any]
    outputs: list[Any]
    is_input: bool
    arguments: Any


# The graph of a Functional model: Keras 3.14.1, 3.15.0, 3.15.1, and 3.16 as of August 2026.


def is_functional(operation: Any) -> bool:
    """Returns whether a layer is a Functional model whose outputs are those of its graph."""
    return hasattr(operation, "_nodes_by_depth") and calls_as(operation, "Functional")


def calls_as(layer: Any, keras_class: str) -> bool:
    """Returns whether a layer's `call` is the one that a class of Keras defines.

    Args:
        layer: a Keras layer, perhaps of a subclass.
        keras_class: string, the name of a class of Keras that need not be public.
    """
    caller = next(base for base in type(layer).__mro__ if "call" in vars(base))
    return caller.__name__ == keras_class and caller.__module__.startswith("keras.")


def calls(model: Any) -> list[Node]:
    """Returns the calls in the graph of a Functional model, each after those it depends on."""
    depths = sorted(model._nodes_by_depth, reverse=True)
    return [node for depth in depths for node in model._nodes_by_depth[depth] if not node.is_input]


def operation_of(tensor: Any) -> Any:
    """Returns the layer or operation that a Keras tensor is an output of."""
    return tensor._keras_history.operation


def node_of(tensor: Any) -> Node:
    """Returns the call that a Keras tensor is an output of."""
    operation, number, _ = tensor._keras_history
    return operation._inbound_nodes[number]


def arguments_of(node: Node, tensors: Mapping[int, Any]) -> tuple[tuple, dict]:
    """Returns a call's arguments with other tensors in the place of its own.

    Args:
        node: the call.
        tensors: dictionary from the `id` of each of the call's Keras tensors to another tensor.

    Returns:
        `(args, kwargs)`.
    """
    return node.arguments.fill_in(tensors)


# Layers inside layers: Keras 3.14.1, 3.15.0, 3.15.1, and 3.16 as of August 2026.


def all_layers(layer: Any, include_self: bool = True) -> list[Any]:
    """Returns the layers in a layer or model at any depth, each once; the layer itself first."""
    return layer._flatten_layers(include_self=include_self)


def stored_value(variable: Any) -> Any:
    """Returns the value of a variable as it is stored.

    In the call of a layer with mixed precision, Keras gives a variable's value in half precision.
    """
    from keras.src.backend import AutocastScope

    with AutocastScope(None):
        return variable.value


# Optimizers: Keras 3.14.1, 3.15.0, 3.15.1, and 3.16 as of August 2026.


def optimized_variables(optimizer: Any) -> list[Any]:
    """Returns the variables that a built optimizer updates where it is given none."""
    return optimizer._trainable_variables


def averaged_variables(optimizer: Any) -> list[Any]:
    """Returns the moving averages of an optimizer with `use_ema`, in the order of the variables."""
    return optimizer._model_variables_moving_average


# Keras's trainer: Keras 3.14.1, 3.15.0, 3.15.1, and 3.16 as of August 2026.

# the functions that the trainer traces for `fit`, `evaluate` and `predict` on TensorFlow
TRAINER_FUNCTIONS = {
    "one_step_on_data",
    "one_step_on_data_distributed",
    "multi_step_on_data",
    "multi_step_on_iterator",
}


def synchronize_jax_state(model: Any) -> None:
    """Writes what a running training on JAX holds apart into the model's variables."""
    if hasattr(model, "jax_state_sync"):  # on JAX alone
        model.jax_state_sync()


# The `.keras` file, a zip archive: Keras 3.14.1, 3.15.0, 3.15.1, and 3.16 as of August 2026.

CONFIG_FILE, METADATA_FILE, WEIGHTS_FILE = "config.json", "metadata.json", "model.weights.h5"
DATE_KEY = "date_saved"  # of the metadata
COMPILE_KEY = "compile_config"  # of the config
# in the config: an address in memory, the same for everything that is one object
OBJECT_NUMBER = re.compile(rb'("shared_object_id": )(\d+)')
# what the warnings begin with after which Keras leaves weights as they were
LOST_WEIGHTS = "Skipping"
# the error of a class that is not registered, such as a layer of the user's own
UNKNOWN_CLASS = re.compile(r"Could not locate (?:class|function) '([^']+)'")
# what the error of a `Lambda` of a Python lambda says, which safe mode does not load
UNSAFE_LAMBDA = "deserialization of a `Lambda`"


# TensorFlow: 2.21.0. Imported when called, as TensorFlow need not be there on other backends.


def traced_functions() -> set[str]:
    """Returns the names of the `tf.function`s that are being traced, each inside the next."""
    import tensorflow as tf

    graph, names = tf.compat.v1.get_default_graph(), set()
    while hasattr(graph, "outer_graph"):
        names.add(graph.name)
        graph = graph.outer_graph
    return names


def variadic_reduce(
    tensors: Iterable[Any], starts: Iterable[Any], axis: int, combine: Any
) -> list[Any]:
    """Reduces several tensors along an axis in one loop; only for a function that XLA compiles.

    Args:
        tensors: tensors of one shape.
        starts: a scalar for each, the value of an empty reduction.
        axis: int.
        combine: concrete `tf.function` from two scalars of each tensor, first those of the one
            side, then those of the other, to one of each.

    Returns:
        A list of tensors.
    """
    from tensorflow.compiler.tf2xla.python import xla

    return xla.variadic_reduce(tensors, starts, dimensions_to_reduce=[axis], reducer=combine)
