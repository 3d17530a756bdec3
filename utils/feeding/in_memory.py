"""Images in memory: all of them are copied to the device once, and augmented there."""

import contextlib
from contextlib import AbstractContextManager
from typing import Any, ClassVar

import keras
import numpy as np

from ..config.fields import filled_in
from ..config.optimization import BATCH_SIZE
from ..config.settings import TrainSettings
from ..data.data_format import in_data_format
from ..data.dataset import Dataset
from ..runs.predictions import in_batches
from .device_augmentation import DeviceImages
from .epoch_batches import EpochBatches
from .shares import WHOLE, Share

VALIDATION_BATCH = TEST_BATCH = 500


class InMemory:
    """The images of a data set in memory; an `ImageSource`.

    Args:
        dataset: a `Dataset` whose images are arrays.
    """

    own_settings: ClassVar[tuple[str, ...]] = ("crop_padding", "cutout")
    packages: ClassVar[tuple[str, ...]] = ()

    def __init__(self, dataset: Dataset) -> None:
        self.dataset = dataset

    def data_defaults(self, settings: TrainSettings) -> dict[str, Any]:
        """Returns the settings whose default depends on the data, with the values in force."""
        given = settings.crop_padding
        return {
            "crop_padding": self.dataset.crop_padding if given is None else given,
            "batch_size": settings.batch_size or BATCH_SIZE,
        }

    def images_for_statistics(self, indices: np.ndarray) -> np.ndarray:
        """Returns the training images that mean and variance of the pixels are computed from."""
        return self.dataset.x_train[indices]

    def images(
        self, settings: TrainSettings, fill: np.ndarray
    ) -> tuple[dict[str, keras.KerasTensor], keras.KerasTensor]:
        """Makes the inputs of a training model, and the images of a batch from them."""
        names = ("index", "dy", "dx", "flip", "cutout_y", "cutout_x")
        draws = {name: keras.Input((), dtype="int32", name=name) for name in names}
        pixels = np.asarray(self.dataset.x_train)
        layer = DeviceImages(pixels, fill, settings.cutout, name="images")
        return draws, layer(draws)

    def training_batches(
        self, settings: TrainSettings, indices: np.ndarray, share: Share = WHOLE
    ) -> EpochBatches:
        """Returns the batches to train on, shuffled and augmented."""
        return EpochBatches(
            indices,
            self.dataset.y_train,
            filled_in(settings.batch_size),
            size=self.dataset.image_shape[:2],
            seed=settings.seed,
            shuffle=True,
            crop_padding=(settings.crop_padding or 0) if settings.augment else 0,
            flip=self.dataset.flips and settings.augment and settings.flip,
            cutout=settings.cutout,
            share=share,
        )

    def validation_batches(self, indices: np.ndarray, share: Share = WHOLE) -> EpochBatches:
        """Returns batches of training images in order, without augmentation."""
        size = self.dataset.image_shape[:2]
        return EpochBatches(indices, self.dataset.y_train, VALIDATION_BATCH, size, share=share)

    def predict(self, network: keras.Model) -> np.ndarray:
        """Returns the outputs of a network for the test images, in order."""
        images = in_data_format(np.asarray(self.dataset.x_test))
        return in_batches(network.predict_on_batch, images, TEST_BATCH)

    def reading(self, *batches: EpochBatches | None) -> AbstractContextManager[None]:
        """A context for the use of batches; there is nothing to stop at its end."""
        return contextlib.nullcontext()
