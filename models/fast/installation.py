"""Puts fast forms into layers and models, and takes them out again."""

import collections
from typing import TypeVar

import keras

from ..attention.hooks import is_announced
from ..private_api import all_layers, calls, is_functional, operation_of
from .methods import FastMethod, method_of
from .registry import forms_of

Layer = TypeVar("Layer", bound=keras.layers.Layer)


def install(layer: Layer) -> Layer:
    """Gives a layer the fast forms that are registered for it.

    Args:
        layer: a Keras layer or model. In a model, all its layers take their forms, those of the
            models inside it too; in any layer, the attention layers at whatever depth.

    Returns:
        The same layer.

    Example:

    >>> model = install(keras.applications.ResNet50(weights=None))
    """
    for part in _parts(layer):
        for name, forms in forms_of(part).items():
            if name not in vars(part):
                setattr(part, name, FastMethod(part, name, forms))
    for model in all_layers(layer):
        if is_functional(model):
            _set_neighbors(model)
    return layer


def remove(layer: Layer) -> Layer:
    """Gives a layer, and all layers inside it, the methods of their classes back.

    Args:
        layer: a Keras layer or model.

    Returns:
        The same layer.
    """
    for part in all_layers(layer):
        for name in [name for name in vars(part) if method_of(part, name) is not None]:
            delattr(part, name)
    return layer


def is_installed(layer: keras.layers.Layer) -> bool:
    """Returns whether a layer itself has fast forms, enabled or not."""
    return bool(_methods(layer))


def _methods(layer):
    return [value for value in vars(layer).values() if isinstance(value, FastMethod)]


def _parts(layer):
    if isinstance(layer, keras.Model):
        for inner in layer.layers:
            yield from _parts(inner)
    else:
        yield layer
    yield from filter(is_announced, all_layers(layer, include_self=False))


def _set_neighbors(model):
    followers = collections.defaultdict(list)
    for node in calls(model):
        for tensor in node.input_tensors:
            followers[operation_of(tensor)].append(node.operation)
    for operation, following in followers.items():
        method = method_of(operation)
        if method is not None:
            method.followers = following
    for tensor in model.outputs:
        for method in _methods(operation_of(tensor)):
            method.is_output = True
