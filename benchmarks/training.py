"""Trainings as `main.py` does them, on random images of CIFAR-10's shape, ready to be timed."""

import contextlib

import numpy as np

from utils.config.settings import TrainSettings

IMAGES = 50_000


def random_dataset(count=IMAGES):
    """Returns a `Dataset` of so many random training images."""
    from utils.data.dataset import Dataset

    images = np.random.default_rng(0).integers(0, 256, (count, 32, 32, 3), "uint8")
    labels = np.arange(count) % 10
    names = tuple("0123456789")
    return Dataset("cifar10", images, labels, images[:10], labels[:10], names, 4, True)


def our_loop(dataset, steps, batch, per_launch=None, **options):
    """Training as `main.py` does it, on images that come again if there are too few for the steps.

    Args:
        dataset: a `Dataset` in memory.
        steps: int, of the training that the returned function runs.
        batch: int, images per step.
        per_launch: int, steps that the backend runs without coming back to Python. Defaults to as
            many as in `main.py`.
        **options: settings of `TrainSettings`, whose recipe is `plain`, which is SGD.

    Returns:
        A function that trains, and the network.
    """
    from utils.feeding.sources import image_source
    from utils.training.setup import build_network, compile_model, training_model
    from utils.training.train import with_defaults

    settings = with_defaults(TrainSettings(batch_size=batch, **options), dataset)
    network = build_network(settings, dataset, np.full(3, 127.0), np.full(3, 4000.0))
    source = image_source(dataset)
    indices = np.resize(np.arange(len(dataset.x_train)), steps * batch)
    batches = source.training_batches(settings, indices)
    model = training_model(network, *source.images(settings, np.zeros(3)))
    compile_model(settings, model, network, steps)
    if per_launch is not None:
        model.steps_per_execution = per_launch
    return epoch_of(model, batches), network


def epoch_of(model, batches, weighted=None, scope=contextlib.nullcontext):
    """Returns a function that trains a compiled model for an epoch.

    Args:
        model: the `keras.Model` to fit.
        batches: the `Batches` of the epoch.
        weighted: these batches as several devices take them. Defaults to the batches themselves.
        scope: function that returns the context to train in. Defaults to one that does nothing.
    """
    from utils.system.backend_batches import keras_input
    from utils.training.callbacks import SetEpoch

    fed = batches if weighted is None else weighted

    def run():
        with scope():
            callbacks = [SetEpoch(batches)]
            model.fit(keras_input(fed), callbacks=callbacks, shuffle=False, verbose=0)

    return run
