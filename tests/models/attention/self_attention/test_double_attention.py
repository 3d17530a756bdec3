"""Double attention against the paper's formulation in PyTorch."""

import numpy as np
import pytest
from torch_reference import check_sizes, compare_with_torch, to_numpy, weights_of

from models.attention_module import DoubleAttention, double_attention_block
from tests.layer_checks import run_layer_test


def params(c_m=None, c_n=None, **_):
    def count(channels):
        m, n = c_m or max(1, channels // 4), c_n or max(2, channels // 4)
        return 2 * channels * (m + n) + m + n + channels

    return count


CASES = [{}, {"c_m": 3, "c_n": 5}, {"residual": False}]


@pytest.mark.parametrize("options", CASES)
def test_battery(options, rng):
    run_layer_test(DoubleAttention, options, params(**options), rng)


def reference(layer, x):
    from torch.nn import functional

    def conv(part, x):
        return functional.conv2d(x, *weights_of(part))

    attention_maps = conv(layer.gather, x).flatten(2).softmax(dim=-1)
    attention_vectors = conv(layer.distribute, x).flatten(2).softmax(dim=1)
    gathered = conv(layer.features, x).flatten(2) @ attention_maps.transpose(1, 2)
    z = (gathered @ attention_vectors).unflatten(2, x.shape[2:])
    y = conv(layer.reconstruct, z)
    mass = attention_maps.mean(dim=1) * attention_maps.shape[2]
    return (x + y if layer.residual else y), {"spatial": mass.unflatten(1, x.shape[2:])[:, None]}


@pytest.mark.parametrize(
    ("shape", "options"),
    [
        ((3, 7, 9, 16), {}),
        ((2, 5, 4, 3), {"residual": False}),
        ((2, 1, 1, 8), {"c_m": 1, "c_n": 7}),
        ((2, 6, 11, 1), {}),
    ],
)
def test_equals_the_papers_formulation(shape, options, rng):
    compare_with_torch(lambda: DoubleAttention(**options), reference, rng, [shape])


def test_shares_are_one_on_average(rng):
    x = rng.normal(size=(2, 6, 7, 16)).astype("float32")
    _, maps = DoubleAttention()(x, return_maps=True)
    np.testing.assert_allclose(to_numpy(maps["spatial"]).mean((1, 2, 3)), 1, atol=1e-5)


def test_sizes(rng):
    check_sizes(DoubleAttention, {}, rng)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"c_m": 0}, "c_m must be an integer of at least 1, received 0"),
        ({"c_n": 1}, "c_n must be an integer of at least 2, received 1"),
        ({"ratio": 4}, "DoubleAttention has no option 'ratio'; it takes c_m, c_n, residual"),
    ],
)
def test_refuses_options(options, message):
    with pytest.raises(ValueError, match=message):
        double_attention_block(None, **options)
