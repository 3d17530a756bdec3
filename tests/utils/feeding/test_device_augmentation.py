"""Images on the device, against slicing and padding in NumPy."""

import keras
import numpy as np
import pytest

from utils.feeding.device_augmentation import DeviceImages


def reference(images, draws, fill, cutout, padding=9):
    """Pads each image with the fill color, cuts the window out, mirrors it, cuts a square."""
    height, width = images.shape[1:3]
    out = np.empty((len(draws["index"]), *images.shape[1:]))
    for row, index in enumerate(draws["index"]):
        padded = np.empty((height + 2 * padding, width + 2 * padding, images.shape[3]))
        padded[:] = fill
        padded[padding : padding + height, padding : padding + width] = images[index]
        y, x = padding + draws["dy"][row], padding + draws["dx"][row]
        window = padded[y : y + height, x : x + width]
        if draws["flip"][row]:
            window = window[:, ::-1]
        if cutout:
            top, left = draws["cutout_y"][row], draws["cutout_x"][row]
            rows = slice(max(top, 0), max(top + cutout, 0))
            window[rows, max(left, 0) : max(left + cutout, 0)] = fill
        out[row] = window
    return out


@pytest.mark.parametrize("cutout", [0, 3])
@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
def test_device_images_equal_slicing(rng, cutout, data_format):
    images = rng.integers(0, 256, (20, 6, 5, 3)).astype("uint8")
    fill = np.array([10, 20, 30])
    draws = {
        "index": rng.integers(0, 20, 64),
        "dy": rng.integers(-4, 5, 64),
        "dx": rng.integers(-4, 5, 64),
        "flip": rng.integers(0, 2, 64),
        "cutout_y": rng.integers(-1, 6, 64),
        "cutout_x": rng.integers(-1, 5, 64),
    }
    draws = {name: values.astype("int32") for name, values in draws.items()}
    expected = reference(images, draws, fill, cutout)
    keras.config.set_image_data_format(data_format)
    if data_format == "channels_first":
        expected = expected.transpose(0, 3, 1, 2)
    layer = DeviceImages(images, fill, cutout)
    tensors = {name: keras.ops.convert_to_tensor(values) for name, values in draws.items()}
    got = keras.ops.convert_to_numpy(layer(tensors))
    np.testing.assert_array_equal(got, expected)
    assert not layer.trainable_weights
    assert layer.pixels.dtype == "uint8"
