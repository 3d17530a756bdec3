"""Deletion and insertion on a detector whose curves are known."""

import numpy as np
import pytest

from utils.explain.faithfulness import Faithfulness, area_under_curves, faithfulness

SIDE, PATCH = 16, 8  # a quarter of the pixels


def patch_brightness(images):
    """A network whose probability of class 1 is the brightness of the upper left corner."""
    share = images[:, :PATCH, :PATCH].mean(axis=(1, 2, 3)) / 255
    return np.stack([1 - share, share], axis=1)


@pytest.fixture
def images():
    images = np.zeros((40, SIDE, SIDE, 3), "uint8")
    images[:, :PATCH, :PATCH] = 255
    return images


def saliency_of(images):
    return images.mean(axis=-1)


def test_perfect_explanation(images):
    score = faithfulness(patch_brightness, images, saliency_of(images), np.ones(40, int))
    # deleting the first quarter of the pixels takes the corner from 1 to the image's mean, 1/4
    wanted = np.maximum(np.linspace(1, 1 - 4 * 0.75, 33), 0.25)
    np.testing.assert_allclose(score.deletion, np.tile(wanted, (40, 1)), atol=1e-6)
    np.testing.assert_allclose(area_under_curves(score.deletion), 0.34375, atol=1e-6)
    assert score.insertion[:, 8:] == pytest.approx(1)
    assert (score.insertion[:, 0] < 0.9).all()
    # in random order the curve is linear, so the area is the mean of its ends
    assert area_under_curves(score.random_deletion).mean() == pytest.approx(0.625, abs=0.01)
    gain, error = score.gain("deletion")
    assert gain == pytest.approx(0.625 - 0.34375, abs=0.01)
    assert 0 < error < 0.01
    assert score.gain("insertion")[0] > 0


def test_the_opposite_explanation_is_worse_than_chance(images):
    score = faithfulness(patch_brightness, images, -saliency_of(images), np.ones(40, int))
    assert score.gain("deletion")[0] < -0.1
    assert score.gain("insertion")[0] < 0


def test_a_constant_explanation_is_as_good_as_chance(images):
    score = faithfulness(patch_brightness, images, np.zeros((40, SIDE, SIDE)), np.ones(40, int))
    gain, error = score.gain("deletion")
    assert abs(gain) <= 3 * error + 1e-9


def test_deletion_starts_and_insertion_ends_with_the_image(images):
    score = faithfulness(patch_brightness, images, saliency_of(images), np.ones(40, int))
    for deleted, inserted in (
        (score.deletion, score.insertion),
        (score.random_deletion, score.random_insertion),
    ):
        assert deleted[:, 0] == pytest.approx(1)
        assert inserted[:, -1] == pytest.approx(1)


def test_a_single_image_has_no_standard_error():
    curves = np.array([[1.0, 0.2, 0.0]])
    score = Faithfulness(*[curves] * 4)
    assert score.gain("deletion") == (0.0, None)
