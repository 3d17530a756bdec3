"""Shapes of images in both of Keras's data formats."""

import keras
import pytest

from utils.data.data_format import image_shape_of, shape_in_data_format


@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
@pytest.mark.parametrize("shape", [(5, 4, 3), (None, None, 1)])
def test_the_shape_of_an_image_and_back(data_format, shape):
    keras.config.set_image_data_format(data_format)
    found = shape_in_data_format(shape)
    assert found.index(shape[-1]) == (2 if data_format == "channels_last" else 0)
    image = keras.Input(found)
    network = keras.Model(image, keras.layers.Activation("relu")(image))
    assert image_shape_of(network) == shape


def test_a_network_that_takes_no_images():
    keras.config.set_image_data_format("channels_first")
    features = keras.Input((7,))
    assert image_shape_of(keras.Model(features, keras.layers.Dense(2)(features))) == (7,)
