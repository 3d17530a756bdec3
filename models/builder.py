"""The frame of every network: its input, where attention goes, its stages and its head."""

import functools
import inspect
from collections.abc import Callable, Sequence
from os import PathLike
from typing import Any, ParamSpec, TypeAlias, TypeVar

import keras
from keras import layers

from .attention.registry import AttentionModule, get_attention
from .blocks import channel_axis, image_shape
from .checks import require_int, require_one_of
from .fast import install
from .saving import deep_graphs, load_weights_by_name

# (height, width, channels) in the order of the image format; a side may be unknown
Shape: TypeAlias = Sequence[int | None]
Options = ParamSpec("Options")
Model = TypeVar("Model")


class Builder:
    """The frame of a network: its input, where attention goes, its stages and its head.

    These are the options that all architectures have in common.

    Args:
        input_shape: tuple of three, `(height, width, channels)` (channels first under that
            `image_data_format`); height and width may be `None`. Defaults to a color image of the
            size that the architecture was published for.
        include_top: bool, whether the network ends in a classifier. Defaults to `True`.
        weights: `None` (random) or the path of a `.keras` file that this project saved; its layers
            are matched by name.
        input_tensor: Keras tensor to build upon, instead of `input_shape`.
        pooling: without the top: `None` (the feature map), `"avg"` or `"max"`.
        classes: int, number of classes.
        classifier_activation: activation of the classifier, `None` for logits. Defaults to
            `"softmax"`.
        name: string, the model's name.
        attention_module: `None`, a name of `list_attention()`, a Keras layer, or a callable on a
            feature map.
        attention_at: where it goes: `"block"` (default, in every block), `"stage"` (between
            stages), `"head"` (before the classifier, as `x + attention(x)`), a place of the
            architecture's own, or a tuple of them.
        features_only: bool; if `True` the model returns one feature map per stage.
        default_size: int, side of the image where neither shape nor tensor is given; set by the
            architecture.

    Raises:
        ValueError: a value that an option cannot take.
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
        self.weights = weights
        self.pooling = require_one_of("pooling", pooling, (None, "avg", "max"))
        self.classes = require_int("classes", classes)
        self.classifier_activation = classifier_activation
        self.name = name
        self.attention = get_attention(attention_module)
        self.attention_at = (
            (attention_at,) if isinstance(attention_at, str) else tuple(attention_at)
        )
        self.sites = ["head"]
        self.features_only = features_only
        self.features: dict[str, keras.KerasTensor] = {}
        if input_tensor is not None and not isinstance(input_tensor, keras.KerasTensor):
            raise ValueError(f"input_tensor must be a Keras tensor, received {input_tensor!r}")
        if input_tensor is None:
            input_tensor = keras.Input(
                _checked_shape(input_shape or image_shape(default_size)), name="image"
            )
        self.input = input_tensor

    def attend(self, x, name, sites=("block",)):
        """The attention of the block called `name`.

        Args:
            x: Keras tensor, a feature map.
            name: string, the block's name; the attention is called `{name}_attention`.
            sites: the values of `attention_at` that this place answers to.

        Returns:
            The attended map, or `x` itself where there is to be no attention.
        """
        self.sites += [site for site in sites if site not in self.sites]
        if self.attention is None or not set(sites) & set(self.attention_at):
            return x
        return self.attention(x, name=f"{name}_attention")

    def end_stage(self, x, name, last=False):
        """Marks the end of a stage: a feature map to give out, and perhaps attention after it."""
        if not last:
            x = self.attend(x, name, ("stage",))
        self.features[name] = x
        return x

    @property
    def image_size(self):
        """Height and width of the image, `None` where they are not known."""
        shape = list(self.input.shape[1:])
        del shape[channel_axis() % 4 - 1]
        return tuple(shape)

    def is_below(self, least):
        """Whether the height or the width is known to be less than `least`."""
        return any(size is not None and size < least for size in self.image_size)

    def require_size(self, least):
        """Refuses an image that the network would shrink to nothing.

        Args:
            least: int, the smallest height and width.

        Raises:
            ValueError: the height or the width is smaller.
        """
        height, width = self.image_size
        if self.is_below(least):
            raise ValueError(
                f"{self.name} takes images of at least {least}x{least} pixels, received "
                f"{height}x{width}"
            )

    def model(self, x, dropout=0.0):
        """Puts the head on the last feature map and returns the model.

        Args:
            x: Keras tensor, the last feature map.
            dropout: float, share of the pooled features that is dropped before the classifier.
        """
        attended = self.attend(x, "head", ("head",))
        self._check_sites()
        if attended is not x:
            x = layers.Add(name="head_add")([x, attended])
        outputs = self.features if self.features_only else self._head(x, dropout)
        inputs = keras.utils.get_source_inputs(self.input)
        inputs = inputs[0] if len(inputs) == 1 else inputs
        with deep_graphs():
            model = keras.Model(inputs, outputs, name=self.name)
        if self.weights is not None:
            load_weights_by_name(model, self.weights)
        return install(model)

    def _check_sites(self):
        if not self.attention_at or not set(self.attention_at) <= set(self.sites):
            raise ValueError(
                f"attention_at of {self.name} must be one or more of "
                f"{', '.join(map(repr, sorted(self.sites)))}; received {self.attention_at!r}"
            )

    def _head(self, x, dropout):
        if self.include_top or self.pooling == "avg":
            x = layers.GlobalAveragePooling2D(name="avg_pool")(x)
        elif self.pooling == "max":
            x = layers.GlobalMaxPooling2D(name="max_pool")(x)
        if not self.include_top:
            return x
        if dropout:
            x = layers.Dropout(dropout, name="dropout")(x)
        # float32 under mixed precision too: a softmax needs the range
        x = layers.Dense(self.classes, dtype="float32", name="logits")(x)
        if self.classifier_activation is not None:
            x = layers.Activation(self.classifier_activation, dtype="float32", name="predictions")(
                x
            )
        return x


def takes_common_options(function: Callable[Options, Model]) -> Callable[Options, Model]:
    """Decorates an architecture: `**common` becomes the visible, checked options of `Builder`."""
    parameters = inspect.signature(function).parameters
    own = {key: p for key, p in parameters.items() if p.kind is not p.VAR_KEYWORD}
    common = inspect.signature(Builder).parameters
    merged = [
        *own.values(),
        *(
            p.replace(kind=p.KEYWORD_ONLY)
            for p in common.values()
            if p.name not in own and p.name != "default_size"  # the architecture's, not the user's
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
        return function(*args, **options)

    build.__signature__ = inspect.Signature(merged)  # type: ignore[attr-defined]
    return build


def depth_error(name, depth, periods, rest=2, others=()):
    """The error for a depth that is not kn+2, naming the nearest that are.

    Args:
        name: string, the architecture.
        depth: what was received.
        periods: list of ints, the k that the architecture can take.
        rest: int, what is in the place of the 2.
        others: depths that the architecture takes besides.
    """
    rule = " or ".join(f"{k}n+{rest}" for k in periods)
    rule = ", ".join([rule, *map(str, others)])
    nearest = ""
    if isinstance(depth, int) and not isinstance(depth, bool):
        steps = [(k, max(1, (depth - rest) // k)) for k in periods]
        around = {k * n + rest for k, least in steps for n in (least, least + 1)}
        around |= {other for other in others if min(around) < other < max(around)}
        nearest = f"; the nearest are {', '.join(map(str, sorted(around)))}"
    return ValueError(f"{name} can be {rule} layers deep{nearest}; received depth={depth!r}")


def _checked_shape(shape):
    shape = tuple(shape) if isinstance(shape, (tuple, list)) else shape
    if (
        not isinstance(shape, tuple)
        or len(shape) != 3
        or not all(size is None or (isinstance(size, int) and size > 0) for size in shape)
        or shape[channel_axis() % 4 - 1] is None
    ):
        raise ValueError(
            "input_shape must be three positive sizes (height, width, channels), of which height "
            f"and width may be None; received {shape!r}"
        )
    return shape
