"""The explanation of some images: which class each Grad-CAM is of."""

import numpy as np
import pytest

from models import build_model
from models.class_activation import grad_cam
from utils.explain.explanations import explain_images
from utils.explain.selection import SelectedImage

pytestmark = pytest.mark.once


@pytest.fixture
def network():
    return build_model("resnet_v1", depth=8, input_shape=(16, 16, 3), classes=4)


def test_cams_are_of_the_true_and_of_the_predicted_class(network, rng):
    pixels = rng.integers(0, 256, (3, 16, 16, 3)).astype("uint8")
    predicted = network.predict(pixels, verbose=0).argmax(axis=-1)
    true = (predicted + 1) % 4  # another one for each image
    images = [SelectedImage(str(n), pixels[n], int(true[n])) for n in range(3)]
    found = explain_images(network, "network", images)
    np.testing.assert_array_equal(found.predicted, predicted)
    np.testing.assert_allclose(
        found.predicted_class_cams, grad_cam(network, pixels, predicted), rtol=1e-4, atol=1e-6
    )
    wanted = grad_cam(network, pixels, true)
    np.testing.assert_allclose(np.array(found.true_class_cams), wanted, rtol=1e-4, atol=1e-6)
    assert np.abs(wanted - found.predicted_class_cams).max() > 1e-4


def test_cams_are_of_the_layer_that_is_named(network, rng):
    pixels = rng.integers(0, 256, (2, 16, 16, 3)).astype("uint8")
    layer = "stage1_block1_relu"
    images = [SelectedImage(str(n), pixels[n], n) for n in range(2)]
    found = explain_images(network, "network", images, layer)
    wanted = grad_cam(network, pixels, [0, 1], layer)
    np.testing.assert_allclose(np.array(found.true_class_cams), wanted, rtol=1e-4, atol=1e-6)
    assert np.abs(wanted - grad_cam(network, pixels, [0, 1])).max() > 1e-4


def test_an_image_of_unknown_class_has_no_cam_of_it(network, rng):
    pixels = rng.integers(0, 256, (2, 16, 16, 3)).astype("uint8")
    images = [SelectedImage("known", pixels[0], 2), SelectedImage("unknown", pixels[1], None)]
    known, unknown = explain_images(network, "network", images).true_class_cams
    assert known.shape == (16, 16)
    assert unknown is None
