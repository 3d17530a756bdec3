"""Parts of attention layers: how kernels start, and normalization where a map hardly varies."""

import keras
import numpy as np
import pytest

from models.attention.parts import depthwise_conv2d, group_norm
from models.attention_module import LSKA, SimAM


@pytest.mark.parametrize("channels", [64, 1024])
def test_depthwise_kernels_start_by_what_each_output_sees(channels):
    layer = depthwise_conv2d(SimAM(), channels, 5, "conv", "float32")
    kernel = keras.ops.convert_to_numpy(layer.kernel)
    assert np.var(kernel) == pytest.approx(2 / 25, rel=0.15)


@pytest.mark.parametrize("channels", [16, 256])
def test_four_depthwise_convolutions_keep_the_scale(channels, rng):
    x = rng.normal(size=(2, 16, 16, channels)).astype("float32")
    _, maps = LSKA()(x, return_maps=True)
    assert 0.5 < np.std(keras.ops.convert_to_numpy(maps["attention"])) < 8


@pytest.mark.parametrize("groups", [2, 8])
def test_group_norm_equals_numpy_where_maps_hardly_vary(groups, rng):
    x = 100 + 0.05 * rng.normal(size=(2, 14, 12, 8))
    x[0] = rng.uniform(10, 20, size=8)
    x = x.astype("float32")
    norm = group_norm(SimAM(), 8, groups, "norm", "float32")
    found = keras.ops.convert_to_numpy(norm(x))
    grouped = x.astype("float64").reshape(2, 14, 12, groups, -1)
    mean = grouped.mean((1, 2, 4), keepdims=True)
    deviation = np.sqrt(grouped.var((1, 2, 4), keepdims=True) + 1e-5)
    # means in float32 are exact to 1e-5 of these numbers, a fiftieth of their deviation
    np.testing.assert_allclose(found, ((grouped - mean) / deviation).reshape(x.shape), atol=0.02)
