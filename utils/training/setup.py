"""What is trained: the network, the images and their augmentation before it, and the batches."""

import dataclasses
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import layers, ops

from models.blocks import channel_axis
from models.graphs import deep_graphs

from ..config.default_model import with_model
from ..config.settings import TrainSettings
from ..data.data_format import shape_in_data_format
from ..data.dataset import Dataset
from ..data.pixel_statistics import pixel_statistics
from ..data.splits import validation_indices
from ..evaluation.networks import network_from_settings
from ..feeding.protocols import Batches, ImageSource
from ..feeding.shares import WHOLE, Share
from ..feeding.sources import image_source
from ..runs.progress import build_training_variables
from ..system.backend import jit_compile
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
    """

    network: keras.Model
    model: keras.Model
    batches: Batches
    validation: Batches | None
    source: ImageSource


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
            the data is too small for the validation split, or the weights to start from do not fit.
    """
    keras.utils.set_random_seed(settings.seed)
    keras.config.set_dtype_policy(settings.precision)
    training, validation = validation_indices(
        dataset.y_train, settings.validation_split, settings.seed, dataset.class_names
    )
    source = image_source(dataset)
    mean, variance = pixel_statistics(source.images_for_statistics(training))
    network = build_network(settings, dataset, mean, variance)
    if settings.init and settings.resume is None:  # a checkpoint has the weights of a resumed run
        for line in initialize(network, settings.init):
            announce(line)
    batches = source.training_batches(settings, training, share)
    inputs, images = source.images(settings, fill=np.rint(mean))
    model = training_model(settings, network, inputs, images, steps=len(batches))
    return Setup(
        network,
        model,
        batches,
        source.validation_batches(validation, share) if len(validation) else None,
        source,
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
        UserError: the attention module is unknown, or it or the architecture does not take an
            option.
    """
    image = keras.Input(shape_in_data_format(dataset.image_shape), name="image")
    pixels = layers.Normalization(
        axis=channel_axis(),
        mean=mean.tolist(),
        variance=variance.tolist(),
        dtype="float32",
        name="normalization",
    )(image)
    return network_from_settings(
        with_model(settings, dataset.image_shape),
        settings.attention_spec,
        input_tensor=pixels,
        classes=len(dataset.class_names),
    )


def training_model(
    settings: TrainSettings,
    network: keras.Model,
    inputs: Any,
    images: keras.KerasTensor,
    steps: int,
) -> keras.Model:
    """Builds and compiles the model to fit: augmentation, network, loss and optimizer.

    Args:
        settings: a `TrainSettings` with its defaults filled in.
        network: what `build_network` returns. The model shares its layers.
        inputs: Keras tensors of a batch, the first that a source's `images` returns.
        images: Keras tensor `(batch, height, width, channels)` computed from them, the second.
        steps: int, steps per epoch.

    Returns:
        A compiled `keras.Model` from batches to logits.
    """
    classes = network.output_shape[-1]
    with deep_graphs():
        logits = keras.Model(network.inputs, network.get_layer("logits").output)
        model = keras.Model(inputs, logits(images))
    assert settings.learning_rate is not None  # a default that is filled in
    schedule = learning_rate_schedule(
        settings.schedule, settings.learning_rate, settings.epochs * steps
    )
    model.compile(
        optimizer=make_optimizer(settings.optimizer, schedule, settings.weight_decay, settings.ema),
        loss=cross_entropy(classes, settings.label_smoothing),
        # weighted: the rows that pad a batch for several devices have weight 0
        weighted_metrics=[accuracy(classes)],
        jit_compile=jit_compile(),
    )
    build_training_variables(model, classes)
    return model


def cross_entropy(
    classes: int, label_smoothing: float
) -> Callable[[keras.KerasTensor, keras.KerasTensor], keras.KerasTensor]:
    """Returns a loss function of labels and logits, to be used in `compile`.

    Args:
        classes: int, number of classes.
        label_smoothing: float in [0, 1), see `keras.losses.CategoricalCrossentropy`.

    Returns:
        A function of labels, as `class_probabilities` takes them, and logits `(batch, classes)`,
        which returns the cross-entropy of each image, `(batch,)`.
    """

    def loss(labels, logits):
        return keras.losses.categorical_crossentropy(
            class_probabilities(labels, classes),
            logits,
            from_logits=True,
            label_smoothing=label_smoothing,
        )

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
