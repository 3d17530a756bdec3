"""The explanation of some images: which class each Grad-CAM is of."""

import keras
import numpy as np
import pytest

from models import build_model
from models.attention_module import sk_block
from models.class_activation import grad_cam
from utils.explain import explanation_plots
from utils.explain.explanation_plots import plot_explanations, plot_faithfulness
from utils.explain.explanations import explain_images
from utils.explain.faithfulness import Faithfulness
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


@pytest.fixture
def figures(monkeypatch):
    """The figures that are drawn, which are not written."""
    drawn = []
    monkeypatch.setattr(explanation_plots, "save_figure", lambda figure, path: drawn.append(figure))
    return drawn


def test_the_picture_has_a_row_for_each_branch(figures, rng):
    image = keras.Input((8, 8, 3))
    maps = sk_block(keras.layers.Conv2D(4, 3)(image))
    scores = keras.layers.Dense(2, "softmax")(keras.layers.GlobalAveragePooling2D()(maps))
    pixels = rng.integers(0, 256, (2, 8, 8, 3)).astype("uint8")
    images = [SelectedImage(str(n), pixels[n], n) for n in range(2)]
    found = explain_images(keras.Model(image, scores), "network", images)
    plot_explanations("unused", images, [found], ["a", "b"])
    labels = [axes.get_ylabel() for axes in figures[0].axes]
    rows = [label.splitlines()[2] for label in labels if "channel attention" in label]
    assert rows == ["sorted shares of branch1, 0 to 1", "sorted shares of branch2, 0 to 1"]


def test_a_name_that_begins_with_an_underscore_is_in_the_legend(figures):
    """Matplotlib would leave it out."""
    curves = np.zeros((1, 3))
    scores = {"_se": Faithfulness(curves, curves, curves, curves)}
    plot_faithfulness("unused", scores)
    for axes in figures[0].axes:
        texts = [text.get_text().strip() for text in axes.get_legend().get_texts()]
        assert texts == [f"_se, {order} order: area 0.000" for order in ("Grad-CAM", "random")]
