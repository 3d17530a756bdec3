"""Weights that a network takes over from another, layer by layer."""

import dataclasses
import itertools
import json
from collections.abc import Iterator
from typing import Any

import keras

from .attention.base import AttentionLayer
from .attention.identity import IdentityStart
from .finalization import finalize_layers
from .private_api import all_layers, is_functional

NEW = "_attention"  # how the builder and `add_attention` end the names of attention layers
CLASSIFIER = "logits"  # may have another number of classes
# options of an attention layer that do not change what it computes from its weights
WITHOUT_EFFECT = {"name", "dtype", "data_format", "trainable", "autocast", "zero_init"}
OF_THE_START = ("_initializer", "_regularizer")  # how further such options end
MOST_DIFFERENCES = 3  # that a message names


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


def layers_by_path(network: keras.Model, prefix: str = "") -> dict[str, keras.layers.Layer]:
    """Returns the layers of a network, and in the place of a model in it those of that model.

    Args:
        network: a Functional or Sequential `keras.Model`.
        prefix: string, what the paths begin with. Defaults to nothing.

    Returns:
        A dictionary from paths, such as `"conv1"` or `"backbone/conv1"`, to layers. Attention that
        is a model, of the layers of a user's own module, counts as one layer.
    """
    found: dict[str, keras.layers.Layer] = {}
    for layer in network.layers:
        path = f"{prefix}{layer.name}"
        is_graph = is_functional(layer) or isinstance(layer, keras.Sequential)
        if is_graph and not is_attention(layer):
            found |= layers_by_path(layer, f"{path}/")
        else:
            found[path] = layer
    return found


def transfer_weights(model: keras.Model, source: keras.Model) -> Transfer:
    """Copies the weights of a network into another one's layers of the same names.

    New may be attention layers, and a classifier of another number of classes. Everything else must
    be in both networks, with weights of the same shapes, and attention with the same options too:
    with others, such as `start="identity"`, it would compute something else from these weights.

    Args:
        model: a `keras.Model`, the network to fill.
        source: a `keras.Model`, the network to copy from.

    Returns:
        A `Transfer`.

    Raises:
        ValueError: the networks differ in other layers, which it names; nothing is copied then.
    """
    found = {path: layer for path, layer in layers_by_path(source).items() if layer.weights}
    wanted = {path: layer for path, layer in layers_by_path(model).items() if layer.weights}
    attention = [
        name for name, layer in wanted.items() if is_attention(layer) and name not in found
    ]
    alike = [n for n in wanted if n in found and _shapes(wanted[n]) == _shapes(found[n])]
    classifier = CLASSIFIER in wanted and CLASSIFIER in found and CLASSIFIER not in alike
    different = [
        f"{name} is {_shapes(wanted[name])} here and {_shapes(found.get(name))} there"
        for name in wanted
        if name not in (*alike, *attention) and not (classifier and name == CLASSIFIER)
    ]
    different += [f"{name} is there only" for name in found if name not in wanted]
    different += attention_differences(model, source)
    if different:
        raise ValueError(f"the networks differ in other layers: {first_of(different)}")
    for name in alike:
        wanted[name].set_weights(found[name].get_weights())
    finalize_layers(model)
    return Transfer(alike, attention, classifier)


def attention_differences(model: keras.Model, source: keras.Model) -> list[str]:
    """Finds attention that would compute something else from another network's weights.

    Names and shapes do not tell: a gate with `start="identity"` has the weights of one without, and
    is twice as large.

    Args:
        model: a `keras.Model`, the network to fill.
        source: a `keras.Model`, the network to copy from.

    Returns:
        A list of strings, one for each layer of both networks with weights of the same shapes, such
        as `"stage1_attention has start='identity' here and start='published' there"`.
    """
    there = layers_by_path(source)
    found = {
        path: _difference(layer, other)
        for path, layer in layers_by_path(model).items()
        if (other := there.get(path)) is not None
        and any(isinstance(each, (AttentionLayer, IdentityStart)) for each in (layer, other))
        and _shapes(layer) == _shapes(other)
    }
    return [f"{name} {text}" for name, text in found.items() if text]


def first_of(differences: list[str]) -> str:
    """Returns the first differences in one line, and how many there are besides."""
    more = len(differences) - MOST_DIFFERENCES
    return "; ".join(differences[:MOST_DIFFERENCES]) + (f" and {more} more" if more > 0 else "")


def _difference(layer, other):
    """What follows the layers' name: in what they differ, or an empty string."""
    for mine, theirs in itertools.zip_longest(_parts(layer), _parts(other)):
        if _kind(mine) != _kind(theirs):
            return f"is {type(mine).__name__} here and {type(theirs).__name__} there"
        ours, others = _options(mine), _options(theirs)
        differing = [name for name in ours | others if ours.get(name) != others.get(name)]
        if differing:
            here, there = (_shown(each, differing) for each in (mine, theirs))
            return f"has {here} here and {there} there"
    return ""


def _parts(layer: keras.layers.Layer) -> Iterator[keras.layers.Layer]:
    """A layer and those that it has by its configuration."""
    if isinstance(layer, keras.layers.InputLayer):
        return  # its size may be another
    yield layer
    inner = [layer.module] if isinstance(layer, IdentityStart) else []
    for part in layer.layers if isinstance(layer, keras.Model) else inner:
        yield from _parts(part)


def _kind(layer):
    """A layer's class by its registered name: a user's file may have been imported twice."""
    return layer if layer is None else keras.saving.get_registered_name(type(layer))


def _options(layer: keras.layers.Layer) -> dict[str, Any]:
    """The options of a layer that change what it computes from its weights."""
    if isinstance(layer, (IdentityStart, keras.Model)):
        return {}  # the layers in it have them
    config = {
        name: value
        for name, value in layer.get_config().items()
        if name not in WITHOUT_EFFECT and not name.endswith(OF_THE_START)
    }
    gains = [part.starting.gain for part in all_layers(layer) if hasattr(part, "starting")]
    if gains:
        config["start"] = gains  # all else that it sets are initial weights
    # one that is loaded has lists where one that is built has tuples
    return json.loads(json.dumps(config, default=str))


def _shown(layer, names):
    config = layer.get_config()
    return ", ".join(f"{name}={config.get(name)!r}" for name in names)


def _shapes(layer):
    """The shapes of a layer's weights as text, to compare and to show."""
    if layer is None:
        return "not"
    return ", ".join("x".join(map(str, weight.shape)) or "1" for weight in layer.weights)
