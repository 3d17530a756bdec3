"""What every architecture shares: the options, the input, the places for attention, the head."""

import contextvars
import functools
import inspect
from collections.abc import Callable, Sequence
from os import PathLike
from typing import Any, ParamSpec, TypeVar

import keras
from keras import layers

from . import pretrained
from .attention.registry import AttentionModule, get_attention
from .attention.specification import places_of
from .blocks import channel_axis
from .checks import require_int, require_one_of
from .fast import install
from .graphs import deep_graphs
from .inputs import Shape, image_input
from .saving import load_weights_by_name
from .signatures import COMMON_PLACES

Options = ParamSpec("Options")
Model = TypeVar("Model")


class Builder:
    """Builds the parts that all architectures share, and defines their common options.

    An architecture makes a `Builder`, starts from its `input`, calls `attend` in every block and
    `end_stage` after every stage, and returns `model(x)`.

    Args:
        input_shape: tuple of three, `(height, width, channels)`, or `(channels, height, width)`
            under `image_data_format="channels_first"`. Height and width may be `None`. Defaults to
            a color image of the size that the architecture was published for.
        include_top: bool, whether the network ends in a classifier. Defaults to `True`.
        weights: `None` for random weights; `"cifar10"` for weights that were trained here
            (`list_weights()` names them), for their `classes` by default; `"imagenet"` for those of
            the same network in `keras.applications`, with attention that changes nothing at first;
            or the path of a `.keras` file that this library saved, whose weights are copied between
            layers of the same name. Defaults to `None`.
        input_tensor: Keras tensor to use as the input, instead of `input_shape`. Defaults to
            `None`.
        pooling: the output where `include_top=False`: `None` for the last feature map, `"avg"` or
            `"max"` for its average or maximum over all positions. Defaults to `None`.
        classes: int, number of classes. Defaults to 10.
        classifier_activation: activation of the classifier; `None` returns logits. Defaults to
            `"softmax"`.
        name: string, the model's name.
        attention_module: `None`, a name from `list_attention()`, such a name with options as in
            `"cbam_block(ratio=4)"`, a module of your own as in `"my_modules.py:my_block"`, a Keras
            layer, a callable on a feature map, or an `AttentionSpec`, whose `at` applies where
            `attention_at` has its default. Defaults to `None`.
        attention_at: string, or a tuple of several: where attention goes. `"block"` is in every
            block, `"stage"` between stages, `"head"` before the classifier, as
            `x + attention(x)`; some architectures have a place of their own. Defaults to
            `"block"`.
        features_only: bool, whether the model returns one feature map per stage, as a dictionary,
            instead of the head's output. Defaults to `False`.
        default_size: int, height and width of the image if neither `input_shape` nor
            `input_tensor` is given. The architecture sets it.

    Raises:
        ValueError: if an option does not allow its value.
    """

    def __init__(
        self,
        input_shape: Shape | None = None,
        include_top: bool = True,
        weights: str | PathLike[str] | None = None,
        input_tensor: keras.KerasTensor | None = None,
        pooling: str | None = None,
        classes: int = 10,
        classifier_activation: str | Callable[..., Any] | None = "softmax",
        name: str | None = None,
        attention_module: AttentionModule = None,
        attention_at: str | Sequence[str] = "block",
        features_only: bool = False,
        default_size: int = 32,
    ) -> None:
        self.include_top = include_top
        self.weights = pretrained.require_weights(weights)
        self.pooling = require_one_of("pooling", pooling, (None, "avg", "max"))
        self.classes = require_int("classes", classes)
        self.classifier_activation = classifier_activation
        self.name = name
        self.attention = get_attention(attention_module)
        common = ", ".join(map(repr, COMMON_PLACES))
        at = require_places(attention_at, f"{common}, or a place of the architecture's own")
        self.attention_at = places_of(attention_module, at)
        self.places = [] if features_only else ["head"]  # feature maps come before the head
        self.features_only = features_only
        self.features: dict[str, keras.KerasTensor] = {}
        self.input = image_input(input_shape, input_tensor, default_size)
        if _only_checking.get():
            raise _OptionsAreFine

    def attend(self, x, name, places=("block",)):
        """Applies the attention module, if `attention_at` names this place.

        Args:
            x: Keras tensor, a feature map.
            name: string, prefix of the attention layer's name, `{name}_attention`.
            places: tuple of strings, the values of `attention_at` that select this place.

        Returns:
            The feature map with attention applied, or `x` itself.
        """
        self.places += [place for place in places if place not in self.places]
        if self.attention is None or not set(places) & set(self.attention_at):
            return x
        return self.attention(x, name=f"{name}_attention")

    def end_stage(self, x, name, last=False):
        """Ends a stage: keeps its feature map for `features_only`, and attends between stages.

        Args:
            x: Keras tensor, the stage's feature map.
            name: string, the stage's name.
            last: bool, whether no stage follows; `attention_at="stage"` then has no place here.

        Returns:
            The feature map that the next stage starts from.
        """
        if not last:
            x = self.attend(x, name, ("stage",))
        self.features[name] = x
        return x

    @property
    def image_size(self):
        """Height and width of the image, `None` where unknown."""
        shape = list(self.input.shape[1:])
        del shape[channel_axis() % 4 - 1]
        return tuple(shape)

    def is_below(self, least):
        """Whether the height or the width is known and less than `least`."""
        return any(size is not None and size < least for size in self.image_size)

    def require_size(self, least):
        """Raises an error if the network would reduce the image to less than one pixel.

        Args:
            least: int, the smallest height and width that the network can process.

        Raises:
            ValueError: if the height or the width is smaller.
        """
        height, width = self.image_size
        if self.is_below(least):
            raise ValueError(
                f"{self.name} takes images of at least {least}x{least} pixels, received "
                f"{height}x{width}"
            )

    def model(self, x, dropout=0.0):
        """Adds the head to the last feature map and returns the model.

        Args:
            x: Keras tensor, the last feature map.
            dropout: float, dropout rate of the pooled features. Defaults to 0.0.

        Returns:
            A Functional `keras.Model`.
        """
        if self.features_only:
            outputs = self.features
        else:
            attended = self.attend(x, "head", ("head",))
            if attended is not x:
                x = layers.Add(name="head_add")([x, attended])
            outputs = self._head(x, dropout)
        check_places(self.name, self.attention_at, self.places)
        inputs = keras.utils.get_source_inputs(self.input)
        inputs = inputs[0] if len(inputs) == 1 else inputs
        with deep_graphs():
            model = keras.Model(inputs, outputs, name=self.name)
        if self.weights is not None:
            load_weights_by_name(model, self.weights)
        return install(model)

    def _head(self, x, dropout):
        if self.include_top:
            return classifier_head(x, self.classes, self.classifier_activation, dropout)
        if self.pooling == "avg":
            return average_pool(x)
        if self.pooling == "max":
            return layers.GlobalMaxPooling2D(name="max_pool")(x)
        return x


def average_pool(x: keras.KerasTensor) -> keras.KerasTensor:
    """Averages a feature map over its positions, in float32 under mixed precision too."""
    return layers.GlobalAveragePooling2D(dtype="float32", name="avg_pool")(x)


def classifier_head(
    x: keras.KerasTensor,
    classes: int,
    activation: str | Callable[..., Any] | None = "softmax",
    dropout: float = 0.0,
) -> keras.KerasTensor:
    """Adds a classifier: the layer `"logits"`, and `"predictions"` if it has an activation.

    Args:
        x: Keras tensor, a feature map `(batch, height, width, channels)`, which is averaged over
            its positions, or features `(batch, channels)`.
        classes: int, number of classes.
        activation: activation of the classifier; `None` returns logits. Defaults to `"softmax"`.
        dropout: float, dropout rate of the features. Defaults to 0.0.

    Returns:
        A Keras tensor `(batch, classes)` in float32.
    """
    if len(x.shape) == 4:
        x = average_pool(x)
    if dropout:
        x = layers.Dropout(dropout, name="dropout")(x)
    # float32 under mixed precision too: softmax needs its range
    x = layers.Dense(classes, dtype="float32", name="logits")(x)
    if activation is None:
        return x
    return layers.Activation(activation, dtype="float32", name="predictions")(x)


def require_places(attention_at: Any, allowed: str) -> tuple[str, ...]:
    """Returns places for attention as a tuple, whether a network has them or not.

    Args:
        attention_at: string or sequence of strings.
        allowed: string, the places in words, for the error.

    Raises:
        ValueError: `attention_at` is neither.
    """
    try:
        places = (attention_at,) if isinstance(attention_at, str) else tuple(attention_at)
    except TypeError:
        places = (attention_at,)
    if not all(isinstance(place, str) for place in places):
        raise ValueError(
            f"attention_at must be a string or several: {allowed}; received {attention_at!r}"
        )
    return places


def check_places(name: str | None, at: Sequence[str], places: Sequence[str]) -> None:
    """Checks that a network has the places where attention is to go.

    Args:
        name: string, the network.
        at: sequence of strings, its `attention_at`.
        places: sequence of strings, the places that it has.

    Raises:
        ValueError: if it lacks one of them, or none is named.
    """
    if not at or not set(at) <= set(places):
        raise ValueError(
            f"attention_at of {name} must be one or more of "
            f"{', '.join(map(repr, sorted(places)))}; received {tuple(at)!r}"
        )


def takes_common_options(function: Callable[Options, Model]) -> Callable[Options, Model]:
    """Decorates an architecture: replaces `**common` in its signature by the options of `Builder`.

    The decorated function raises a `ValueError` for an option that it does not have.
    """
    parameters = inspect.signature(function).parameters
    own = {key: p for key, p in parameters.items() if p.kind is not p.VAR_KEYWORD}
    common = inspect.signature(Builder).parameters
    merged = [
        *own.values(),
        *(
            p.replace(kind=p.KEYWORD_ONLY)
            for p in common.values()
            if p.name not in own and p.name != "default_size"  # not for users to set
        ),
    ]
    known = [p.name for p in merged]

    @functools.wraps(function)
    def build(*args: Options.args, **options: Options.kwargs) -> Model:
        for option in options:
            if option not in known:
                raise ValueError(
                    f"{function.__name__} has no option {option!r}; it takes {', '.join(known)}"
                )
        if options.get("weights") in pretrained.NAMES and not _only_checking.get():
            bound = signature.bind(*args, **options)
            given = frozenset(bound.arguments)
            bound.apply_defaults()
            return pretrained.with_named_weights(build, function.__name__, bound.arguments, given)
        return function(*args, **options)

    signature = inspect.Signature(merged)
    build.__signature__ = signature  # type: ignore[attr-defined]
    build.has_builder = True  # type: ignore[attr-defined]
    return build


_only_checking = contextvars.ContextVar("_only_checking", default=False)


class _OptionsAreFine(Exception):
    """Ends a call of an architecture that is made to check its options."""


def check_options(function: Callable[..., keras.Model], **options: Any) -> None:
    """Checks the options of an architecture at no cost: it is called, and no layer is made.

    Args:
        function: what `architecture` returns; for one that is not built with a `Builder`, a
            user's own, only the names of the options are checked.
        **options: its options.

    Raises:
        ValueError: if the architecture does not have an option, or the option does not allow the
            value.
    """
    if not _has_builder(function):
        parameters = inspect.signature(function).parameters.values()
        unknown = set(options) - {p.name for p in parameters}
        if unknown and not any(p.kind is p.VAR_KEYWORD for p in parameters):
            raise ValueError(f"the network has no option {', '.join(map(repr, sorted(unknown)))}")
        return
    token = _only_checking.set(True)
    try:
        function(**options)
    except _OptionsAreFine:
        pass
    finally:
        _only_checking.reset(token)


def _has_builder(function):
    while isinstance(function, functools.partial):
        function = function.func
    return getattr(function, "has_builder", False)


def with_checks(function: Callable[..., Any], reference: str) -> Callable[..., keras.Model]:
    """Wraps a user's own architecture: an error that the user can fix becomes a `ValueError`.

    Args:
        function: the architecture, a function that returns a model.
        reference: string, how the user named it, `"my_models.py:my_network"`.
    """
    signature = inspect.signature(function)

    @functools.wraps(function)
    def build(*args: Any, **options: Any) -> keras.Model:
        try:
            signature.bind(*args, **options)
        except TypeError as error:
            known = ", ".join(signature.parameters)
            raise ValueError(f"{reference}: {error}; it takes {known}") from None
        model = function(*args, **options)
        if not isinstance(model, keras.Model):
            raise ValueError(f"{reference} must return a keras.Model, it returned {model!r}")
        return model

    return build
