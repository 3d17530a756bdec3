"""ImageNet's weights of `keras.applications` in the networks here that are the same."""

import inspect
import os
import sys
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np

from . import architecture
from .attention.identity import IdentityStart
from .attention.registry import _LAYERS, AttentionModule, at_identity
from .attention.specification import DEFAULT_PLACES, AttentionSpec, places_of
from .blocks import channel_axis
from .preprocessing import preprocessing_layers
from .pretrained import NONE_IS_PUBLISHED, TWINS
from .specification import parse_specification
from .transfer import is_attention

CLASSES = 1000


def imagenet_weights(
    build: Callable[..., keras.Model], architecture: str, options: Mapping[str, Any]
) -> keras.Model:
    """Builds an architecture with ImageNet's weights.

    They are downloaded by Keras, and copied in the order of the layers, which both networks build
    alike. Attention starts at the identity: the network then computes what the pretrained one does.
    With the stem for small images, which has other strides, it does not: there, the weights are
    only a start for a training.

    Args:
        build: function that takes options and returns a model.
        architecture: string, its name in `list_models()`.
        options: dictionary of its options, with their defaults.

    Returns:
        A `keras.Model`, for images as the `preprocess_input` of the network in `keras.applications`
        makes them.

    Raises:
        ValueError: `keras.applications` has no such network, the weights cannot be had, or the
            attention module cannot start at the identity in the places that are named.
    """
    name = twin_of(architecture, options)
    attention, at = options.get("attention_module"), options.get("attention_at", DEFAULT_PLACES)
    options = {**options, "attention_at": places_of(attention, at)}
    attention = starting_at_identity(attention)
    if attention is not None and "head" in options["attention_at"]:
        raise ValueError(
            "weights='imagenet' takes attention_at 'block' or 'stage'; 'head' adds what attention "
            "returns to the features, so that it cannot start without changing them"
        )
    options = {**options, "weights": None}
    model = build(**{**options, "attention_module": attention})
    channels = model.inputs[0].shape[channel_axis()]
    if channels != 3:  # said before a download, not after it
        raise ValueError(f"weights='imagenet' are for images of 3 channels; received {channels}")
    features_only = options.get("features_only", False)
    classified = options.get("include_top", True) and options.get("classes") == CLASSES
    own = {"alpha", "depth_multiplier"} & options.keys() if architecture == "mobilenet" else set()
    source = application(
        getattr(keras.applications, name),
        weights="imagenet",
        include_top=classified and not features_only,
        **{key: options[key] for key in own},
    )
    plain = model
    # attention and missing layers change the order in which Keras lists the layers, not their names
    if attention is not None or features_only:
        plain = build(**{**options, "attention_module": None, "features_only": False})
    copy_in_order(source, plain)
    if plain is not model:
        _copy_by_name(plain, model)
    return model


def _copy_by_name(source, target):
    """Copies weights into all layers of a network but attention; the source has more of them."""
    for layer in target.layers:
        if layer.weights and not is_attention(layer):
            layer.set_weights(source.get_layer(layer.name).get_weights())


def application(constructor: Callable[..., keras.Model], **options: Any) -> keras.Model:
    """Builds a network of `keras.applications`, with weights that may have to be downloaded.

    Args:
        constructor: function of `keras.applications`.
        **options: its options.

    Raises:
        ValueError: it does not take an option, or weights cannot be downloaded.
    """
    try:
        with warnings.catch_warnings():
            # the weights without a classifier suit images of any size, which is meant here
            warnings.filterwarnings("ignore", "`input_shape` is undefined")
            return constructor(**options)
    except ValueError:
        raise
    except Exception as error:  # a download can fail in any way; Keras's own error is no kind
        cache = Path(os.environ.get("KERAS_HOME", Path.home() / ".keras")) / "models"
        raise ValueError(
            f"the weights of {constructor.__name__} cannot be had: {error}; without a "
            f"network, put this file into {cache}, where Keras looks first"
        ) from error


def twin_of(architecture: str, options: Mapping[str, Any]) -> str:
    """Returns the network of `keras.applications` that is the same as one of ours.

    Args:
        architecture: string, a name of `list_models()`.
        options: dictionary of its options, with their defaults.

    Raises:
        ValueError: there is none.
    """
    twins = TWINS.get(architecture, {})
    for name, wanted in twins.items():
        if all(_is_published(key, options.get(key), value) for key, value in wanted.items()):
            return name
    if not twins:
        raise ValueError(
            f"weights='imagenet': keras.applications has no {architecture}; it has the networks of "
            f"{', '.join(TWINS)}"
        )
    described = "; ".join(
        f"{name} is {', '.join(f'{key}={value!r}' for key, value in wanted.items())}"
        for name, wanted in twins.items()
    )
    raise ValueError(
        f"weights='imagenet': keras.applications has no {architecture} with these options: "
        f"{described}"
    )


def _is_published(key, option, value):
    return option == value or (option is None and key in NONE_IS_PUBLISHED)


def twin_preprocessing(model: str, options: Mapping[str, Any]) -> list[keras.layers.Layer]:
    """Returns the preprocessing that ImageNet's weights of one of our networks need, as layers.

    Args:
        model: string, an architecture by its name, with or without options.
        options: dictionary of further options.

    Raises:
        ValueError: `keras.applications` has no such network.
    """
    name, given = parse_specification(model)
    parameters = inspect.signature(architecture(name)).parameters.values()
    defaults = {p.name: p.default for p in parameters if p.default is not p.empty}
    twin = getattr(keras.applications, twin_of(name, {**defaults, **given, **options}))
    return preprocessing_layers(sys.modules[twin.__module__].preprocess_input)


def starting_at_identity(attention: AttentionModule) -> AttentionModule:
    """Returns an attention module that changes nothing at first.

    Args:
        attention: `None`, or a module by its name, with or without options.

    Raises:
        ValueError: the module is a function, which cannot be told how to start.
    """
    if attention is None:
        return None
    if not isinstance(attention, (str, AttentionSpec)):
        raise ValueError(
            "weights='imagenet' takes attention by its name, such as 'cbam_block(ratio=16)', which "
            "then starts at the identity; add_attention takes any module"
        )
    spec = AttentionSpec.parse(attention) if isinstance(attention, str) else attention
    started = at_identity(spec)
    if started is not None:
        return started
    layer = _LAYERS.get(spec.name)
    if layer is None:
        raise ValueError(f"{spec.name} has no layer that could start at the identity")

    def block(x: keras.KerasTensor, name: str | None = None) -> keras.KerasTensor:
        return IdentityStart(layer(**dict(spec.options), name="module"), name=name)(x)

    return block


def copy_in_order(source: keras.Model, target: keras.Model) -> None:
    """Copies the weights of a network into ours, layer by layer, in their order.

    A classifier that the source does not have is left as it is. A classifier may be a 1x1
    convolution in one network and a dense layer in the other.

    Args:
        source: a `keras.Model` of `keras.applications`.
        target: a `keras.Model` of the same architecture, without attention.

    Raises:
        ValueError: the networks are not the same.
    """
    give = [layer for layer in source.layers if layer.weights]
    take = [layer for layer in target.layers if layer.weights]
    if len(take) == len(give) + 1 and take[-1].name == "logits":
        take.pop()
    if len(take) != len(give):
        raise ValueError(
            f"{source.name} has {len(give)} layers with weights, {target.name} has {len(take)}"
        )
    pairs = list(zip(take, give, strict=True))
    for ours, theirs in pairs:
        sizes = [[int(np.prod(w.shape)) for w in layer.weights] for layer in (ours, theirs)]
        if sizes[0] != sizes[1]:
            raise ValueError(f"{theirs.name} of {source.name} does not fit {ours.name}")
    for ours, theirs in pairs:
        values = zip(theirs.get_weights(), ours.weights, strict=True)
        ours.set_weights([np.reshape(value, weight.shape) for value, weight in values])
