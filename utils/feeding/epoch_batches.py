"""Which samples a batch holds and how each is augmented: draws by seed, epoch and sample alone."""

import keras
import numpy as np

from .shares import WHOLE

# one row of draws per sample, of a length that Philox can jump to: a multiple of four
DRAWS_PER_SAMPLE = 8
ORDER, CROP_Y, CROP_X, FLIP, CUTOUT_Y, CUTOUT_X = range(6)


def uniform_draws(seed, epoch, count):
    """Uniform numbers in [0, 1) for every sample of an epoch.

    Row `i` depends on `(seed, epoch, i)` alone, whatever `count` is: a counter-based generator
    makes order and augmentation the same after a resumption, on every backend and every host.

    Args:
        seed: int, not negative.
        epoch: int, not negative.
        count: int, number of samples in the whole set.

    Returns:
        A float64 array `(count, DRAWS_PER_SAMPLE)`.
    """
    generator = np.random.Generator(np.random.Philox(key=[seed, epoch]))
    return generator.random((count, DRAWS_PER_SAMPLE))


class EpochBatches(keras.utils.PyDataset):
    """Batches of sample numbers, draws and labels; the images are on the device.

    Args:
        indices: int array, the samples of an epoch, as rows of `DeviceImages`.
        labels: int array, of all the samples that `DeviceImages` holds.
        batch_size: int.
        size: pair of ints, height and width of the images.
        seed: int.
        shuffle: bool. With `True` the order changes by epoch and the last, incomplete batch is
            left out.
        crop_padding: int, the largest shift in pixels; 0 for none.
        flip: bool, whether images are mirrored: a random half in the first epoch, the others in the
            second, and so on.
        cutout: int, side of the square that is cut out; 0 for none.

    The attribute `epoch` says whose draws to give; set it before the epoch begins. The attribute
    `skip` is the number of batches at the beginning of the epoch that are left out, and `share` a
    `Share`, the rows of every batch that are given.

    Reference:

    - Alternating flips: [94% on CIFAR-10 in 3.29 Seconds](https://arxiv.org/abs/2404.00498),
      section 3.6
    """

    def __init__(
        self,
        indices,
        labels,
        batch_size,
        size,
        seed=0,
        shuffle=False,
        crop_padding=0,
        flip=False,
        cutout=0,
    ):
        super().__init__()
        self.indices = indices
        self.labels = labels
        self.batch_size = min(batch_size, len(indices))
        self.size = size
        self.seed = seed
        self.shuffle = shuffle
        self.crop_padding = crop_padding
        self.flip = flip
        self.cutout = cutout
        self.share = WHOLE
        self.skip = 0
        self.epoch = 0

    @property
    def epoch(self):
        return self._epoch

    @epoch.setter
    def epoch(self, epoch):
        self._epoch = epoch
        draws = uniform_draws(self.seed, epoch, len(self.labels))[self.indices]
        # which image is mirrored is drawn once, then alternates: see the class's reference
        first = uniform_draws(self.seed, 0, len(self.labels))[self.indices, FLIP] < 0.5
        draws[:, FLIP] = first ^ bool(epoch % 2)
        order = np.argsort(draws[:, ORDER], kind="stable") if self.shuffle else slice(None)
        self._order = self.indices[order]
        self._draws = self._pixels(draws[order])

    def _pixels(self, draws):
        height, width = self.size
        shifts = 2 * self.crop_padding + 1
        return {
            "dy": np.floor(draws[:, CROP_Y] * shifts) - self.crop_padding,
            "dx": np.floor(draws[:, CROP_X] * shifts) - self.crop_padding,
            "flip": draws[:, FLIP] * self.flip,
            # the square's upper left corner; its center is anywhere in the image
            "cutout_y": np.floor(draws[:, CUTOUT_Y] * height) - self.cutout // 2,
            "cutout_x": np.floor(draws[:, CUTOUT_X] * width) - self.cutout // 2,
        }

    def __len__(self):
        whole, rest = divmod(len(self.indices), self.batch_size)
        return (whole if self.shuffle or not rest else whole + 1) - self.skip

    @property
    def num_batches(self):
        return len(self)

    def rows_of(self, number):
        """Rows of a batch, whatever the share of it."""
        first = (self.skip + number) * self.batch_size
        return min(self.batch_size, len(self.indices) - first)

    def __getitem__(self, number):
        first = (self.skip + number) * self.batch_size
        rows = first + self.share.rows(self.rows_of(number))
        index = self._order[rows]
        draws = {name: values[rows].astype("int32") for name, values in self._draws.items()}
        return {"index": index.astype("int32"), **draws}, self.labels[index].astype("int32")
