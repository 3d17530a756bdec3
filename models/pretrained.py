"""Weights by name: `"cifar10"`, trained here and shipped, and `"imagenet"`, those of Keras.

Nothing here needs Keras until weights are loaded, so that the command line can list them at once.
"""

from __future__ import annotations

import dataclasses
import difflib
import functools
import json
from collections.abc import Callable, Collection, Mapping
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from .attention.specification import DEFAULT_PLACES, AttentionSpec, places_of

if TYPE_CHECKING:
    import keras

CIFAR10 = "cifar10"
NAMES = (CIFAR10, "imagenet")
FOLDER = Path(__file__).parent / "trained"
INDEX = FOLDER / "index.json"

# architecture -> networks of `keras.applications` that are the same, weight for weight, each with
# the options by which ours is
TWINS: dict[str, dict[str, dict[str, Any]]] = {
    "densenet": {
        f"DenseNet{depth}": {
            "depth": depth, "stem": "imagenet", "growth_rate": 32, "compression": 0.5,
        }
        for depth in (121, 169, 201)
    },
    "inception_resnet_v2": {"InceptionResNetV2": {"width": 1.0}},
    "inception_v3": {"InceptionV3": {"width": 1.0}},
    "mobilenet": {"MobileNet": {}},
    "resnet": {
        f"ResNet{depth}": {
            "depth": depth, "stem": "imagenet", "stride_in": "1x1", "use_bias": True,
            "shortcut": "conv", "width": 1.0,
        }
        for depth in (50, 101, 152)
    },
}  # fmt: skip
# options whose `None` stands for the published value
NONE_IS_PUBLISHED = ("stem", "growth_rate", "compression")


class TrainedWeights(NamedTuple):
    """Weights that were trained here, and what they are of.

    Attributes:
        name: string, such as `"cifar10/resnet_v1-20-none"`.
        model: string, the architecture with its options, as `build_model` takes it.
        attention: string, the attention module with its options.
        test_accuracy: float in [0, 1], of these weights, in float16 as they are shipped.
        epochs: int, of the training.
        seed: int, of the training.
        recipe: dictionary, the settings of the training that differ from the defaults.
        params: int, parameters of the network.
        mean, variance: lists of floats, of the raw pixels that the network was trained on.
        class_names: list of strings.
    """

    name: str
    model: str
    attention: str
    test_accuracy: float
    epochs: int
    seed: int
    recipe: dict[str, Any]
    params: int
    mean: list[float]
    variance: list[float]
    class_names: list[str]

    @property
    def path(self) -> Path:
        """The file with the weights."""
        return FOLDER / f"{self.name}.safetensors"


@functools.cache
def trained_weights() -> dict[str, TrainedWeights]:
    """Returns all weights that are shipped, by their names."""
    index = json.loads(INDEX.read_text("utf-8"))
    return {name: TrainedWeights(name, **entry) for name, entry in sorted(index.items())}


def list_weights() -> dict[str, float]:
    """Returns the names of all weights that are shipped, with their test accuracy on CIFAR-10.

    `trained_model(name)` is the network with these weights, `build_model(..., weights="cifar10")`
    the architecture with them.

    Returns:
        A dictionary from names to floats in [0, 1].

    Example:

    >>> list_weights()["cifar10/resnet_v1-20-none"]
    0.8808
    """
    return {name: entry.test_accuracy for name, entry in trained_weights().items()}


def trained_model(name: str) -> keras.Model:
    """Builds a network with the weights that were trained here.

    Args:
        name: string, one of `list_weights()`.

    Returns:
        A Functional `keras.Model` from raw pixels, `(batch, 32, 32, 3)` with values from 0 to 255,
        to the probabilities of the classes, which are those of `class_names(name)`.

    Raises:
        ValueError: there are no such weights.

    Example:

    >>> name = "cifar10/resnet_v1-20-none"
    >>> model = trained_model(name)
    >>> label = class_names(name)[model.predict(image[None]).argmax()]
    """
    import keras

    from . import build_model
    from .blocks import channel_axis, image_shape

    entry = _entry(name)
    image = keras.Input(image_shape(32), name="image")
    pixels = keras.layers.Normalization(
        axis=channel_axis(),
        mean=entry.mean,
        variance=entry.variance,
        dtype="float32",
        name="normalization",
    )(image)
    model = build_model(
        entry.model,
        input_tensor=pixels,
        classes=len(entry.class_names),
        attention_module=entry.attention,
    )
    _fill(model, entry)
    return model


def class_names(name: str) -> tuple[str, ...]:
    """Returns the names of the classes that a trained network tells apart, in its order.

    Args:
        name: string, one of `list_weights()`.

    Returns:
        A tuple of strings.

    Raises:
        ValueError: there are no such weights.

    Example:

    >>> class_names("cifar10/resnet_v1-20-none")[:3]
    ('airplane', 'automobile', 'bird')
    """
    return tuple(_entry(name).class_names)


def _entry(name: str) -> TrainedWeights:
    entries = trained_weights()
    if name not in entries:
        raise ValueError(f"there are no weights {name!r}; known: {', '.join(entries) or 'none'}")
    return entries[name]


def require_weights(weights: Any) -> str | PathLike[str] | None:
    """Returns the option `weights`, before a network is built for them.

    Args:
        weights: `None`, one of `NAMES`, or the path of a `.keras` file.

    Raises:
        ValueError: they are none of these, or there is no such file.
    """
    is_path = isinstance(weights, (str, PathLike))
    if weights is None or (is_path and weights in NAMES):
        return weights
    is_keras = is_path and Path(weights).suffix == ".keras"
    if is_keras and Path(weights).is_file():
        return weights
    close = difflib.get_close_matches(str(weights).lower(), NAMES, n=1)
    hint = ", a file that is not there" if is_keras else ""
    hint = f"; did you mean {close[0]!r}?" if close else hint
    raise ValueError(
        f"weights must be None, {', '.join(map(repr, NAMES))} or the path of a .keras file that "
        f"this library saved; received {weights!r}{hint}"
    )


def with_named_weights(
    build: Callable[..., keras.Model],
    function: str,
    options: Mapping[str, Any],
    given: Collection[str],
) -> keras.Model:
    """Builds an architecture with weights by name.

    Args:
        build: function that takes options and returns a model.
        function: string, the name of the architecture's function.
        options: dictionary of its options, with their defaults. `weights` is one of `NAMES`.
        given: names of the options that are not left to their defaults.

    Returns:
        A `keras.Model`.

    Raises:
        ValueError: there are no such weights for the network, or they cannot be had.
    """
    from . import _ARCHITECTURES
    from .builder import check_options

    names = {path.partition(".")[2]: name for name, path in _ARCHITECTURES.items()}
    weights = options["weights"]
    if function not in names:
        raise ValueError(
            f"weights={weights!r} are for {', '.join(names.values())}; {function} takes the path "
            "of a .keras file"
        )
    check_options(build, **options)  # before anything is downloaded
    architecture = names[function]
    if weights == CIFAR10:
        entry, own = _fitting(architecture, options)
        if not {"classes", "num_classes"} & set(given):
            own["classes"] = len(entry.class_names)
        model = build(**{**options, **own, "weights": None})
        _fill(model, entry)
        return model
    from .imagenet import imagenet_weights

    return imagenet_weights(build, architecture, options)


def _fitting(
    architecture: str, options: Mapping[str, Any]
) -> tuple[TrainedWeights, dict[str, Any]]:
    """The weights for a network, by its architecture, its own options and its attention.

    Returns them with the options of their network. An option that is `None`, such as a stem that
    goes by the size of the image, is theirs.
    """
    from .specification import parse_specification

    attention = options.get("attention_module")
    wanted = attention if isinstance(attention, AttentionSpec) else None
    if wanted is None and (attention is None or isinstance(attention, str)):
        wanted = AttentionSpec.parse(attention)
    if wanted is not None:
        at = places_of(wanted, options.get("attention_at", DEFAULT_PLACES))
        wanted = AttentionSpec() if wanted.is_none else dataclasses.replace(wanted, at=at)
    for entry in trained_weights().values():
        name, own = parse_specification(entry.model)
        fits = name == architecture and all(options.get(k) in (v, None) for k, v in own.items())
        if fits and wanted == AttentionSpec.parse(entry.attention):
            return entry, own
    entries = list(trained_weights().values())
    own_kind = [e for e in entries if parse_specification(e.model)[0] == architecture]
    known = "; ".join(f"{e.model} with {e.attention}" for e in own_kind or entries)
    raise ValueError(
        f"weights='cifar10' are not there for this {architecture} with attention "
        f"{str(wanted) if wanted is not None else attention!r}; they are for {known or 'none'}"
    )


def _fill(model: keras.Model, entry: TrainedWeights) -> None:
    """Fills a model; a classifier of other classes, or none at all, is left as it is.

    Raises:
        ValueError: another layer does not fit, which no option of the network's name shows.
    """
    from safetensors.numpy import load_file

    values = load_file(entry.path)
    for layer in model.layers:
        wanted = [tuple(weight.shape) for weight in layer.weights]
        if not wanted or layer.name == "normalization":
            continue
        names = [f"{layer.name}/{number}" for number in range(len(wanted))]
        arrays = [values[name].astype("float32") for name in names if name in values]
        found = [array.shape for array in arrays]
        if found == wanted:
            layer.set_weights(arrays)
        elif layer.name != "logits":
            raise ValueError(
                f"the weights {entry.name} do not fit this network: {layer.name} has weights of "
                f"shapes {wanted}, theirs are {found}"
            )
