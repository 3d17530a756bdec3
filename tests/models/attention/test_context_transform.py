"""Linear and Gaussian context transforms against their papers' formulas."""

import keras
import numpy as np
import pytest

from models.attention_module import GCT, LCT, gct_block, lct_block
from tests.attention_reference import check_against, check_placements, check_sizes, to_numpy
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
def test_lct_equals_group_normalisation(groups, channels, used, rng):
    torch = pytest.importorskip("torch")

    def reference(state, x):
        pooled = torch.nn.functional.adaptive_avg_pool2d(x, 1)
        pooled = torch.nn.functional.group_norm(pooled, used, state["w"], state["b"])
        gate = torch.sigmoid(pooled)
        return x * gate, {"channel": gate}

    layer = LCT(groups)
    check_against(layer, reference, rng.normal(size=(3, 7, 9, channels)), rng)
    assert layer.used_groups == used


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


def test_gct_has_the_deviation_of_theta(rng):
    torch = pytest.importorskip("torch")

    def reference(state, x):
        z = x.mean((2, 3), keepdim=True)
        variance = z.var(dim=1, keepdim=True, unbiased=False)
        z = (z - z.mean(dim=1, keepdim=True)) / torch.sqrt(variance + 1e-5)
        gate = torch.exp(-(z**2) / (2 * (torch.sigmoid(state["theta"]) * 3 + 1) ** 2))
        return x * gate, {"channel": gate}

    check_against(GCT(learnable=True), reference, rng.normal(size=(3, 7, 9, 6)), rng)
    layer = GCT(2.5, learnable=True)
    layer.build((None, None, None, 3))
    assert float(keras.ops.convert_to_numpy(layer.theta)) == 0


@pytest.mark.parametrize(("layer_class", "options"), [(LCT, {}), (GCT, {"learnable": True})])
def test_sizes(layer_class, options, rng):
    check_sizes(layer_class, options, rng)


@pytest.mark.parametrize(("name", "layer_class"), [("lct_block", LCT), ("gct_block", GCT)])
def test_placements(name, layer_class, tmp_path, rng):
    check_placements(name, layer_class, tmp_path, rng)


@pytest.mark.parametrize(
    ("block", "options", "message"),
    [
        (lct_block, {"groups": 0}, "groups must be an integer of at least 1, received 0"),
        (lct_block, {"ratio": 4}, "LCT has no option 'ratio'; it takes groups, data_format"),
        (gct_block, {"c": 0}, "c must be a number above 0, received 0"),
        (gct_block, {"c": 4, "learnable": True}, "c must be between 1 and 4 where it is learned"),
        (gct_block, {"ratio": 4}, "GCT has no option 'ratio'; it takes c, learnable"),
    ],
)
def test_refuses_options(block, options, message):
    with pytest.raises(ValueError, match=message):
        block(None, **options)
