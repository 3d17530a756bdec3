"""What all architectures share: convolution, normalisation, input, attention sites and head."""

import functools
import inspect

import keras
from keras import layers

from .attention_module import get_attention
from .fast import speed_up
from .saving import deep_graphs, load_weights_by_name

ATTENTION_SITES = ("block", "stage", "head")


def channel_axis():
    """Returns the axis of the channels under Keras's `image_data_format`: -1 or 1."""
    return 1 if keras.config.image_data_format() == "channels_first" else -1


def conv(x, filters, kernel_size, strides=1, name=None, groups=1, use_bias=False):
    """A convolution that keeps the map's size, or divides it by `strides`.

    Strided convolutions are padded evenly on both sides, as in the authors' code and PyTorch;
    TensorFlow's "same" would pad one side only, and so differently for odd and even sizes.
    """
    if strides > 1 and kernel_size > 1:
        x = layers.ZeroPadding2D(kernel_size // 2, name=f"{name}_pad")(x)
    return layers.Conv2D(
        filters,
        kernel_size,
        strides=strides,
        padding="same" if strides == 1 else "valid",
        groups=groups,
        use_bias=use_bias,
        kernel_initializer="he_normal",
        name=name,
    )(x)


def norm(x, name=None):
    """Batch normalisation with PyTorch's constants: short trainings need the faster average."""
    layer = layers.BatchNormalization(axis=channel_axis(), momentum=0.9, epsilon=1e-5, name=name)
    return speed_up(layer)(x)


def relu(x, name=None):
    """A rectifier."""
    return layers.Activation("relu", name=name)(x)


def conv_norm(x, filters, kernel_size, strides=1, name="", number="", groups=1, activate=True):
    """Convolution, normalisation and (with `activate`) rectifier, the most common triple.

    Args:
        x: Keras tensor of rank 4.
        filters: int, output channels.
        kernel_size: int.
        strides: int.
        name: string, prefix of the layers' names: `{name}_conv{number}` and so on.
        number: int or string, suffix of the layers' names.
        groups: int, of the convolution.
        activate: bool, whether a rectifier follows.

    Returns:
        A Keras tensor of rank 4.
    """
    x = conv(x, filters, kernel_size, strides, f"{name}_conv{number}", groups)
    x = norm(x, f"{name}_norm{number}")
    return relu(x, f"{name}_relu{number}") if activate else x


class Builder:
    """The frame of a network: its input, where attention goes, its stages and its head.

    These are the options that all architectures have in common.

    Args:
        input_shape: tuple of three, `(height, width, channels)` (channels first under that
            `image_data_format`); height and width may be `None`.
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
            stages), `"head"` (before the classifier, as `x + attention(x)`), or a tuple of them.
        features_only: bool; if `True` the model returns one feature map per stage.

    Raises:
        ValueError: a value that an option cannot take.
    """

    def __init__(
        self,
        input_shape=(32, 32, 3),
        include_top=True,
        weights=None,
        input_tensor=None,
        pooling=None,
        classes=10,
        classifier_activation="softmax",
        name=None,
        attention_module=None,
        attention_at="block",
        features_only=False,
    ):
        self.include_top = include_top
        self.weights = weights
        self.pooling = _checked_pooling(pooling)
        self.classes = _checked_classes(classes)
        self.classifier_activation = classifier_activation
        self.name = name
        self.attention = get_attention(attention_module)
        self.attention_at = _checked_sites(attention_at)
        self.features_only = features_only
        self.features = {}
        if input_tensor is not None and not isinstance(input_tensor, keras.KerasTensor):
            raise ValueError(f"input_tensor must be a Keras tensor, received {input_tensor!r}")
        if input_tensor is None:
            input_tensor = keras.Input(_checked_shape(input_shape), name="image")
        self.input = input_tensor

    def attend(self, x, name):
        """The attention of the block called `name`, if there is attention in blocks."""
        return self._attend_at("block", x, name)

    def end_stage(self, x, name, last=False):
        """Marks the end of a stage: a feature map to give out, and perhaps attention after it."""
        if not last:
            x = self._attend_at("stage", x, name)
        self.features[name] = x
        return x

    def _attend_at(self, site, x, name):
        if self.attention is None or site not in self.attention_at:
            return x
        return self.attention(x, name=f"{name}_attention")

    def model(self, x):
        """Puts the head on the last feature map and returns the model."""
        attended = self._attend_at("head", x, "head")
        if attended is not x:
            x = layers.Add(name="head_add")([x, attended])
        outputs = self.features if self.features_only else self._head(x)
        inputs = keras.utils.get_source_inputs(self.input)
        inputs = inputs[0] if len(inputs) == 1 else inputs
        with deep_graphs():
            model = keras.Model(inputs, outputs, name=self.name)
        if self.weights is not None:
            load_weights_by_name(model, self.weights)
        return model

    def _head(self, x):
        if self.include_top or self.pooling == "avg":
            x = layers.GlobalAveragePooling2D(name="avg_pool")(x)
        elif self.pooling == "max":
            x = layers.GlobalMaxPooling2D(name="max_pool")(x)
        if not self.include_top:
            return x
        # float32 under mixed precision too: a softmax needs the range
        x = layers.Dense(self.classes, dtype="float32", name="logits")(x)
        if self.classifier_activation is not None:
            x = layers.Activation(self.classifier_activation, dtype="float32", name="predictions")(
                x
            )
        return x


def takes_common_options(function):
    """Decorates an architecture: `**common` becomes the visible, checked options of `Builder`."""
    own = inspect.signature(function).parameters
    own = {key: p for key, p in own.items() if p.kind is not p.VAR_KEYWORD}
    common = list(inspect.signature(Builder.__init__).parameters.values())[1:]
    merged = [*own.values()] + [p.replace(kind=p.KEYWORD_ONLY) for p in common if p.name not in own]
    known = [p.name for p in merged]

    @functools.wraps(function)
    def build(*args, **options):
        for option in options:
            if option not in known:
                raise ValueError(
                    f"{function.__name__} has no option {option!r}; it takes {', '.join(known)}"
                )
        return function(*args, **options)

    build.__signature__ = inspect.Signature(merged)
    return build


def depth_error(name, depth, periods):
    """The error for a depth that is not kn+2, naming the nearest that are.

    Args:
        name: string, the architecture.
        depth: what was received.
        periods: list of ints, the k that the architecture can take.
    """
    rule = " or ".join(f"{k}n+2" for k in periods)
    nearest = ""
    if isinstance(depth, int) and not isinstance(depth, bool):
        steps = [(k, max(1, (depth - 2) // k)) for k in periods]
        around = {k * n + 2 for k, least in steps for n in (least, least + 1)}
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


def _checked_pooling(pooling):
    if pooling not in (None, "avg", "max"):
        raise ValueError(f"pooling must be None, 'avg' or 'max', received {pooling!r}")
    return pooling


def _checked_classes(classes):
    if not isinstance(classes, int) or isinstance(classes, bool) or classes < 1:
        raise ValueError(f"classes must be an integer of at least 1, received {classes!r}")
    return classes


def _checked_sites(attention_at):
    sites = (attention_at,) if isinstance(attention_at, str) else tuple(attention_at)
    unknown = [site for site in sites if site not in ATTENTION_SITES]
    if unknown or not sites:
        raise ValueError(
            f"attention_at must be one or more of {', '.join(map(repr, ATTENTION_SITES))}, "
            f"received {attention_at!r}"
        )
    return sites
