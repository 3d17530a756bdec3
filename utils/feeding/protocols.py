"""What training and evaluation need of batches and of what gives images."""

from contextlib import AbstractContextManager
from typing import Any, ClassVar, Protocol

import keras
import numpy as np

from ..config.settings import TrainSettings
from ..data.dataset import Dataset
from .shares import WHOLE, Share


class Batches(Protocol):
    """The batches of an epoch, a `keras.utils.PyDataset`."""

    @property
    def indices(self) -> np.ndarray:
        """Int array, the samples of an epoch."""

    @property
    def batch_size(self) -> int:
        """Samples in a batch, before it is shared."""

    @property
    def share(self) -> Share:
        """The rows of every batch that are given."""

    @property
    def skip(self) -> int:
        """How many batches at the beginning of the epoch are left out."""

    @property
    def num_batches(self) -> int:
        """Batches in the epoch, without those that are left out."""

    def __len__(self) -> int: ...

    def __getitem__(self, number: int) -> tuple[Any, np.ndarray]: ...

    def start_epoch(self, epoch: int, skip: int = 0) -> None:
        """Chooses the epoch whose batches are given.

        Args:
            epoch: int, from 0.
            skip: int, how many batches to leave out, where training resumes within an epoch.
                Defaults to 0.
        """

    def rows_of(self, number: int) -> int:
        """Returns the rows of a batch before it is shared."""


class ImageSource(Protocol):
    """What gives the images of a data set for training and evaluation.

    The attribute `own_settings` holds the names of the settings that only this kind of source has,
    and `packages` those of the packages, beside NumPy and Keras, that its pixels depend on.
    """

    own_settings: ClassVar[tuple[str, ...]]
    packages: ClassVar[tuple[str, ...]]

    @property
    def dataset(self) -> Dataset:
        """The data set."""

    def data_defaults(self, settings: TrainSettings) -> dict[str, Any]:
        """Returns the settings whose default depends on the data, with the values in force."""

    def images_for_statistics(self, indices: np.ndarray) -> np.ndarray:
        """Returns the training images that mean and variance of the pixels are computed from.

        Args:
            indices: int array, the images to train on.
        """

    def images(self, settings: TrainSettings, fill: np.ndarray) -> tuple[Any, Any]:
        """Makes the inputs of a training model, and the images of a batch from them.

        Args:
            settings: a `TrainSettings` with its defaults filled in.
            fill: array `(channels,)`, the color outside an image.

        Returns:
            Keras inputs for the batches, and the outputs of a layer named `"images"`.
        """

    def training_batches(
        self, settings: TrainSettings, indices: np.ndarray, share: Share = WHOLE
    ) -> Batches:
        """Returns the batches to train on, shuffled and augmented.

        Args:
            settings: a `TrainSettings` with its defaults filled in.
            indices: int array, the images to train on.
            share: a `Share`, the rows of every batch to give. Defaults to all.
        """

    def validation_batches(self, indices: np.ndarray, share: Share = WHOLE) -> Batches:
        """Returns batches of training images in order, without augmentation.

        Args:
            indices: int array, the images to validate on.
            share: a `Share`, the rows of every batch to give. Defaults to all.
        """

    def predict(self, network: keras.Model) -> np.ndarray:
        """Returns the outputs of a network for the test images, in order."""

    def reading(self, *batches: Any) -> AbstractContextManager[None]:
        """A context for the use of batches; at its end, what reads them ahead is stopped.

        Args:
            *batches: `Batches` of this source, or `None`.
        """
