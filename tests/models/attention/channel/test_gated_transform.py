"""Gated channel transformation against the authors' formulation in PyTorch."""

import numpy as np
import pytest
from torch_reference import compare_with_torch, to_numpy, weights_of

from models.attention_module import GatedChannelTransform, gated_transform_block
from tests.layer_checks import one_always, run_layer_test

pytestmark = pytest.mark.once

CASES = [{}, {"norm": "l1", "epsilon": 1e-3}]


@pytest.mark.parametrize("options", one_always(CASES))
def test_battery(options, rng):
    run_layer_test(GatedChannelTransform, options, lambda channels: 3 * channels, rng, steps=2)


def reference(layer, x):
    alpha, gamma, beta = (weight[:, None, None] for weight in weights_of(layer))
    if layer.norm == "l2":
        e = (x.square().sum((2, 3), keepdim=True) + layer.epsilon).sqrt() * alpha
        n = gamma / (e.square().mean(1, keepdim=True) + layer.epsilon).sqrt()
    else:
        e = x.abs().sum((2, 3), keepdim=True) * alpha
        n = gamma / (e.abs().mean(1, keepdim=True) + layer.epsilon)
    gate = 1 + (e * n + beta).tanh()
    return x * gate, {"channel": gate}


@pytest.mark.parametrize("options", CASES)
def test_equals_the_authors_code(options, rng):
    compare_with_torch(lambda: GatedChannelTransform(**options), reference, rng)


def test_starts_as_the_identity(rng):
    x = rng.normal(size=(2, 5, 4, 8)).astype("float32")
    np.testing.assert_array_equal(to_numpy(GatedChannelTransform()(x)), x)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"norm": "l3"}, "norm must be one of 'l2', 'l1', received 'l3'"),
        ({"epsilon": 0}, "epsilon must be a number above 0, received 0"),
        ({"c": 2}, "GatedChannelTransform has no option 'c'; it takes norm, epsilon"),
    ],
)
def test_refuses_options(options, message):
    with pytest.raises(ValueError, match=message):
        gated_transform_block(None, **options)
