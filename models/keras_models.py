"""Any Keras model as an architecture: those of `keras.applications`, and saved files."""

import difflib
import inspect
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import NoneType
from typing import Any

import keras
from keras import layers, ops

from .attention.registry import AttentionModule, at_identity
from .attention.specification import DEFAULT_PLACES, AttentionSpec, places_of
from .blocks import channel_axis
from .builder import classifier_head, require_places
from .fast import install
from .finalization import finalize_layers
from .graphs import as_graph, deep_graphs
from .imagenet import application
from .inputs import Shape, image_input
from .precision import default_policy, in_precision
from .preprocessing import preprocessing_layers
from .private_api import arguments_of, calls, is_functional, operation_of
from .saving import load_model
from .specification import APPLICATIONS
from .surgery import add_attention

RESERVED = {"logits", "predictions"}  # names of the layers of `classifier_head`
IMAGE_SIZE = 224  # height and width, if none are given
AUTO_PLACES = (DEFAULT_PLACES, ("auto",))  # in these models, "auto" of `add_attention`
# layers that may follow the scores of a classifier
ACTIVATIONS = (layers.Activation, layers.Softmax)
PROBABILITIES = (keras.activations.softmax, keras.activations.sigmoid)
SCORES = (keras.activations.linear, *PROBABILITIES)  # activations of their last layer


def keras_model(name: str) -> Callable[..., keras.Model]:
    """Returns the function that builds a network from a model of Keras.

    Args:
        name: string, `"keras.applications/EfficientNetV2B0"`, or the path of a `.keras` file.

    Returns:
        A function with the options that all architectures have and that make sense here:
        `input_shape` or `input_tensor`, raw pixels; `classes`; `classifier_activation`;
        `attention_module`; `attention_at`, `"auto"` or names of layers as for `add_attention`;
        `name`. A network of `keras.applications` also takes `weights`, its own options, such as
        `alpha`, and `trained`, whether attention starts at the identity, by default where there
        are `weights`. A file also takes `preprocess`, the name of a module of `keras.applications`
        whose `preprocess_input` its network needs, and has its own `input_shape` by default.

    Raises:
        ValueError: `keras.applications` has no such network, or there is no such file. The
            function raises it for an option that it does not have.
    """
    if not name.startswith(APPLICATIONS):
        if not Path(name).is_file():
            raise ValueError(f"there is no file {name!r}")
        return _from_file(name)
    network = name.removeprefix(APPLICATIONS)
    known = [each for each in dir(keras.applications) if each[0].isupper()]
    if network not in known:
        close = difflib.get_close_matches(network, known, n=1, cutoff=0.4)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        raise ValueError(
            f"keras.applications has no network {network!r}.{hint} Known: {', '.join(known)}"
        )
    return _from_application(getattr(keras.applications, network))


def _from_application(constructor: Callable[..., keras.Model]) -> Callable[..., keras.Model]:
    own = _own_options(constructor)

    def build(
        input_shape: Shape | None = None,
        input_tensor: keras.KerasTensor | None = None,
        weights: str | None = None,
        classes: int = 10,
        classifier_activation: str | None = "softmax",
        attention_module: AttentionModule = None,
        attention_at: str | Sequence[str] = DEFAULT_PLACES,
        name: str | None = None,
        trained: bool | None = None,
        **options: Any,
    ) -> keras.Model:
        _refuse_unknown(constructor.__name__, build, options, own)
        image = image_input(input_shape, input_tensor, IMAGE_SIZE)
        preprocess = sys.modules[constructor.__module__].preprocess_input
        with default_policy("float32"), deep_graphs():
            pixels = _preprocessed(image, preprocess)
            model = _with_weights(
                constructor, weights, input_tensor=pixels, input_shape=pixels.shape[1:], **options
            )
        name = name or constructor.__name__.lower()
        is_trained = weights is not None if trained is None else trained
        return _finished(
            model, attention_module, attention_at, is_trained, classes, classifier_activation, name
        )

    build.__signature__ = _signature(build, own)  # type: ignore[attr-defined]
    return build


def _from_file(path: str) -> Callable[..., keras.Model]:
    def build(
        input_shape: Shape | None = None,
        input_tensor: keras.KerasTensor | None = None,
        classes: int = 10,
        classifier_activation: str | None = "softmax",
        attention_module: AttentionModule = None,
        attention_at: str | Sequence[str] = DEFAULT_PLACES,
        name: str | None = None,
        preprocess: str | None = None,
        **unknown: Any,
    ) -> keras.Model:
        _refuse_unknown(path, build, unknown)
        source = as_graph(load_model(path))
        if input_tensor is None:
            input_shape = input_shape or _shape_of_images(source)
        image = image_input(input_shape, input_tensor, IMAGE_SIZE)
        function = None if preprocess is None else _preprocess_input(preprocess)
        with default_policy("float32"), deep_graphs():
            pixels = image if function is None else _preprocessed(image, function)
            model = _on_input(source, pixels, path)
        return _finished(
            model, attention_module, attention_at, True, classes, classifier_activation, name
        )

    build.__signature__ = _signature(build, [])  # type: ignore[attr-defined]
    return build


def _refuse_unknown(name, build, options, own=()):
    """Refuses options that a model of Keras does not have here, such as `include_top`."""
    unknown = sorted(set(options) - set(own))
    if unknown:
        known = ", ".join(inspect.signature(build).parameters)
        raise ValueError(f"{name} has no option {', '.join(map(repr, unknown))}; it takes {known}")


def _own_options(constructor: Callable[..., Any]) -> list[str]:
    """What a network of `keras.applications` can be told beyond what is told to all of them."""
    common = (
        "include_top", "weights", "input_tensor", "input_shape", "pooling", "classes",
        "classifier_activation", "name", "weights_name",
    )  # fmt: skip
    parameters = inspect.signature(constructor).parameters.values()
    return [p.name for p in parameters if p.name not in common and p.kind is not p.VAR_KEYWORD]


def _signature(build: Callable[..., Any], own: Sequence[str]) -> inspect.Signature:
    """The signature of a function with the options of a network in the place of `**options`."""
    parameters = [
        p for p in inspect.signature(build).parameters.values() if p.kind is not p.VAR_KEYWORD
    ]
    keyword = inspect.Parameter.KEYWORD_ONLY
    return inspect.Signature([*parameters, *(inspect.Parameter(name, keyword) for name in own)])


def _preprocessed(image, function):
    """Pixels as a network was trained on them; gray ones are repeated for the three colors."""
    x = image
    if x.shape[channel_axis()] == 1:
        x = layers.Concatenate(axis=channel_axis(), dtype="float32", name="gray_to_rgb")([x] * 3)
    for layer in preprocessing_layers(function):
        x = layer(x)
    return x


def _preprocess_input(module):
    found = getattr(keras.applications, module, None)
    if not inspect.ismodule(found) or not hasattr(found, "preprocess_input"):
        known = [
            name
            for name, each in vars(keras.applications).items()
            if inspect.ismodule(each) and hasattr(each, "preprocess_input")
        ]
        raise ValueError(
            f"preprocess must be one of {', '.join(sorted(known))}; received {module!r}"
        )
    return found.preprocess_input


def _with_weights(constructor, weights, **options):
    """A network of `keras.applications` without its classifier."""
    if weights not in (None, "imagenet"):
        raise ValueError(
            "weights of a network of keras.applications must be None or 'imagenet'; received "
            f"{weights!r}"
        )
    return application(constructor, include_top=False, weights=weights, **options)


def _shape_of_images(source):
    """The shape of a network's images, or `None` if it takes several."""
    shapes = [x.shape[1:] for x in source.inputs] if is_functional(source) else []
    alone = len(shapes) == 1 and len(shapes[0]) == 3 and None not in shapes[0]
    return shapes[0] if alone else None


def _on_input(source, pixels, path):
    """The model computed from `pixels` in the place of its own input."""
    if not is_functional(source):
        raise ValueError(f"{path} must hold a Functional or Sequential model")
    if len(source.inputs) != 1 or len(source.outputs) != 1:
        raise ValueError(
            f"{path} must hold a model with one input and one output; it has "
            f"{len(source.inputs)} and {len(source.outputs)}"
        )
    wanted, given = source.inputs[0].shape[1:], pixels.shape[1:]
    fits = len(wanted) == len(given) and all(
        size in (None, other) for size, other in zip(wanted, given, strict=True)
    )
    if not fits:
        raise ValueError(
            f"the network of {path} takes images of shape {tuple(wanted)}; these are {tuple(given)}"
        )
    image = keras.utils.get_source_inputs(pixels)[0]
    if image is pixels and tuple(wanted) == tuple(given):
        return source
    tensors = {id(source.inputs[0]): pixels}
    for node in calls(source):
        args, kwargs = arguments_of(node, tensors)
        outputs = keras.tree.flatten(node.operation(*args, **kwargs))
        tensors.update(zip(map(id, node.outputs), outputs, strict=True))
    model = keras.Model(image, tensors[id(source.outputs[0])], name=source.name)
    copy = keras.models.clone_model(model)  # of layers that are called once
    copy.set_weights(model.get_weights())
    finalize_layers(copy)
    return copy


def _finished(model, attention, at, is_trained, classes, activation, name):
    """The model with attention and a classifier, in the precision that is set."""
    with deep_graphs():
        model = in_precision(model, keras.config.dtype_policy().name)
        model = _attended(model, attention, at, is_trained)
        own = _classifier(model)
        features = model.outputs[0] if own is None else own.input
        _refuse_reserved_names(features)
        outputs = classifier_head(features, classes, activation)
        network = keras.Model(model.inputs[0], outputs, name=name or model.name)
        if own is not None and own.units == classes:
            bias = [] if own.use_bias else [ops.zeros((classes,))]
            network.get_layer("logits").set_weights([*own.get_weights(), *bias])
    return install(network)


def _attended(model, attention, at, is_trained):
    """The model with attention, which starts at the identity where the model is trained."""
    at = places_of(attention, require_places(at, "'auto', or names of layers"))
    spec = AttentionSpec.parse(attention) if isinstance(attention, (str, NoneType)) else attention
    if isinstance(spec, AttentionSpec) and spec.is_none:
        return model
    start = "identity" if is_trained else "standard"
    started = at_identity(spec) if is_trained and isinstance(spec, AttentionSpec) else None
    if started is not None:  # costs nothing, where `IdentityStart` computes a module twice
        spec, start = started, "standard"
    return add_attention(model, spec, "auto" if at in AUTO_PLACES else at, start=start)


def _classifier(model):
    """The dense layer whose scores are the model's output, but for an activation; or `None`."""
    x = model.outputs[0]
    if len(x.shape) not in (2, 4):
        raise ValueError(
            f"the model must return scores, features or a feature map; it returns {x.shape}"
        )
    x, activations = _before_activations(x)
    layer = operation_of(x)
    # a hidden layer, such as one with a rectifier, gives features
    if isinstance(layer, layers.Dense) and len(x.shape) == 2 and layer.activation in SCORES:
        return layer
    graph = as_graph(layer)
    if is_functional(graph):  # a classifier in a model of its own
        x, inner = _before_activations(graph.outputs[0])
        activations += [*inner, getattr(operation_of(x), "activation", None)]
    for activation in PROBABILITIES:
        if activation in activations:
            raise ValueError(
                f"the model ends in a {activation.__name__}, and no Dense layer of its own graph "
                "gives the scores before it; save it without its classifier, as keras.Model("
                "model.input, FEATURES), where FEATURES is the output of the layer before that"
            )
    return None


def _before_activations(x):
    """What the last layers apply activations to, and these activations."""
    found = []
    while isinstance(operation_of(x), ACTIVATIONS):
        layer = operation_of(x)
        found.append(getattr(layer, "activation", keras.activations.softmax))
        x = layer.input
    return x, found


def _refuse_reserved_names(features):
    """Refuses a network that has layers called as those of the classifier that it gets."""
    network = keras.Model(keras.utils.get_source_inputs(features), features)
    pooled = {"avg_pool"} if len(features.shape) == 4 else set()
    taken = {layer.name for layer in network.layers} & (RESERVED | pooled)
    if taken:
        raise ValueError(
            f"the model has a layer called {', '.join(map(repr, sorted(taken)))}, as one of the "
            "classifier that it gets; give it another name, and save the model again"
        )
