"""Which images a batch holds and what they look like: a function of seed, epoch and number alone.

Worker processes import this file: no Keras here.
"""

import dataclasses
import functools

import numpy as np

from ..data.image_files import ImageFiles
from .host_augmentation import mix_images, rand_augment, random_window
from .shares import WHOLE, Share

# what draws are for, so that no two uses have the same
ORDER, SAMPLE, MIX = range(3)


@dataclasses.dataclass(frozen=True)
class ImageAugmentation:
    """What is done to training images.

    Args:
        crop: float in (0, 1], the smallest share of an image's area that a random crop keeps; 0 for
            the middle of every image, as large as fits.
        flip: bool, whether a random half is mirrored.
        rand_augment: int, the magnitude of RandAugment from 1 to 10; 0 for none.
        mixup, cutmix: floats, parameters of the Beta distributions; 0 for none.
    """

    crop: float = 0.0
    flip: bool = False
    rand_augment: int = 0
    mixup: float = 0.0
    cutmix: float = 0.0

    @property
    def mixes(self):
        return bool(self.mixup or self.cutmix)


@dataclasses.dataclass(frozen=True)
class ImageBatches:
    """A function from the number of a batch to its images and labels.

    The numbers go on through the epochs: with 10 batches in each, 23 is the third of the third.

    Args:
        images: an `ImageFiles`.
        labels: int array, of all the images.
        indices: int array, the samples of an epoch.
        batch_size: int, images per batch.
        classes: int.
        seed: int.
        shuffle: bool. With `True` the order changes by epoch and the last, incomplete batch is left
            out.
        augmentation: an `ImageAugmentation`.
        share: a `Share`, the rows of every batch that are given. Images are mixed with others of
            the same share.
    """

    images: ImageFiles
    labels: np.ndarray
    indices: np.ndarray
    batch_size: int
    classes: int
    seed: int = 0
    shuffle: bool = False
    augmentation: ImageAugmentation = ImageAugmentation()
    share: Share = WHOLE

    def __len__(self):
        """Batches in an epoch."""
        whole, rest = divmod(len(self.indices), self.batch_size)
        return whole if self.shuffle or not rest else whole + 1

    def __call__(self, number):
        """Reads a batch.

        Args:
            number: int, of the batch, from the first epoch on.

        Returns:
            A uint8 array `(batch, height, width, 3)`, and labels: an int32 array `(batch,)` or,
            where images are mixed, a float32 array `(batch, classes)` of the classes' shares.

        Raises:
            UserError: an image cannot be read.
        """
        epoch, step = divmod(number, len(self))
        samples = self.samples(epoch, step)
        images = np.empty((len(samples), *self.images.shape[1:]), self.images.dtype)
        for place, index in enumerate(samples):
            images[place] = self.image(epoch, index)
        labels = self.labels[samples].astype("int32")
        ways = self.augmentation
        if not ways.mixes:
            return images, labels
        rngs = [generator(self.seed, epoch, index, MIX) for index in samples]
        return mix_images(rngs, images, labels, self.classes, ways.mixup, ways.cutmix)

    def rows_of(self, step):
        """Rows of a batch of an epoch, whatever the share of it."""
        return min(self.batch_size, len(self.indices) - step * self.batch_size)

    def samples(self, epoch, step):
        """The images of a batch, as an int array of their numbers among all."""
        places = step * self.batch_size + self.share.rows(self.rows_of(step))
        if self.shuffle:
            places = epoch_order(self.seed, epoch, len(self.indices))[places]
        return self.indices[places]

    def image(self, epoch, index):
        """An image as it is in an epoch, before images are mixed."""
        ways = self.augmentation
        if not (ways.crop or ways.flip or ways.rand_augment):
            return self.images.read(index)
        rng = generator(self.seed, epoch, index, SAMPLE)
        window = functools.partial(random_window, rng, least=ways.crop) if ways.crop else None
        pixels = self.images.read(index, window)
        if ways.flip and rng.random() < 0.5:
            pixels = pixels[:, ::-1]
        if ways.rand_augment:
            pixels = rand_augment(rng, pixels, ways.rand_augment)
        return pixels


@functools.lru_cache(maxsize=2)  # an epoch's, while batches of the next are read ahead
def epoch_order(seed, epoch, count):
    """The numbers below `count` in the order of an epoch."""
    return generator(seed, epoch, 0, ORDER).permutation(count)


def generator(seed, epoch, index, purpose):
    """A generator that only this sample of this epoch has; see `uniform_draws`."""
    # of the counter's four words, drawing moves the first: the others keep samples apart
    counter = [0, int(index), purpose + 1, 0]
    return np.random.Generator(np.random.Philox(key=[seed, epoch], counter=counter))
