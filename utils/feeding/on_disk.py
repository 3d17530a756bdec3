"""Images on disk: read, decoded and augmented on the host, ahead of the training."""

from contextlib import AbstractContextManager
from typing import Any, ClassVar, cast

import keras
import numpy as np
from keras import layers

from ..config.fields import filled_in
from ..config.optimization import BATCH_SIZE
from ..config.settings import TrainSettings
from ..data.batch_sizes import images_per_batch
from ..data.data_format import shape_in_data_format
from ..data.dataset import Dataset, ImagesOnDisk
from ..system.backend import threads
from ..system.backend_batches import keras_input
from .image_batches import ImageAugmentation, ImageBatches
from .shares import WHOLE, Share
from .streaming import StreamedBatches, reading_images

# a batch, if none is given, has as many images as leave so many steps in an epoch
LEAST_BATCH, STEPS = 8, 20
# at most so many images, of together so many pixels, represent all in the statistics
STATISTICS_IMAGES, STATISTICS_PIXELS = 500, 2**27
LARGEST_BATCH = 500  # images to validate or test on


class OnDisk:
    """The images of a data set on disk; an `ImageSource`.

    Args:
        dataset: a `Dataset` whose images are `ImagesOnDisk`.
    """

    own_settings: ClassVar[tuple[str, ...]] = (
        "image_size",
        "corrupt",
        "test_split",
        "workers",
        "crop",
        "rand_augment",
        "mixup",
        "cutmix",
    )
    packages: ClassVar[tuple[str, ...]] = ("pillow", "simplejpeg", "cykooz-resizer")

    def __init__(self, dataset: Dataset) -> None:
        self.dataset = dataset
        self._x_train = cast(ImagesOnDisk, dataset.x_train)
        self._x_test = cast(ImagesOnDisk, dataset.x_test)

    def data_defaults(self, settings: TrainSettings) -> dict[str, Any]:
        """Returns the settings whose default depends on the data, with the values in force."""
        size = {"image_size": self.dataset.image_shape[0]}
        if settings.batch_size is not None:
            return size
        devices = settings.devices * settings.hosts
        usual = BATCH_SIZE
        fitting = min(usual, max(LEAST_BATCH, len(self.dataset.y_train) // STEPS))
        return {**size, "batch_size": max(1, fitting // devices) * devices}

    def images_for_statistics(self, indices: np.ndarray) -> np.ndarray:
        """Returns the training images that mean and variance of the pixels are computed from.

        Of many images it returns a part, evenly spaced.
        """
        height, width, _ = self.dataset.image_shape
        count = min(len(indices), STATISTICS_IMAGES, STATISTICS_PIXELS // (height * width))
        places = np.linspace(0, len(indices) - 1, count).round().astype(int)
        return self._x_train[indices[places]]

    def images(
        self, settings: TrainSettings, fill: np.ndarray
    ) -> tuple[keras.KerasTensor, keras.KerasTensor]:
        """Makes the input of a training model, and the images of a batch, which are the same."""
        shape = shape_in_data_format(self.dataset.image_shape)
        pixels = keras.Input(shape, dtype="uint8", name="pixels")
        return pixels, layers.Rescaling(1.0, dtype="float32", name="images")(pixels)

    def training_batches(
        self, settings: TrainSettings, indices: np.ndarray, share: Share = WHOLE
    ) -> StreamedBatches:
        """Returns the batches to train on, shuffled and augmented."""
        augmentation = ImageAugmentation(
            crop=settings.crop if settings.augment else 0.0,
            flip=self.dataset.flips and settings.augment and settings.flip,
            rand_augment=settings.rand_augment,
            mixup=settings.mixup,
            cutmix=settings.cutmix,
        )
        batches = ImageBatches(
            self._x_train,
            self.dataset.y_train,
            indices,
            min(filled_in(settings.batch_size), len(indices)),
            self.dataset.classes,
            settings.seed,
            shuffle=True,
            augmentation=augmentation,
            share=share,
        )
        return StreamedBatches(batches, threads() if settings.workers is None else settings.workers)

    def validation_batches(self, indices: np.ndarray, share: Share = WHOLE) -> StreamedBatches:
        """Returns batches of training images in order, without augmentation."""
        return images_in_order(self._x_train, self.dataset.y_train, indices, share)

    def predict(self, network: keras.Model) -> np.ndarray:
        """Returns the outputs of a network for the test images, in order."""
        labels = self.dataset.y_test
        batches = images_in_order(self._x_test, labels, np.arange(len(labels)))
        with self.reading(batches):
            return network.predict(keras_input(batches), verbose=0)

    def reading(self, *batches: StreamedBatches | None) -> AbstractContextManager[None]:
        """A context for the use of batches; see `reading_images`."""
        return reading_images(*batches)


def images_in_order(
    images: ImagesOnDisk, labels: np.ndarray, indices: np.ndarray, share: Share = WHOLE
) -> StreamedBatches:
    """Returns batches of images in order, without augmentation.

    The larger the images, the fewer are in a batch.

    Args:
        images: `ImagesOnDisk`.
        labels: int array, of all the images.
        indices: int array, the images to give.
        share: a `Share`, the rows of every batch to give. Defaults to all.
    """
    batch_size = images_per_batch(images.shape[1:], LARGEST_BATCH)
    batches = ImageBatches(images, labels, indices, batch_size, classes=0, share=share)
    return StreamedBatches(batches)
