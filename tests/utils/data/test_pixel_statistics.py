"""Mean and variance of pixels, against NumPy's."""

import numpy as np

from utils.data.pixel_statistics import pixel_statistics


def test_pixel_statistics(rng):
    images = rng.integers(0, 256, (50, 7, 5, 3)).astype("uint8")
    mean, variance = pixel_statistics(images)
    np.testing.assert_allclose(mean, images.mean(axis=(0, 1, 2)))
    np.testing.assert_allclose(variance, images.var(axis=(0, 1, 2)))
