"""What is trained: the network, the images and their augmentation before it, and the batches."""

import dataclasses

import keras
import numpy as np
from keras import layers, ops

from models.blocks import channel_axis
from models.saving import deep_graphs

from ..data.data_format import shape_in_data_format
from ..data.pixel_statistics import pixel_statistics
from ..data.splits import validation_indices
from ..evaluation.networks import network_from_settings
from ..feeding.protocols import Batches, ImageSource
from ..feeding.shares import WHOLE, Share
from ..feeding.sources import image_source
from ..runs.progress import prepare
from ..system.backend import jit_compile
from .optimizers import make_optimizer
from .schedules import learning_rate_schedule


@dataclasses.dataclass(frozen=True)
class Setup:
    """Everything that a training needs, in memory.

    Args:
        network: the `keras.Model` that comes of it, from raw pixels to class probabilities.
        model: the compiled `keras.Model` that is fitted, from batches to logits; it has the layers
            of `network`, and what makes images of a batch in the layer `"images"`.
        batches: the `Batches` to train on.
        validation: those to validate on, or `None`.
        source: the `ImageSource` of the batches, which are used within its `reading`.
    """

    network: keras.Model
    model: keras.Model
    batches: Batches
    validation: Batches | None
    source: ImageSource


def make_setup(settings, dataset, share: Share = WHOLE):
    """Builds network, model and batches.

    Args:
        settings: a `TrainSettings` with its defaults filled in.
        dataset: a `Dataset`.
        share: a `Share`, the rows of every batch to train on. Defaults to all.

    Returns:
        A `Setup`.

    Raises:
        UserError: an unknown attention module, an option that it or the architecture cannot take,
            or a validation split that the data cannot have.
    """
    keras.utils.set_random_seed(settings.seed)
    keras.config.set_dtype_policy(settings.precision)
    training, validation = validation_indices(
        dataset.y_train, settings.validation_split, settings.seed
    )
    source = image_source(dataset)
    mean, variance = pixel_statistics(source.images_for_statistics(training))
    network = build_network(settings, dataset, mean, variance)
    batches = source.training_batches(settings, training, share)
    images = source.images(settings, fill=np.rint(mean))
    model = training_model(settings, network, *images, steps=len(batches))
    return Setup(
        network,
        model,
        batches,
        source.validation_batches(validation, share) if len(validation) else None,
        source,
    )


def build_network(settings, dataset, mean, variance):
    """Builds the network to be trained: raw pixels in, class probabilities out.

    Args:
        settings: a `TrainSettings`.
        dataset: a `Dataset`.
        mean, variance: float arrays `(channels,)` in raw pixel units; they become part of the
            model.

    Returns:
        A Functional `keras.Model`.

    Raises:
        UserError: an architecture or attention module that is unknown, or an option it cannot take.
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
        settings,
        settings.attention,
        settings.attention_options(),
        input_tensor=pixels,
        classes=len(dataset.class_names),
        attention_at=settings.attention_at,
    )


def training_model(settings, network, inputs, images, steps):
    """Puts what makes images of a batch before the network, and compiles the whole.

    Args:
        settings: a `TrainSettings` with its defaults filled in.
        network: what `build_network` returns; it is trained in place.
        inputs, images: what a source's `images` returns.
        steps: int, steps per epoch.

    Returns:
        A compiled `keras.Model` from batches to logits.
    """
    classes = network.output_shape[-1]
    with deep_graphs():
        logits = keras.Model(network.inputs, network.get_layer("logits").output)
        model = keras.Model(inputs, logits(images))
    schedule = learning_rate_schedule(
        settings.schedule, settings.learning_rate, settings.epochs * steps
    )
    model.compile(
        optimizer=make_optimizer(settings.optimizer, schedule, settings.weight_decay, settings.ema),
        loss=cross_entropy(classes, settings.label_smoothing),
        # weighted: rows that fill up a batch for several devices weigh nothing
        weighted_metrics=[accuracy(classes)],
        jit_compile=jit_compile(),
    )
    prepare(model, classes)
    return model


def cross_entropy(classes, label_smoothing):
    """Cross-entropy of labels with logits, as a function for `compile`."""

    def loss(labels, logits):
        return keras.losses.categorical_crossentropy(
            shares_of_classes(labels, classes),
            logits,
            from_logits=True,
            label_smoothing=label_smoothing,
        )

    return loss


def accuracy(classes):
    """The share of labels, or of the largest shares in mixed ones, that logits are right about."""

    def matches(labels, logits):
        if _are_shares(labels, classes):
            labels = ops.argmax(labels, axis=-1)
        return keras.metrics.sparse_categorical_accuracy(labels, logits)

    return keras.metrics.MeanMetricWrapper(matches, name="accuracy")


def shares_of_classes(labels, classes):
    """Integer labels as vectors `(batch, classes)`, which those of mixed images are already."""
    if _are_shares(labels, classes):
        return labels
    return ops.one_hot(ops.reshape(labels, (-1,)), classes)


def _are_shares(labels, classes):
    return len(labels.shape) == 2 and labels.shape[1] == classes
