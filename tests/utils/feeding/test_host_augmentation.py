"""Crops, operations and mixtures of images on the host."""

import numpy as np
import pytest
from PIL import Image

from utils.feeding.host_augmentation import OPERATIONS, mix_images, rand_augment, random_window


def test_random_windows_have_the_area_and_ratio_that_are_asked_for(rng):
    for _ in range(200):
        left, upper, right, lower = random_window(rng, 300, 200, 0.3)
        assert 0 <= left < right <= 300
        assert 0 <= upper < lower <= 200
        assert 0.3 * 60_000 <= (right - left) * (lower - upper) <= 60_000.001
        assert 0.749 < (right - left) / (lower - upper) < 1.334
    left, upper, right, lower = random_window(rng, 1000, 10, 0.5)  # as much as fits
    assert (lower - upper, round(right - left, 3)) == (10, 13.333)


@pytest.mark.parametrize("name", OPERATIONS)
def test_every_operation_keeps_the_shape(name, rng):
    pixels = rng.integers(0, 256, (9, 12, 3), "uint8")
    function, largest, _ = OPERATIONS[name]
    image = Image.fromarray(pixels)
    assert function(image, largest).size == (12, 9)
    if name.startswith(("rotate", "shear", "translate", "color", "contrast", "bright", "sharp")):
        np.testing.assert_array_equal(np.asarray(function(image, 0)), pixels)
    assert rand_augment(rng, pixels, 10).shape == pixels.shape


def test_mixed_images_and_labels_have_the_same_shares():
    images = np.zeros((4, 20, 20, 3), "uint8")
    images[1::2] = 200  # every neighbor is of the other kind
    labels = np.array([0, 1, 0, 1])
    rngs = [np.random.default_rng(i) for i in range(4)]
    for ways in ({"mixup": 0.4}, {"cutmix": 1.0}, {"mixup": 0.4, "cutmix": 1.0}):
        found, shares = mix_images(rngs, images, labels, 2, **ways)
        np.testing.assert_allclose(shares.sum(axis=1), 1, rtol=1e-6)
        np.testing.assert_allclose(found.mean(axis=(1, 2, 3)) / 200, shares[:, 1], atol=0.003)
        assert (set(np.unique(found)) <= {0, 200}) == ("mixup" not in ways)
