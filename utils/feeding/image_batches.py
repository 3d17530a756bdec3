"""The batches of images on disk, each a pure function of the seed and its number.

Worker processes import this file: no Keras here.
"""

import dataclasses
import functools

import numpy as np

from ..data.dataset import ImagesOnDisk
from .host_augmentation import mix_images, rand_augment, random_window
from .shares import WHOLE, Share

# purposes of random draws: each has a generator of its own
ORDER, SAMPLE, MIX = range(3)


@dataclasses.dataclass(frozen=True)
class ImageAugmentation:
    """How training images are augmented.

    Args:
        crop: float in (0, 1], the smallest share of an image's area that a random crop keeps.
            Defaults to 0, the largest square in the middle of every image.
        flip: bool, whether a random half of the images is mirrored. Defaults to `False`.
        rand_augment: int, the magnitude of RandAugment from 1 to 10. Defaults to 0, none.
        mixup, cutmix: floats, parameters of the Beta distributions; see `mix_images`. Default to 0,
            none.
    """

    crop: float = 0.0
    flip: bool = False
    rand_augment: int = 0
    mixup: float = 0.0
    cutmix: float = 0.0

    @property
    def mixes(self) -> bool:
        """Whether images are mixed with others, which makes their labels soft."""
        return bool(self.mixup or self.cutmix)


@dataclasses.dataclass(frozen=True)
class ImageBatches:
    """A function from the number of a batch to its images and labels.

    Batches are numbered through all epochs, from 0: with 10 batches in an epoch, number 23 is the
    fourth of the third epoch.

    Args:
        images: `ImagesOnDisk`.
        labels: int array, of all the images.
        indices: int array, the samples of an epoch.
        batch_size: int.
        classes: int, the number of classes.
        seed: int. Defaults to 0.
        shuffle: bool. With `True`, every epoch has an order of its own and leaves out the last,
            incomplete batch. Defaults to `False`.
        augmentation: an `ImageAugmentation`. Defaults to none.
        share: a `Share`, the rows of every batch to give; an image is mixed with others of the same
            share. Defaults to all.
    """

    images: ImagesOnDisk
    labels: np.ndarray
    indices: np.ndarray
    batch_size: int
    classes: int
    seed: int = 0
    shuffle: bool = False
    augmentation: ImageAugmentation = ImageAugmentation()
    share: Share = WHOLE

    def __len__(self) -> int:
        """Returns the number of batches in an epoch."""
        whole, rest = divmod(len(self.indices), self.batch_size)
        return whole if self.shuffle or not rest else whole + 1

    def __call__(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        """Reads a batch.

        Args:
            number: int, of the batch, counted from the first batch of the first epoch.

        Returns:
            A uint8 array `(batch, height, width, 3)`, and labels: an int32 array `(batch,)` or,
            where images are mixed, soft labels, a float32 array `(batch, classes)`.

        Raises:
            UserError: an image cannot be read.
        """
        epoch, step = divmod(number, len(self))
        samples = self.samples(epoch, step)
        images = np.empty((len(samples), *self.images.shape[1:]), self.images.dtype)
        for place, index in enumerate(samples):
            images[place] = self.image(epoch, index)
        labels = self.labels[samples].astype("int32")
        augmentation = self.augmentation
        if not augmentation.mixes:
            return images, labels
        rngs = [generator(self.seed, epoch, index, MIX) for index in samples]
        return mix_images(
            rngs, images, labels, self.classes, augmentation.mixup, augmentation.cutmix
        )

    def rows_of(self, step: int) -> int:
        """Returns the rows of a batch of an epoch before it is shared."""
        return min(self.batch_size, len(self.indices) - step * self.batch_size)

    def samples(self, epoch: int, step: int) -> np.ndarray:
        """Returns an int array, the numbers of the images of a batch."""
        places = step * self.batch_size + self.share.rows(self.rows_of(step))
        if self.shuffle:
            places = epoch_order(self.seed, epoch, len(self.indices))[places]
        return self.indices[places]

    def image(self, epoch: int, index: int) -> np.ndarray:
        """Reads and augments an image, all but mixing it.

        Args:
            epoch: int, whose augmentation to apply.
            index: int, the number of the image.

        Returns:
            A uint8 array `(height, width, 3)`.
        """
        augmentation = self.augmentation
        if not (augmentation.crop or augmentation.flip or augmentation.rand_augment):
            return self.images.read(index)
        rng = generator(self.seed, epoch, index, SAMPLE)
        window = None
        if augmentation.crop:
            window = functools.partial(random_window, rng, least=augmentation.crop)
        pixels = self.images.read(index, window)
        if augmentation.flip and rng.random() < 0.5:
            pixels = pixels[:, ::-1]
        if augmentation.rand_augment:
            pixels = rand_augment(rng, pixels, augmentation.rand_augment)
        return pixels


@functools.lru_cache(maxsize=2)  # of an epoch, and of the next, whose batches are read ahead
def epoch_order(seed: int, epoch: int, count: int) -> np.ndarray:
    """Returns a permutation of the numbers below `count`, the order of an epoch."""
    return generator(seed, epoch, 0, ORDER).permutation(count)


def generator(seed: int, epoch: int, index: int, purpose: int) -> np.random.Generator:
    """Returns a random generator for one purpose of one sample in one epoch.

    Args:
        seed: int, not negative.
        epoch: int, not negative.
        index: int, the number of the sample.
        purpose: int, `ORDER`, `SAMPLE` or `MIX`.
    """
    # draws advance the first of the counter's four words; the others tell generators apart
    counter = [0, int(index), purpose + 1, 0]
    return np.random.Generator(np.random.Philox(key=[seed, epoch], counter=counter))
