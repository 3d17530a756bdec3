"""What is trained: the network, the images and their augmentation before it, and the batches."""

import dataclasses

import keras
import numpy as np
from keras import layers, ops

from models.blocks import channel_axis
from models.saving import deep_graphs

from .augment import DeviceImages, EpochBatches
from .backend import jit_compile
from .data import in_data_format, pixel_statistics, validation_indices
from .networks import network_of
from .optimizers import make_optimizer
from .progress import prepare
from .schedules import learning_rate_schedule

VALIDATION_BATCH = 500


@dataclasses.dataclass(frozen=True)
class Setup:
    """Everything that a training needs, in memory.

    Args:
        network: the `keras.Model` that comes of it, from raw pixels to class probabilities.
        model: the compiled `keras.Model` that is fitted, from `EpochBatches` to logits; it has the
            layers of `network`, and the images in the layer `"images"`.
        batches: an `EpochBatches` to train on.
        validation: an `EpochBatches` to validate on, or `None`.
    """

    network: keras.Model
    model: keras.Model
    batches: EpochBatches
    validation: EpochBatches | None


def make_setup(settings, dataset):
    """Builds network, model and batches.

    Args:
        settings: a `TrainSettings` with its defaults filled in.
        dataset: a `Dataset`.

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
    mean, variance = pixel_statistics(dataset.x_train[training])
    network = build_network(settings, dataset, mean, variance)
    batches = training_batches(settings, dataset, training)
    model = training_model(settings, dataset, network, fill=np.rint(mean), steps=len(batches))
    return Setup(
        network,
        model,
        batches,
        validation_batches(dataset, validation) if len(validation) else None,
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
    image = keras.Input(in_data_format(dataset.x_test[:1]).shape[1:], name="image")
    pixels = layers.Normalization(
        axis=channel_axis(),
        mean=mean.tolist(),
        variance=variance.tolist(),
        dtype="float32",
        name="normalization",
    )(image)
    return network_of(
        settings,
        settings.attention,
        settings.attention_options(),
        input_tensor=pixels,
        classes=len(dataset.class_names),
        attention_at=settings.attention_at,
    )


def training_model(settings, dataset, network, fill, steps):
    """Puts the images and their augmentation before the network, and compiles the whole.

    Args:
        settings: a `TrainSettings` with its defaults filled in.
        dataset: a `Dataset`; its training images go to the device.
        network: what `build_network` returns; it is trained in place.
        fill: array `(channels,)`, the colour outside an image.
        steps: int, steps per epoch.

    Returns:
        A compiled `keras.Model` from `EpochBatches` to logits.
    """
    names = ("index", "dy", "dx", "flip", "cutout_y", "cutout_x")
    draws = {name: keras.Input((), dtype="int32", name=name) for name in names}
    images = DeviceImages(dataset.x_train, fill, settings.cutout, name="images")(draws)
    with deep_graphs():
        logits = keras.Model(network.inputs, network.get_layer("logits").output)
        model = keras.Model(draws, logits(images))
    schedule = learning_rate_schedule(
        settings.schedule, settings.learning_rate, settings.epochs * steps
    )
    model.compile(
        optimizer=make_optimizer(settings.optimizer, schedule, settings.weight_decay, settings.ema),
        loss=cross_entropy(len(dataset.class_names), settings.label_smoothing),
        metrics=[keras.metrics.SparseCategoricalAccuracy(name="accuracy")],
        jit_compile=jit_compile(),
    )
    prepare(model, len(dataset.class_names))
    return model


def cross_entropy(classes, label_smoothing):
    """Cross-entropy of integer labels with logits, as a function for `compile`."""

    def loss(labels, logits):
        return keras.losses.categorical_crossentropy(
            ops.one_hot(ops.reshape(labels, (-1,)), classes),
            logits,
            from_logits=True,
            label_smoothing=label_smoothing,
        )

    return loss


def training_batches(settings, dataset, indices):
    """The batches of an epoch, shuffled and augmented as the settings (all filled in) say."""
    return EpochBatches(
        indices,
        dataset.y_train,
        settings.batch_size,
        size=dataset.x_train.shape[1:3],
        seed=settings.seed,
        shuffle=True,
        crop_padding=settings.crop_padding if settings.augment else 0,
        flip=dataset.flips and settings.augment,
        cutout=settings.cutout,
    )


def validation_batches(dataset, indices):
    """The validation images as they are, in order."""
    return EpochBatches(indices, dataset.y_train, VALIDATION_BATCH, dataset.x_train.shape[1:3])
