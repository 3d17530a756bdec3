"""Which layers of a network learn, and how fast: frozen backbones, and rates of their own."""

import contextlib
import difflib
from collections.abc import Iterator, Sequence

import keras
import numpy as np

from models import list_models
from models.private_api import all_layers
from models.specification import APPLICATIONS, parse_specification
from models.transfer import CLASSIFIER, is_attention, layers_by_path

from ..config.settings import TrainSettings
from ..system.errors import UserError


def backbone(network: keras.Model) -> list[keras.layers.Layer]:
    """Returns the layers of a network that are neither attention nor its classifier.

    Args:
        network: a `keras.Model`.

    Returns:
        A list of layers, in the order in which they are computed.
    """
    return list(_backbone_by_path(network).values())


def _backbone_by_path(network):
    return {
        path: layer
        for path, layer in layers_by_path(network).items()
        if not is_attention(layer) and path != CLASSIFIER
    }


def frozen_layers(network: keras.Model, settings: TrainSettings) -> list[keras.layers.Layer]:
    """Returns the layers that do not learn at first.

    Args:
        network: a `keras.Model`.
        settings: a `TrainSettings`.

    Returns:
        A list of layers, empty if all learn.

    Raises:
        UserError: `freeze_until` names no layer of the backbone, or settings of freezing do not fit
            together.
    """
    until = settings.freeze_until
    if settings.freeze == "backbone" and until is not None:
        raise UserError("freeze backbone freezes all that freeze_until would; give one of them")
    freezes = settings.freeze == "backbone" or until is not None
    if settings.unfreeze_after is not None and not freezes:
        raise UserError("unfreeze_after needs --freeze backbone or --freeze-until LAYER")
    if settings.unfreeze_after is not None and settings.unfreeze_after >= settings.epochs:
        raise UserError(
            f"unfreeze_after must be less than the {settings.epochs} epochs; received "
            f"{settings.unfreeze_after}"
        )
    if not freezes:
        return []
    if _begins_at_random(settings):
        raise UserError(
            "freeze would keep random weights; give trained ones with --init RUN or --weights "
            "imagenet"
        )
    by_path = _backbone_by_path(network)
    names, layers = list(by_path), list(by_path.values())
    if until is None:
        return layers
    if until not in names:
        close = difflib.get_close_matches(until, names, n=1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        raise UserError(
            f"freeze_until names no layer of the backbone; received {until!r}{hint}; it has "
            f"{', '.join(names[:5])} to {names[-1]}"
        )
    return layers[: names.index(until) + 1]


def _begins_at_random(settings):
    """Whether no weights are given to a network that is made new; a file has its own."""
    name = settings.model and parse_specification(settings.model)[0]
    new = name is None or name in list_models() or name.startswith(APPLICATIONS)
    return new and not settings.init and settings.weights != "imagenet"


def set_trainable(layers: Sequence[keras.layers.Layer], trainable: bool) -> None:
    """Sets whether layers learn; a normalization that does not keeps its statistics, too."""
    for layer in layers:
        layer.trainable = trainable


@contextlib.contextmanager
def all_trainable(network: keras.Model) -> Iterator[None]:
    """A context in which all layers of a network learn, as they do in the network to save."""
    frozen = [layer for layer in all_layers(network) if not layer.trainable]
    try:
        set_trainable(frozen, True)
        yield
    finally:
        set_trainable(frozen, False)


def rates_of(model: keras.Model, network: keras.Model, settings: TrainSettings) -> list[float]:
    """Returns the factor of the learning rate for every variable that learns.

    Args:
        model: the `keras.Model` that is fitted; it shares its layers with `network`.
        network: the `keras.Model` whose backbone or attention has a rate of its own.
        settings: a `TrainSettings`, with the factors of the backbone and of attention.

    Returns:
        A list of floats, in the order of `model.trainable_variables`; empty if all are 1.
    """
    attention = filter(is_attention, layers_by_path(network).values())
    factors = {
        id(variable): rate
        for rate, layers in (
            (settings.backbone_rate, backbone(network)),
            (settings.attention_rate, attention),
        )
        for layer in layers
        for variable in layer.variables
    }
    rates = [factors.get(id(variable), 1.0) for variable in model.trainable_variables]
    return [] if all(rate == 1 for rate in rates) else rates


def balanced_weights(labels: np.ndarray, classes: int) -> list[float]:
    """Returns weights of the classes in the loss by which all classes count the same.

    Args:
        labels: int array `(n,)`, of the images to train on.
        classes: int, number of classes.

    Returns:
        A list of floats, inversely proportional to a class's images, and 1 on average over the
        images.
    """
    from sklearn.utils.class_weight import compute_class_weight

    present = np.unique(labels)
    weights = np.ones(classes)
    weights[present] = compute_class_weight("balanced", classes=present, y=labels)
    return weights.tolist()
