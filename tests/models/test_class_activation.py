"""Grad-CAM against its closed form, and against finite differences."""

import keras
import numpy as np
import pytest
from keras import layers

import models.class_activation as grad_cam_module
from models.class_activation import grad_cam, overlay


def network(strides=1, shape=(6, 6, 2), axis=-1, activation="relu"):
    image = keras.Input(shape)
    x = layers.Conv2D(5, 3, padding="same", activation=activation, name="first")(image)
    x = layers.BatchNormalization(axis)(x)
    x = layers.Conv2D(4, 3, strides, padding="same", activation=activation, name="second")(x)
    logits = layers.Dense(3, name="logits")(layers.GlobalAveragePooling2D()(x))
    return keras.Model(image, layers.Activation("softmax")(logits))


def features(model, layer, images):
    return keras.Model(model.inputs, model.get_layer(layer).output).predict(images, verbose=0)


def test_is_the_class_activation_map_before_average_pooling(rng):
    """There, a map's gradient is its weight in the classifier, spread over the positions."""
    model, images = network(), rng.normal(size=(7, 6, 6, 2)).astype("float32")
    classes = np.arange(7) % 3
    maps = features(model, "second", images)
    weights = model.get_layer("logits").get_weights()[0].T[classes] / 36
    wanted = np.maximum(np.einsum("nhwc,nc->nhw", maps, weights), 0)
    found = grad_cam(model, images, classes)
    assert found.shape == (7, 6, 6)
    assert wanted.max() > 0.01
    np.testing.assert_allclose(found, wanted, atol=1e-6)


@pytest.mark.parametrize("end", ["softmax", "activation", "linear"])
def test_of_a_nested_model_without_a_layer_called_logits(end, rng):
    """The same as the network that is not nested and whose layer of logits has the name."""
    flat, images = network(), rng.normal(size=(4, 6, 6, 2)).astype("float32")
    backbone = keras.Model(flat.inputs, flat.get_layer("second").output, name="backbone")
    scores = layers.Dense(3, "softmax" if end == "softmax" else None)
    parts = [keras.Input((6, 6, 2)), backbone, layers.GlobalAveragePooling2D(), scores]
    nested = keras.Sequential(parts + [layers.Softmax()] * (end == "activation"))
    scores.set_weights(flat.get_layer("logits").get_weights())
    wanted = grad_cam(flat, images, np.arange(4) % 3)
    assert wanted.max() > 0.01
    for layer in (None, "backbone"):
        found = grad_cam(nested, images, np.arange(4) % 3, layer)
        np.testing.assert_allclose(found, wanted, atol=1e-6)
    with pytest.raises(ValueError, match=r"no layer of .* is called 'second'; it has backbone"):
        grad_cam(nested, images, np.arange(4) % 3, "second")


def test_gradient_of_an_inner_layer_by_finite_differences(rng):
    """A map's mean gradient is the logit's gain per unit that the whole map is raised by."""
    model = network(activation="softplus")  # smooth, as finite differences need it
    images = rng.normal(size=(1, 6, 6, 2)).astype("float32")
    maps = features(model, "first", images)
    logits = keras.Model(model.get_layer("first").output, model.get_layer("logits").output)
    step = 1e-2
    weights = []
    for channel in range(5):
        raised = step * np.eye(5)[channel].astype("float32")
        up, down = (logits.predict(maps + sign * raised, verbose=0)[0, 1] for sign in (1, -1))
        weights.append((up - down) / (2 * step) / 36)
    wanted = np.maximum(maps[0] @ np.array(weights), 0)
    found = grad_cam(model, images, np.array([1]), layer="first")[0]
    assert wanted.max() > 1e-3
    np.testing.assert_allclose(found, wanted, atol=1e-3 * wanted.max())


def test_is_as_large_as_the_image(rng):
    model, images = network(strides=3), rng.normal(size=(2, 6, 6, 2)).astype("float32")
    found = grad_cam(model, images, np.array([0, 2]))
    # bilinear interpolation keeps the corners of the small map
    weights = model.get_layer("logits").get_weights()[0].T[[0, 2]] / 4
    small = np.maximum(np.einsum("nhwc,nc->nhw", features(model, "second", images), weights), 0)
    np.testing.assert_allclose(found[:, [0, 0, 5, 5], [0, 5, 0, 5]], small.reshape(2, 4), atol=1e-6)


@pytest.mark.once
def test_more_images_than_a_batch(rng, monkeypatch):
    model, images = network(), rng.normal(size=(7, 6, 6, 2)).astype("float32")
    classes = np.arange(7) % 3
    whole = grad_cam(model, images, classes)
    monkeypatch.setattr(grad_cam_module, "BATCH_SIZE", 3)
    np.testing.assert_allclose(grad_cam(model, images, classes), whole, atol=1e-6)
    assert grad_cam(model, images[:0], classes[:0]).shape == (0, 6, 6)


@pytest.mark.once
def test_channels_first(rng):
    images = rng.normal(size=(2, 6, 6, 2)).astype("float32")
    last = network()
    keras.config.set_image_data_format("channels_first")
    first = network(shape=(2, 6, 6), axis=1)
    first.set_weights(last.get_weights())
    found = grad_cam(first, images.transpose(0, 3, 1, 2), np.array([0, 1]))
    keras.config.set_image_data_format("channels_last")
    assert found.max() > 0
    np.testing.assert_allclose(found, grad_cam(last, images, np.array([0, 1])), atol=1e-6)


@pytest.mark.once
def test_refuses_a_layer_that_a_shortcut_bypasses(rng):
    image = keras.Input((6, 6, 2))
    branch = layers.Conv2D(2, 1, name="branch")(image)
    x = layers.GlobalAveragePooling2D()(layers.Add()([image, branch]))
    model = keras.Model(image, layers.Dense(3, name="logits")(x))
    with pytest.raises(
        ValueError, match="the logits depend on more than the output of layer 'branch'"
    ):
        grad_cam(model, rng.normal(size=(1, 6, 6, 2)), np.array([0]), layer="branch")


def test_of_the_predicted_class_or_of_one_for_all(rng):
    model, images = network(), rng.normal(size=(5, 6, 6, 2)).astype("float32")
    pooled = features(model, "second", images).mean(axis=(1, 2))
    # each class is another image's, so that not all images are of one class
    kernel = (pooled[:3] - pooled.mean(axis=0)).T
    model.get_layer("logits").set_weights([kernel, -pooled.mean(axis=0) @ kernel])
    predicted = model.predict(images, verbose=0).argmax(axis=-1)
    assert len(set(predicted)) > 1
    np.testing.assert_array_equal(grad_cam(model, images), grad_cam(model, images, predicted))
    np.testing.assert_array_equal(grad_cam(model, images, 2), grad_cam(model, images, [2] * 5))


@pytest.mark.once  # JAX compiles every operation by itself
@pytest.mark.parametrize("output", ["other", 1])
def test_of_one_of_several_outputs(output, rng):
    first, images = network(), rng.normal(size=(4, 6, 6, 2)).astype("float32")
    pooled = layers.GlobalMaxPooling2D()(first.get_layer("first").output)
    other = layers.Dense(3, "softmax", name="other")(pooled)
    both = keras.Model(first.inputs, [first.output, other])
    alone = keras.Model(first.inputs, other)
    np.testing.assert_array_equal(grad_cam(both, images, 1), grad_cam(first, images, 1))
    wanted = grad_cam(alone, images, 1, "first")
    np.testing.assert_allclose(grad_cam(both, images, 1, output=output), wanted, atol=1e-7)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"class_index": 3}, "class_index must be from 0 to 2, received"),
        ({"class_index": [0, -1]}, "class_index must be from 0 to 2, received"),
        ({"class_index": "cat"}, "class_index must be None, an integer, .* received 'cat'"),
        ({"class_index": 1.5}, "class_index must be None, an integer, .* received 1.5"),
        ({"class_index": [1, 2, 0]}, r"one for each of the 2 images; received \[1, 2, 0\]"),
        ({"class_index": [[1, 2]]}, r"one for each of the 2 images; received \[\[1, 2\]\]"),
        ({"output": "left"}, "no output of .* is 'left'; it has"),
        ({"output": 1}, "no output of .* is 1; it has"),
        ({"layer": "third"}, "no layer of .* is called 'third'; it has"),
        ({"layer": "logits"}, "no layer of .* with feature maps is called 'logits'; it has"),
    ],
)
def test_refuses(options, message, rng):
    with pytest.raises(ValueError, match=message):
        grad_cam(network(), rng.normal(size=(2, 6, 6, 2)), **options)


def test_refuses_a_model_without_feature_maps():
    image = keras.Input((4,))
    model = keras.Model(image, layers.Dense(3)(image))
    with pytest.raises(ValueError, match="has no feature map, a tensor of rank 4"):
        grad_cam(model, np.zeros((1, 4)))


@pytest.mark.once
def test_overlay():
    images = np.full((2, 2, 2, 1), 100)
    cams = np.array([[[0, 1], [2, 4]], [[0, 0], [0, 0]]], "float32")
    pictures = overlay(images, cams)
    assert (pictures.dtype, pictures.shape) == ("uint8", (2, 2, 2, 3))
    brightness = pictures[0].astype(int).sum(axis=-1).ravel()
    assert list(brightness) == sorted(set(brightness))  # lighter with every value
    np.testing.assert_allclose(pictures[1].astype(int) - pictures[0, 0, 0], 0, atol=1)
    np.testing.assert_array_equal(overlay(images, cams, 0.0), np.full((2, 2, 2, 3), 100))
    with pytest.raises(ValueError, match=r"received \(2, 2, 2, 1\) and \(1, 2, 2\)"):
        overlay(images, cams[:1])
    np.testing.assert_array_equal(overlay(images, cams.tolist()), pictures)
    for strength in (2, -0.1, "half", None, float("nan")):
        with pytest.raises(ValueError, match="strength must be a number from 0 to 1, received"):
            overlay(images, cams, strength)
    with pytest.raises(ValueError, match="of 1 or 3 channels"):
        overlay(images.repeat(2, axis=-1), cams)
