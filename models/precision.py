"""The precision of a whole model: copies in another one, and saving as float32.

In mixed precision the weights are float32, and most layers compute in half precision. A model that
is saved so would compute in half precision wherever it is loaded, slowly on most machines. What is
saved is therefore a float32 model, and whoever loads it chooses the precision to compute in.
"""

import contextlib
from collections.abc import Iterator
from typing import Any

import keras

from .fast import install
from .finalization import finalize_layers
from .graphs import deep_graphs
from .private_api import all_layers

POLICY = "DTypePolicy"  # the class of a layer's precision in a configuration
# in float32 in every model of this package: raw pixels have too many digits for half precision, as
# have sums over a map, the loss and the probabilities
FLOAT32_LAYERS = ("normalization", "avg_pool", "logits", "predictions")
# likewise, whatever they are called in a model of others
OF_PIXELS = (keras.layers.Normalization, keras.layers.Rescaling)


def is_mixed(layer: keras.layers.Layer) -> bool:
    """Returns whether a layer has float32 weights and computes in half precision."""
    return layer.variable_dtype == "float32" and layer.compute_dtype in ("bfloat16", "float16")


def precision_of(model: keras.Model) -> str:
    """Returns the dtype policy of a model's layers: that of the first that is not in float32.

    Args:
        model: a `keras.Model`.

    Returns:
        A string such as `"float32"` or `"mixed_bfloat16"`.
    """
    names = [layer.dtype_policy.name for layer in all_layers(model) if _computes(layer)]
    return next((name for name in names if name != "float32"), "float32")


def _computes(layer):
    """Whether a layer has a precision of its own: a model and an input have what was set last."""
    return not isinstance(layer, (keras.Model, keras.layers.InputLayer))


def in_precision(model: keras.Model, policy: str) -> keras.Model:
    """Returns a model with the same weights that computes in another precision.

    Args:
        model: a Functional or Sequential `keras.Model`.
        policy: string, a dtype policy with float32 weights: `"float32"`, `"mixed_bfloat16"` or
            `"mixed_float16"`. It is that of the models and layers inside others too. The layers
            named in `FLOAT32_LAYERS` are in float32 with any, and so are the gates that attention
            computes from pooled values.

    Returns:
        The model itself if it computes in `policy`, and a copy otherwise.
    """
    if precision_of(model) == policy:
        return model

    def copy(layer):
        if not isinstance(layer, keras.layers.Layer):
            return layer  # a function of keras.ops, without any state
        is_float32 = layer.name in FLOAT32_LAYERS or isinstance(layer, OF_PIXELS)
        own = "float32" if is_float32 else policy
        return type(layer).from_config({**_with_policy(layer.get_config(), own), "dtype": own})

    with deep_graphs(), default_policy(policy):
        other = keras.models.clone_model(model, clone_function=copy, recursive=True)
    other.set_weights(model.get_weights())
    finalize_layers(other)
    return install(other)


def _with_policy(item: Any, policy: str) -> Any:
    """A layer's configuration, or a part of it, with a policy for the layers that are in it.

    Those that a layer makes in its `build`, such as the ones of gates, are in no configuration.
    """
    if isinstance(item, (list, tuple)):
        return type(item)(_with_policy(part, policy) for part in item)
    if not isinstance(item, dict):
        return item
    config = item.get("config")
    if isinstance(config, dict):
        if item.get("class_name") == POLICY:
            return {**item, "config": {**config, "name": policy}}
        of_pixels = item.get("class_name") in [kind.__name__ for kind in OF_PIXELS]
        if of_pixels or config.get("name") in FLOAT32_LAYERS:
            policy = "float32"
    return {key: _with_policy(part, policy) for key, part in item.items()}


@contextlib.contextmanager
def default_policy(policy: str) -> Iterator[None]:
    """A context in which a layer that is made without a dtype policy has this one.

    A layer of a user's own often makes layers in its `build` and gives them no policy. They have to
    compute in the precision of that layer, whatever the program computes in at the time.

    Args:
        policy: string, a dtype policy.
    """
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


@contextlib.contextmanager
def as_float32(model: keras.Model) -> Iterator[keras.Model]:
    """A context in which a model in mixed precision has the configuration of a float32 model.

    It is for saving the model: what was traced before stays in mixed precision.

    Args:
        model: a `keras.Model`.
    """
    mixed = {layer: layer.dtype_policy for layer in all_layers(model) if is_mixed(layer)}
    try:
        for layer in mixed:
            layer.dtype_policy = "float32"
        yield model
    finally:
        for layer, policy in mixed.items():
            layer.dtype_policy = policy
