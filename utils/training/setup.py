"""What is trained: the network, the images and their augmentation before it, and the batches."""

import dataclasses
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import layers, ops

from models.blocks import channel_axis
from models.graphs import deep_graphs
from models.imagenet import twin_preprocessing
from models.saving import require_known_classes
from models.specification import APPLICATIONS, is_keras_model, parse_specification

from ..config.default_model import with_model
from ..config.settings import TrainSettings
from ..data.data_format import shape_in_data_format
from ..data.dataset import Dataset
from ..data.pixel_statistics import pixel_statistics
from ..data.splits import validation_indices
from ..evaluation.counting import trainable_params
from ..evaluation.networks import network_from_settings
from ..feeding.protocols import Batches, ImageSource
from ..feeding.shares import WHOLE, Share
from ..feeding.sources import image_source
from ..runs.checkpoint import CHECKPOINTS, checkpoints
from ..runs.progress import build_training_variables
from ..system.backend import jit_compile, steps_without_waiting
from ..system.errors import UserError
from .fine_tuning import balanced_weights, frozen_layers, rates_of, set_trainable
from .initial_weights import initialize
from .optimizers import make_optimizer
from .schedules import learning_rate_schedule


@dataclasses.dataclass(frozen=True)
class Setup:
    """The networks and batches of a training.

    Args:
        network: the `keras.Model` to save, from raw pixels to class probabilities.
        model: the compiled `keras.Model` to fit, from batches to logits. It has the layers of
            `network`; before them, the layer `"images"` turns a batch into images.
        batches: the `Batches` to train on.
        validation: the `Batches` to validate on, or `None`.
        source: the `ImageSource` of the batches, which are used in the context of its `reading`.
        frozen: sequence of layers that do not learn at first.
        params: int, the network's parameters that learn sooner or later.
        class_weights: sequence of floats, weights of the classes in the loss, or `None`.
        steps: int, steps of a whole epoch.
    """

    network: keras.Model
    model: keras.Model
    batches: Batches
    validation: Batches | None
    source: ImageSource
    frozen: Sequence[keras.layers.Layer]
    params: int
    class_weights: Sequence[float] | None
    steps: int


def make_setup(
    settings: TrainSettings,
    dataset: Dataset,
    share: Share = WHOLE,
    announce: Callable[[str], None] = print,
) -> Setup:
    """Builds networks and batches.

    Args:
        settings: a `TrainSettings` with its defaults filled in.
        dataset: a `Dataset`.
        share: a `Share`, the rows of every batch to train on. Defaults to all.
        announce: function that takes a line of text.

    Returns:
        A `Setup`.

    Raises:
        UserError: the attention module is unknown, it or the architecture does not take an option,
            the data is too small for the validation split, the weights to start from do not fit, or
            a layer of the user's own is not registered in Keras.
    """
    keras.utils.set_random_seed(settings.seed)
    keras.config.set_dtype_policy(settings.precision)
    training, validation = validation_indices(
        dataset.y_train, settings.validation_split, settings.seed, dataset.class_names
    )
    source = image_source(dataset)
    mean, variance = pixel_statistics(source.images_for_statistics(training))
    network = build_network(settings, dataset, mean, variance)
    if settings.init and not _has_checkpoint(settings):
        for line in initialize(network, settings.init):
            announce(line)
    params = trainable_params(network)
    frozen = frozen_layers(network, settings)
    set_trainable(frozen, False)
    batches = source.training_batches(settings, training, share)
    inputs, images = source.images(settings, fill=np.rint(mean))
    weights = None
    if settings.class_weights == "balanced":
        weights = balanced_weights(dataset.y_train[training], dataset.classes)
    model = training_model(network, inputs, images)
    compile_model(settings, model, network, len(batches), weights)
    return Setup(
        network,
        model,
        batches,
        source.validation_batches(validation, share) if len(validation) else None,
        source,
        frozen,
        params,
        weights,
        steps=len(batches),
    )


def build_network(
    settings: TrainSettings, dataset: Dataset, mean: np.ndarray, variance: np.ndarray
) -> keras.Model:
    """Builds the network to train, from raw pixels to class probabilities.

    Args:
        settings: a `TrainSettings`.
        dataset: a `Dataset`.
        mean: float array `(channels,)`, the mean of the training images in raw pixel units. It
            becomes part of the network.
        variance: float array `(channels,)`, their variance, likewise.

    Returns:
        A Functional `keras.Model`.

    Raises:
        UserError: the attention module is unknown, it or the architecture does not take an option,
            or a layer of the user's own is not registered in Keras.
    """
    network = _network_from_pixels(settings, dataset, mean, variance)
    try:
        require_known_classes(network)  # now, and not when the trained network is loaded
    except ValueError as error:
        raise UserError(str(error)) from error
    return network


def _has_checkpoint(settings):
    """Whether a run continues with the weights of a checkpoint, and needs no others."""
    return settings.resume is not None and bool(checkpoints(Path(settings.resume) / CHECKPOINTS))


def _network_from_pixels(settings, dataset, mean, variance):
    image = keras.Input(shape_in_data_format(dataset.image_shape), name="image")
    settings = with_model(settings, dataset.image_shape)
    classes = len(dataset.class_names)
    name, _ = parse_specification(settings.model)
    if is_keras_model(name):  # has its own preprocessing
        if settings.weights == "imagenet" and not name.startswith(APPLICATIONS):
            raise UserError(f"weights imagenet: {name} has its own weights; leave --weights out")
        given = settings.weights != "none" and not _has_checkpoint(settings)
        weights = settings.weights if given else None
        options = {"weights": weights, "trained": settings.weights == "imagenet"}
        return network_from_settings(
            settings,
            settings.attention_spec,
            input_tensor=image,
            classes=classes,
            **(options if name.startswith(APPLICATIONS) else {}),
        )
    if settings.weights == "imagenet":
        return _with_imagenet(settings, image, classes)
    pixels = layers.Normalization(
        axis=channel_axis(),
        mean=mean.tolist(),
        variance=variance.tolist(),
        dtype="float32",
        name="normalization",
    )(image)
    return network_from_settings(
        settings, settings.attention_spec, input_tensor=pixels, classes=classes
    )


def _with_imagenet(settings, image, classes):
    """One of our networks with ImageNet's weights, and their preprocessing in it."""
    try:
        made = twin_preprocessing(settings.model, settings.architecture_options())
    except ValueError as error:
        raise UserError(str(error)) from error
    pixels = image
    for layer in made:
        pixels = layer(pixels)
    return network_from_settings(
        settings,
        settings.attention_spec,
        input_tensor=pixels,
        classes=classes,
        weights=None if _has_checkpoint(settings) else settings.weights,
    )


def training_model(network: keras.Model, inputs: Any, images: keras.KerasTensor) -> keras.Model:
    """Builds the model to fit: augmentation, and the network up to its logits.

    Args:
        network: what `build_network` returns. The model shares its layers.
        inputs: Keras tensors of a batch, the first that a source's `images` returns.
        images: Keras tensor `(batch, height, width, channels)` computed from them, the second.

    Returns:
        A `keras.Model` from batches to logits.
    """
    with deep_graphs():
        logits = keras.Model(network.inputs, network.get_layer("logits").output)
        return keras.Model(inputs, logits(images))


def compile_model(
    settings: TrainSettings,
    model: keras.Model,
    network: keras.Model,
    steps: int,
    class_weights: Sequence[float] | None = None,
    first_step: int = 0,
) -> None:
    """Compiles the model to fit, with loss and optimizer for the layers that learn now.

    Args:
        settings: a `TrainSettings` with its defaults filled in.
        model: what `training_model` returns.
        network: the network in it.
        steps: int, steps per epoch.
        class_weights: sequence of floats, weights of the classes in the loss. Defaults to `None`:
            all count the same.
        first_step: int, steps of the run that other optimizers have taken. Defaults to 0.
    """
    classes = network.output_shape[-1]
    schedule = schedule_of(settings, steps, first_step)
    optimizer = make_optimizer(settings.optimizer, schedule, settings.weight_decay, settings.ema)
    optimizer.rates = rates_of(model, network, settings)
    model.compile(
        optimizer=optimizer,
        loss=cross_entropy(classes, settings.label_smoothing, class_weights),
        # weighted: the rows that pad a batch for several devices have weight 0
        weighted_metrics=[accuracy(classes)],
        jit_compile=jit_compile(),
        steps_per_execution=_steps_per_execution(settings.checkpoint_every),
    )
    build_training_variables(model, classes)


def schedule_of(
    settings: TrainSettings, steps: int, first_step: int = 0
) -> float | keras.optimizers.schedules.LearningRateSchedule:
    """Returns the learning rate over a run.

    Args:
        settings: a `TrainSettings` with its defaults filled in.
        steps: int, steps per epoch.
        first_step: int, step of the run that the optimizer takes first. Defaults to 0.

    Returns:
        A `LearningRateSchedule`, or a float if it is constant.
    """
    assert settings.learning_rate is not None  # a default that is filled in
    return learning_rate_schedule(
        settings.schedule, settings.learning_rate, settings.epochs * steps, first_step
    )


def _steps_per_execution(checkpoint_every):
    """Steps between two calls of the callbacks, which must include those of the checkpoints."""
    steps = steps_without_waiting()
    return steps if checkpoint_every.endswith("m") else math.gcd(steps, int(checkpoint_every))


def unfreeze(settings: TrainSettings, setup: Setup) -> None:
    """Lets all layers learn from now on, with an optimizer that begins anew.

    Its steps count from 0, by which Adam corrects its empty moments and a moving average begins at
    the weights. Its learning rate goes on where it is in the run.

    Args:
        settings: a `TrainSettings` with its defaults filled in and an `unfreeze_after`.
        setup: a `Setup`, whose model is compiled again.
    """
    assert settings.unfreeze_after is not None
    set_trainable(setup.frozen, True)
    first_step = settings.unfreeze_after * setup.steps
    compile_model(
        settings, setup.model, setup.network, setup.steps, setup.class_weights, first_step
    )


def cross_entropy(
    classes: int, label_smoothing: float, class_weights: Sequence[float] | None = None
) -> Callable[[keras.KerasTensor, keras.KerasTensor], keras.KerasTensor]:
    """Returns a loss function of labels and logits, to be used in `compile`.

    Args:
        classes: int, number of classes.
        label_smoothing: float in [0, 1), see `keras.losses.CategoricalCrossentropy`.
        class_weights: sequence of floats, with which the losses of a class's images are
            multiplied. Defaults to `None`: all count the same.

    Returns:
        A function of labels, as `class_probabilities` takes them, and logits `(batch, classes)`,
        which returns the cross-entropy of each image, `(batch,)`.
    """

    def loss(labels, logits):
        labels = class_probabilities(labels, classes)
        losses = keras.losses.categorical_crossentropy(
            labels, logits, from_logits=True, label_smoothing=label_smoothing
        )
        if class_weights is None:
            return losses
        weights = ops.convert_to_tensor(class_weights, labels.dtype)
        return losses * ops.sum(labels * weights, axis=-1)

    return loss


def accuracy(classes: int) -> keras.metrics.Metric:
    """Returns the metric "accuracy" of labels, as `class_probabilities` takes them, and logits.

    A mixed image counts as correct if the predicted class has the highest probability in its label.

    Args:
        classes: int, number of classes.
    """

    def matches(labels, logits):
        if _are_probabilities(labels, classes):
            labels = ops.argmax(labels, axis=-1)
        return keras.metrics.sparse_categorical_accuracy(labels, logits)

    return keras.metrics.MeanMetricWrapper(matches, name="accuracy")


def class_probabilities(labels: keras.KerasTensor, classes: int) -> keras.KerasTensor:
    """Converts labels to probabilities of the classes.

    Args:
        labels: int tensor `(batch,)`, or, for mixed images, a float tensor `(batch, classes)`,
            which is returned as it is.
        classes: int, number of classes.

    Returns:
        A float tensor `(batch, classes)`.
    """
    if _are_probabilities(labels, classes):
        return labels
    return ops.one_hot(ops.reshape(labels, (-1,)), classes)


def _are_probabilities(labels, classes):
    return len(labels.shape) == 2 and labels.shape[1] == classes
