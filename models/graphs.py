"""Functional models as graphs: of thousands of layers, of a Sequential, and with models inside."""

import contextlib
import sys
from collections.abc import Iterator

import keras

from .private_api import arguments_of, calls, calls_as, is_functional


@contextlib.contextmanager
def deep_graphs() -> Iterator[None]:
    """A context in which Keras can handle thousands of layers, as it recurses once per layer."""
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(max(limit, 100_000))
    try:
        yield
    finally:
        sys.setrecursionlimit(limit)


def as_graph(layer):
    """Returns a built Sequential as a Functional model of the same layers; others as they are."""
    if not isinstance(layer, keras.Sequential) or not calls_as(layer, "Sequential"):
        return layer
    try:
        # tensors, not lists of one: a list would be the structure that other layers meet
        (x,), (y,) = layer.inputs, layer.outputs
        return keras.Model(x, y, name=layer.name)
    except AttributeError:  # it has not seen an input yet
        return layer


def inlined(model: keras.Model) -> keras.Model:
    """Returns a Functional model with the layers of the models inside it in their places.

    Both models share the layers. Without a model inside, it is the model itself.

    Args:
        model: a Functional or built Sequential `keras.Model`.

    Returns:
        A Functional `keras.Model`, which computes the same outside of a training.

    Raises:
        ValueError: two layers have the same name.
    """
    model = as_graph(model)
    if not is_functional(model) or not any(is_functional(as_graph(x)) for x in model.layers):
        return model
    outputs = _inline(model, model.inputs)
    return keras.Model(model.input, keras.tree.pack_sequence_as(model.output, outputs))


def _inline(graph, inputs):
    """The outputs of a graph, called on Keras tensors without calls of models inside it."""
    tensors = dict(zip(map(id, graph.inputs), inputs, strict=True))
    for node in calls(graph):
        inner = as_graph(node.operation)
        if is_functional(inner):
            outputs = _inline(inner, [tensors[id(x)] for x in node.input_tensors])
        else:
            args, kwargs = arguments_of(node, tensors)
            outputs = keras.tree.flatten(node.operation(*args, **kwargs))
        tensors.update(zip(map(id, node.outputs), outputs, strict=True))
    return [tensors[id(x)] for x in graph.outputs]
