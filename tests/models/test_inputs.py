"""The input of a network: shapes and tensors that are images, and all others refused."""

import keras
import numpy as np
import pytest

from models import build_model
from models.inputs import image_input

pytestmark = pytest.mark.once

NAMES = ["mobilenet", "keras.applications/MobileNet"]


@pytest.mark.parametrize("shape", [(), [], 0, 32, "abc", (32, 32), (32, 32, -1), (32, 32, None)])
@pytest.mark.parametrize("name", NAMES)
def test_refuses_other_shapes(name, shape):
    with pytest.raises(ValueError, match=r"three positive sizes \(height, width, ch.*received"):
        build_model(name, input_shape=shape)


@pytest.mark.parametrize("shape", [(), (32,), (32, 32), (8, 8, 8, 3), (32, 32, None)])
@pytest.mark.parametrize("name", NAMES)
def test_refuses_tensors_of_other_shapes(name, shape):
    with pytest.raises(ValueError, match=r"shape of input_tensor, .* must be three .*received \("):
        build_model(name, input_tensor=keras.Input(shape))


def test_the_order_is_that_of_the_image_format():
    keras.config.set_image_data_format("channels_first")
    assert image_input(None, None, 8).shape == (None, 3, 8, 8)
    assert image_input((1, None, None), None, 8).shape == (None, 1, None, None)
    with pytest.raises(ValueError, match=r"\(channels, height, width\), of which height and width"):
        image_input((None, 32, 32), None, 8)


def test_sizes_of_numpy():
    shape = image_input((np.int64(32), None, np.int32(3)), None, 8).shape
    assert shape == (None, 32, None, 3)
    assert all(size is None or type(size) is int for size in shape)
