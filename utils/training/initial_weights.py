"""Weights to start a training from, those of another run or of a saved network."""

import dataclasses
import functools

import keras

from models.attention.base import AttentionLayer
from models.attention.registry import at_identity
from models.attention.specification import AttentionSpec
from models.specification import is_keras_model, parse_specification
from models.transfer import layers_by_path, transfer_weights

from ..config.settings import TrainSettings
from ..evaluation.networks import load_trained
from ..system.errors import UserError


@functools.cache
def source_network(init: str) -> keras.Model:
    """Loads the network that `--init` names.

    Args:
        init: string, the path of a run's folder or of a `.keras` file.

    Returns:
        A `keras.Model`.

    Raises:
        UserError: there is no such run or file, or it cannot be loaded.
    """
    return load_trained(init, "--init")


def with_identity_start(settings: TrainSettings) -> TrainSettings:
    """Has attention start at the identity where the weights to start from come without attention.

    The network then computes at first what it computed without attention, but for attention at the
    head, which is added to the features: these are then twice as large.

    Args:
        settings: a `TrainSettings` with `init` or `weights`.

    Returns:
        The settings, with the option `start="identity"` of the attention module if it has this
        option, if no other value is given, and if the network of `init` has no attention.

    Raises:
        UserError: one of our networks is to have ImageNet's weights, and an attention module that
            does not have the option.
    """
    spec = settings.attention_spec
    layers = layers_by_path(source_network(settings.init)).values() if settings.init else []
    if spec.is_none or any(isinstance(layer, AttentionLayer) for layer in layers):
        return settings
    # without the options that are settings of their own, which stay such
    started = at_identity(AttentionSpec.parse(settings.attention))
    if started is None:
        name, _ = parse_specification(settings.model or "")
        if settings.weights == "imagenet" and not is_keras_model(name):
            raise UserError(
                f"weights imagenet: {spec.name} has no option start, with which attention changes "
                "nothing at first; take another module, or --model keras.applications/NAME"
            )
        return settings
    return dataclasses.replace(settings, attention=str(started))


def initialize(network: keras.Model, init: str) -> list[str]:
    """Gives a network the weights of another one.

    Args:
        network: a `keras.Model`.
        init: string, the path of a run's folder or of a `.keras` file.

    Returns:
        Lines of text: what was taken over, and what is new.

    Raises:
        UserError: there is no such run or file, it cannot be loaded, or the networks differ in more
            than attention and the number of classes.
    """
    try:
        transfer = transfer_weights(network, source_network(init))
    except ValueError as error:
        raise UserError(
            f"the weights of {init} do not fit: {error}; give the --model and its options that it "
            "was made with"
        ) from error
    new = ["the classifier"] if transfer.classifier else []
    if transfer.attention:
        count = len(transfer.attention)
        new.append(f"{count} attention layer{'' if count == 1 else 's'}")
    return [
        f"weights of {len(transfer.taken)} layers from {init}",
        f"new: {' and '.join(new) or 'nothing'}",
    ]
