"""Coordinate attention: the common battery, and its numbers against the authors' formulation."""

import keras
import numpy as np
import pytest
from torch_reference import batch_norm, compare_with_torch, weights_of

from models.attention_module import CoordinateAttention, coordinate_block
from tests.layer_checks import run_layer_test


def params(ratio):
    def count(channels):
        hidden = max(8, channels // ratio)
        return 3 * channels * hidden + 3 * hidden + 2 * channels

    return count


@pytest.mark.parametrize("ratio", [32, 1])
def test_battery(ratio, rng):
    # a batch normalization takes away what a bias before it adds
    idle = ("reduce/bias",)
    run_layer_test(CoordinateAttention, {"ratio": ratio}, params(ratio), rng, idle=idle)


def reference(layer, x):
    import torch
    from torch.nn import functional

    height, width = x.shape[2:]
    rows = functional.adaptive_avg_pool2d(x, (None, 1))
    columns = functional.adaptive_avg_pool2d(x, (1, None)).permute(0, 1, 3, 2)
    strip = functional.conv2d(torch.cat([rows, columns], dim=2), *weights_of(layer.reduce))
    strip = batch_norm(layer.norm, strip)
    strip = strip * functional.relu6(strip + 3) / 6
    rows, columns = torch.split(strip, [height, width], dim=2)
    rows = functional.conv2d(rows, *weights_of(layer.height)).sigmoid()
    columns = functional.conv2d(columns.permute(0, 1, 3, 2), *weights_of(layer.width)).sigmoid()
    return x * columns * rows


@pytest.mark.parametrize("ratio", [32, 2])
def test_equals_the_authors_code(ratio, rng):
    compare_with_torch(lambda: CoordinateAttention(ratio), reference, rng)


def test_of_unknown_size(rng):
    """One network for maps of every size, and the maps with it."""
    inputs = keras.Input((None, None, 16))
    layer = CoordinateAttention()
    model = keras.Model(inputs, layer(inputs, return_maps=True))
    for height, width in ((7, 3), (2, 5), (1, 1)):
        x = rng.normal(size=(2, height, width, 16)).astype("float32")
        y, maps = model.predict(x, verbose=0)
        wanted, wanted_maps = layer(x, return_maps=True)
        np.testing.assert_allclose(y, keras.ops.convert_to_numpy(wanted), atol=1e-6)
        assert maps["height"].shape == wanted_maps["height"].shape == (2, height, 1, 16)
        assert maps["width"].shape == wanted_maps["width"].shape == (2, 1, width, 16)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"ratio": 0}, "ratio must be an integer of at least 1, received 0"),
        ({"reduction": 8}, "CoordinateAttention has no option 'reduction'; it takes ratio"),
    ],
)
def test_refuses_options(options, message):
    with pytest.raises(ValueError, match=message):
        coordinate_block(keras.Input((8, 8, 16)), **options)
