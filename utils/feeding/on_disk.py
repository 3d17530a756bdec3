"""Images on disk: read, decoded and augmented ahead on the host, a batch at a time."""

import keras
import numpy as np
from keras import layers

from ..data.datasets import fingerprint, in_data_format
from ..system.backend import threads
from ..system.backend_batches import keras_input
from .image_batches import ImageAugmentation, ImageBatches
from .streaming import StreamedBatches, reading_images

MEASURED, MEASURED_PIXELS = 500, 2**27  # images, and their pixels, that stand for all
IN_ORDER, IN_ORDER_PIXELS = 500, 2**21  # images in a batch that no step is made of


class OnDisk:
    """The images of a data set that stays on disk, for training and evaluation; as `InMemory`.

    Args:
        dataset: a `Dataset` whose images are `ImageFiles`.
    """

    own_settings = ("image_size", "corrupt", "workers", "crop", "rand_augment", "mixup", "cutmix")
    packages = ("pillow", "simplejpeg", "cykooz-resizer")  # that the pixels depend on

    def __init__(self, dataset):
        self.dataset = dataset

    def data_defaults(self, settings):
        """The settings that are the data's where none is given, as a dictionary."""
        return {"image_size": self.dataset.x_test.shape[1]}

    def measured(self, indices):
        """The training images by whose pixels the set is standardized, of those with `indices`."""
        count = min(len(indices), MEASURED, MEASURED_PIXELS // self.dataset.x_train.shape[1] ** 2)
        places = np.linspace(0, len(indices) - 1, count).round().astype(int)
        return self.dataset.x_train[indices[places]]

    def fingerprint(self):
        """A checksum of everything in the data set that a training sees."""
        return fingerprint(self.dataset, lambda images: images.checksum.encode())

    def images(self, settings, fill):
        """The input for training batches, and their images, which were augmented on the host."""
        shape = in_data_format(self.dataset.x_test[:1]).shape[1:]
        pixels = keras.Input(shape, dtype="uint8", name="pixels")
        return pixels, layers.Rescaling(1.0, dtype="float32", name="images")(pixels)

    def training_batches(self, settings, indices):
        """The batches of an epoch, shuffled and augmented as the settings (all filled in) say."""
        ways = ImageAugmentation(
            crop=settings.crop if settings.augment else 0.0,
            flip=self.dataset.flips and settings.augment and settings.flip,
            rand_augment=settings.rand_augment,
            mixup=settings.mixup,
            cutmix=settings.cutmix,
        )
        read = ImageBatches(
            self.dataset.x_train,
            self.dataset.y_train,
            indices,
            min(settings.batch_size, len(indices)),
            self.dataset.classes,
            settings.seed,
            shuffle=True,
            augmentation=ways,
        )
        return StreamedBatches(read, threads() if settings.workers is None else settings.workers)

    def validation_batches(self, indices):
        """Training images as they are, in order."""
        return images_in_order(self.dataset.x_train, self.dataset.y_train, indices)

    def predict(self, network):
        """What a network gives for the test images, in order."""
        labels = self.dataset.y_test
        batches = images_in_order(self.dataset.x_test, labels, np.arange(len(labels)))
        with self.reading(batches):
            return network.predict(keras_input(batches), verbose=0)

    def reading(self, *batches):
        """A context in which batches are asked for; see `reading_images`."""
        return reading_images(*batches)


def images_in_order(images, labels, indices):
    """Images as they are, in order, in batches of about as many pixels at any size.

    Args:
        images: an `ImageFiles`.
        labels: int array, of all of them.
        indices: int array, those that are wanted.

    Returns:
        A `StreamedBatches`.
    """
    batch_size = int(np.clip(IN_ORDER_PIXELS // images.shape[1] ** 2, 1, IN_ORDER))
    return StreamedBatches(ImageBatches(images, labels, indices, batch_size, classes=0))
