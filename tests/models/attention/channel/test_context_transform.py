"""Linear and Gaussian context transforms against their papers' formulas."""

import keras
import numpy as np
import pytest
from torch_reference import check_sizes, compare_with_torch, to_numpy, weights_of

from models.attention_module import GCT, LCT, gct_block, lct_block
from tests.layer_checks import run_layer_test

CASES = [
    (LCT, {}, lambda channels: 2 * channels),
    (LCT, {"groups": 1}, lambda channels: 2 * channels),
    (GCT, {}, lambda channels: 0),
    (GCT, {"c": 3}, lambda channels: 0),
    (GCT, {"c": 2.5, "learnable": True}, lambda channels: 1),
]


@pytest.mark.parametrize(("layer_class", "options", "params"), CASES)
def test_battery(layer_class, options, params, rng):
    run_layer_test(layer_class, options, params, rng)


@pytest.mark.parametrize(
    ("groups", "channels", "used"),
    [(8, 16, 8), (8, 12, 6), (8, 40, 8), (1, 5, 1), (8, 7, 1), (8, 9, 3), (64, 8, 4), (8, 1, 1)],
)
def test_lct_equals_group_normalization(groups, channels, used, rng):
    def reference(layer, x):
        from torch.nn import functional

        assert layer.used_groups == used
        pooled = functional.adaptive_avg_pool2d(x, 1)
        gate = functional.group_norm(pooled, used, *weights_of(layer)).sigmoid()
        return x * gate, {"channel": gate}

    compare_with_torch(lambda: LCT(groups), reference, rng, [(3, 7, 9, channels)])


def test_lct_starts_with_all_gates_alike(rng):
    x = rng.normal(size=(2, 3, 4, 8)).astype("float32")
    np.testing.assert_allclose(to_numpy(LCT()(x)), x / (1 + np.exp(-1)), atol=1e-6)


def gaussian(x, c):
    z = x.mean((1, 2), keepdims=True)
    z = (z - z.mean(-1, keepdims=True)) / np.sqrt(z.var(-1, keepdims=True) + 1e-5)
    return x * np.exp(-(z**2) / (2 * c**2))


@pytest.mark.parametrize("c", [0.5**0.5, 2, 3.5])
@pytest.mark.parametrize("shape", [(3, 7, 9, 5), (2, 1, 1, 16), (2, 4, 3, 1)])
def test_gct_equals_the_formula(c, shape, rng):
    x = 3 + rng.normal(size=shape)
    np.testing.assert_allclose(to_numpy(GCT(c)(x.astype("float32"))), gaussian(x, c), atol=1e-4)
    if 1 < c < 4:
        y = to_numpy(GCT(c, learnable=True)(x.astype("float32")))
        np.testing.assert_allclose(y, gaussian(x, c), atol=1e-4)


def test_learned_gct_equals_the_formula(rng):
    def reference(layer, x):
        (theta,) = weights_of(layer)
        z = x.mean((2, 3), keepdim=True)
        variance = z.var(dim=1, keepdim=True, unbiased=False)
        z = (z - z.mean(dim=1, keepdim=True)) / (variance + 1e-5).sqrt()
        gate = (-(z**2) / (2 * (theta.sigmoid() * 3 + 1) ** 2)).exp()
        return x * gate, {"channel": gate}

    compare_with_torch(lambda: GCT(learnable=True), reference, rng, [(3, 7, 9, 6)])


def test_gct_starts_at_c():
    layer = GCT(2.5, learnable=True)
    layer.build((None, None, None, 3))
    assert float(keras.ops.convert_to_numpy(layer.theta)) == 0


@pytest.mark.parametrize(("layer_class", "options"), [(LCT, {}), (GCT, {"learnable": True})])
def test_sizes(layer_class, options, rng):
    check_sizes(layer_class, options, rng)


@pytest.mark.parametrize(
    ("block", "options", "message"),
    [
        (lct_block, {"groups": 0}, "groups must be an integer of at least 1, received 0"),
        (lct_block, {"ratio": 4}, "LCT has no option 'ratio'; it takes groups, start, data_format"),
        (gct_block, {"c": 0}, "c must be a number above 0, received 0"),
        (gct_block, {"c": 4, "learnable": True}, "c must be between 1 and 4 where it is learned"),
        (gct_block, {"ratio": 4}, "GCT has no option 'ratio'; it takes c, learnable"),
    ],
)
def test_refuses_options(block, options, message):
    with pytest.raises(ValueError, match=message):
        block(None, **options)
