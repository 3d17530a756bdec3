"""Batches of the folder of images of `tests/image_folders.py`."""

import numpy as np

from utils.feeding.image_batches import ImageAugmentation, ImageBatches

EVERYTHING = ImageAugmentation(crop=0.2, flip=True, rand_augment=5, mixup=0.2, cutmix=1.0)


def make_batches(dataset, augmentation=EVERYTHING, **options):
    """Batches of 6 of all training images but the first."""
    indices = np.arange(1, len(dataset.x_train))
    options = {"seed": 3, "shuffle": True, "augmentation": augmentation, **options}
    return ImageBatches(dataset.x_train, dataset.y_train, indices, 6, 2, **options)
