"""One training run, from settings to a folder with the trained network and its figures."""

import dataclasses
import importlib.util
import inspect
import statistics
import time
from pathlib import Path

import keras
import numpy as np
from keras import layers, ops

from models import architecture
from models.blocks import channel_axis
from models.saving import deep_graphs, load_model

from .augment import DeviceImages, EpochBatches
from .backend import jit_compile, versions
from .counting import trainable_params
from .data import in_data_format, load_dataset, pixel_statistics, validation_indices
from .errors import UserError
from .evaluation import evaluate
from .files import write_json
from .networks import network_of
from .optimizers import make_optimizer
from .runs import RunRecorder, check_run_dir, create_run_dir, default_run_dir
from .schedules import learning_rate_schedule
from .settings import LEARNING_RATES

VALIDATION_BATCH = 500


def train(settings, announce=print):
    """Trains a network and evaluates it once on the test set.

    Args:
        settings: a `TrainSettings`.
        announce: function that takes a line of text.

    Returns:
        The path of the run's folder and the dictionary of its `summary.json`.

    Raises:
        UserError: settings that do not fit together, data that cannot be had, or a run folder that
            is taken. Nothing is written then.
    """
    started = time.perf_counter()
    if settings.tensorboard and not importlib.util.find_spec("tensorflow"):
        raise UserError("--tensorboard needs TensorFlow, on every backend: pip install tensorflow")
    if settings.run_dir is not None:
        check_run_dir(settings.run_dir)
    dataset = load_dataset(settings.dataset, settings.data_dir, announce)
    settings = with_defaults(settings, dataset)
    run_dir = Path(settings.run_dir or default_run_dir(settings, dataset.name))
    check_run_dir(run_dir)

    keras.utils.set_random_seed(settings.seed)
    keras.config.set_dtype_policy(settings.precision)
    training, validation = validation_indices(
        dataset.y_train, settings.validation_split, settings.seed
    )
    mean, variance = pixel_statistics(dataset.x_train[training])
    network = build_network(settings, dataset, mean, variance)
    batches = training_batches(settings, dataset, training)
    model = training_model(settings, dataset, network, fill=np.rint(mean), steps=len(batches))
    create_run_dir(run_dir, settings)
    announce(describe(settings, dataset, network, len(training), len(validation), run_dir))

    recorder = RunRecorder(run_dir, network, len(batches) * batches.batch_size)
    callbacks = [EpochDraws(batches), recorder]
    if settings.tensorboard:
        callbacks.append(keras.callbacks.TensorBoard(str(run_dir / "tensorboard")))
    model.fit(
        batches,
        validation_data=validation_batches(dataset, validation) if len(validation) else None,
        epochs=settings.epochs,
        callbacks=callbacks,
        shuffle=False,  # `batches` has its own order
        verbose=0,
    )

    test = evaluate(load_model(run_dir / "best.keras"), dataset)
    summary = summarize(settings, network, recorder, test, time.perf_counter() - started)
    write_json(run_dir / "summary.json", summary)
    return run_dir, summary


def summarize(settings, network, recorder, test, seconds):
    """What `summary.json` holds: the result, and what it was obtained with."""
    rows = recorder.history
    return {
        "test_accuracy": test.accuracy,
        "test_loss": test.loss,
        "best_val_accuracy": recorder.best.get("val_accuracy"),
        "best_epoch": recorder.best["epoch"],
        "params": trainable_params(network),
        "epochs": settings.epochs,
        # the first epoch holds the compilation
        "images_per_second": statistics.median(
            row["images_per_second"] for row in rows[1:] or rows
        ),
        "seconds": seconds,
        "seed": settings.seed,
        "dataset": settings.dataset,
        "model": settings.model,
        "depth": settings.depth,
        "attention": settings.attention,
        "versions": versions(),
    }


def with_defaults(settings, dataset):
    """Returns the settings with everything filled in that depends on other settings."""
    depth = settings.depth
    if depth is None:
        parameter = inspect.signature(architecture(settings.model)).parameters.get("depth")
        depth = parameter.default if parameter else None
    return dataclasses.replace(
        settings,
        dataset=dataset.name,
        depth=depth,
        learning_rate=settings.learning_rate or LEARNING_RATES[settings.optimizer],
        crop_padding=(
            dataset.crop_padding if settings.crop_padding is None else settings.crop_padding
        ),
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
        optimizer=make_optimizer(settings.optimizer, schedule, settings.weight_decay),
        loss=cross_entropy(len(dataset.class_names), settings.label_smoothing),
        metrics=[keras.metrics.SparseCategoricalAccuracy(name="accuracy")],
        jit_compile=jit_compile(),
    )
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


class EpochDraws(keras.callbacks.Callback):
    """Tells the batches which epoch's draws to give."""

    def __init__(self, batches):
        super().__init__()
        self.batches = batches

    def on_epoch_begin(self, epoch, logs=None):
        self.batches.epoch = epoch


def describe(settings, dataset, network, training, validation, run_dir):
    """A few lines that say what is about to happen."""
    depth = "" if settings.depth is None else f", depth {settings.depth}"
    attention = settings.attention
    if attention != "none":
        attention += f" ({', '.join(settings.attention_at)})"
    params = trainable_params(network)
    return (
        f"{settings.model}{depth}, attention {attention}, {params:,} parameters\n"
        f"{dataset.name}: {training:,} training, {validation:,} validation, "
        f"{len(dataset.x_test):,} test images\n"
        f"{settings.epochs} epochs on {keras.backend.backend()}, writing to {run_dir}"
    )
