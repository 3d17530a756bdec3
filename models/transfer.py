"""Weights that a network takes over from another, layer by layer."""

import dataclasses

import keras

from .attention.base import AttentionLayer
from .attention.identity import IdentityStart

NEW = "_attention"  # how the builder and `add_attention` end the names of attention layers
CLASSIFIER = "logits"  # may have another number of classes


@dataclasses.dataclass(frozen=True)
class Transfer:
    """What a network took over, and what it did not.

    Attributes:
        taken: list of names of the layers that have the other network's weights.
        attention: list of names of attention layers that the other network does not have.
        classifier: bool, whether the classifier is new, as the number of classes differs.
    """

    taken: list[str]
    attention: list[str]
    classifier: bool


def is_attention(layer: keras.layers.Layer) -> bool:
    """Returns whether a layer is attention, or a model of the layers of a user's own module."""
    return isinstance(layer, (AttentionLayer, IdentityStart)) or layer.name.endswith(NEW)


def transfer_weights(model: keras.Model, source: keras.Model) -> Transfer:
    """Copies the weights of a network into another one's layers of the same names.

    New may be attention layers, and a classifier of another number of classes. Everything else must
    be in both networks, with weights of the same shapes.

    Args:
        model: a `keras.Model`, the network to fill.
        source: a `keras.Model`, the network to copy from.

    Returns:
        A `Transfer`.

    Raises:
        ValueError: the networks differ in other layers, which it names; nothing is copied then.
    """
    found = {layer.name: layer for layer in source.layers if layer.weights}
    wanted = {layer.name: layer for layer in model.layers if layer.weights}
    attention = [
        name for name, layer in wanted.items() if is_attention(layer) and name not in found
    ]
    alike = [name for name in wanted if name in found and _alike(wanted[name], found[name])]
    classifier = CLASSIFIER in wanted and CLASSIFIER in found and CLASSIFIER not in alike
    different = [
        f"{name} is {_shapes(wanted[name])} here and {_shapes(found.get(name))} there"
        for name in wanted
        if name not in (*alike, *attention) and not (classifier and name == CLASSIFIER)
    ]
    different += [f"{name} is there only" for name in found if name not in wanted]
    if different:
        more = f" and {len(different) - 3} more" if len(different) > 3 else ""
        raise ValueError(f"the networks differ in other layers: {'; '.join(different[:3])}{more}")
    for name in alike:
        wanted[name].set_weights(found[name].get_weights())
    return Transfer(alike, attention, classifier)


def _alike(layer, other):
    return _shapes(layer) == _shapes(other)


def _shapes(layer):
    """The shapes of a layer's weights as text, to compare and to show."""
    if layer is None:
        return "not"
    return ", ".join("x".join(map(str, weight.shape)) or "1" for weight in layer.weights)
