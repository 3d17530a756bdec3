"""Images in memory: the whole set goes to the device, and is drawn from and augmented there."""

import contextlib

import keras

from ..data.datasets import fingerprint, in_data_format
from ..runs.predictions import in_batches
from .device_augmentation import DeviceImages
from .epoch_batches import EpochBatches

VALIDATION_BATCH = TEST_BATCH = 500


class InMemory:
    """The images of a data set that is in memory, for training and evaluation.

    Args:
        dataset: a `Dataset`.
    """

    own_settings = ("crop_padding", "cutout")
    packages = ()

    def __init__(self, dataset):
        self.dataset = dataset

    def data_defaults(self, settings):
        """The settings that are the data's where none is given, as a dictionary."""
        given = settings.crop_padding
        return {"crop_padding": self.dataset.crop_padding if given is None else given}

    def measured(self, indices):
        """The training images by whose pixels the set is standardized, of those with `indices`."""
        return self.dataset.x_train[indices]

    def fingerprint(self):
        """A checksum of everything in the data set that a training sees."""
        return fingerprint(self.dataset)

    def images(self, settings, fill):
        """Makes images of training batches.

        Args:
            settings: a `TrainSettings` with its defaults filled in.
            fill: array `(channels,)`, the color outside an image.

        Returns:
            Inputs for the batches, and the images of a layer named `"images"`.
        """
        names = ("index", "dy", "dx", "flip", "cutout_y", "cutout_x")
        draws = {name: keras.Input((), dtype="int32", name=name) for name in names}
        layer = DeviceImages(self.dataset.x_train, fill, settings.cutout, name="images")
        return draws, layer(draws)

    def training_batches(self, settings, indices):
        """The batches of an epoch, shuffled and augmented as the settings (all filled in) say."""
        return EpochBatches(
            indices,
            self.dataset.y_train,
            settings.batch_size,
            size=self.dataset.x_train.shape[1:3],
            seed=settings.seed,
            shuffle=True,
            crop_padding=settings.crop_padding if settings.augment else 0,
            flip=self.dataset.flips and settings.augment and settings.flip,
            cutout=settings.cutout,
        )

    def validation_batches(self, indices):
        """Training images as they are, in order."""
        size = self.dataset.x_train.shape[1:3]
        return EpochBatches(indices, self.dataset.y_train, VALIDATION_BATCH, size)

    def predict(self, network):
        """What a network gives for the test images, in order."""
        images = in_data_format(self.dataset.x_test)
        return in_batches(network.predict_on_batch, images, TEST_BATCH)

    def reading(self, *batches):
        """A context in which batches are asked for; nothing of them has to be ended."""
        return contextlib.nullcontext()
