"""GRN against the authors' formulation in PyTorch."""

import numpy as np
import pytest
from torch_reference import check_sizes, compare_with_torch, input_gradient, to_numpy, weights_of

from models.attention_module import GRN, grn_block
from tests.layer_checks import one_always, run_layer_test

pytestmark = pytest.mark.once


@pytest.mark.parametrize("options", one_always([{}, {"epsilon": 0.1}]))
def test_battery(options, rng):
    run_layer_test(GRN, options, lambda channels: 2 * channels, rng)


def reference(layer, x):
    gamma, beta = (weight[:, None, None] for weight in weights_of(layer))
    norms = x.square().sum((2, 3), keepdim=True).sqrt()
    norms = norms / (norms.mean(1, keepdim=True) + layer.epsilon)
    return gamma * (x * norms) + beta + x, {"channel": 1 + gamma * norms}


@pytest.mark.parametrize("epsilon", [1e-6, 0.1])
def test_equals_the_authors_code(epsilon, rng):
    compare_with_torch(lambda: GRN(epsilon), reference, rng)


def test_starts_as_the_identity_also_for_zeros(rng):
    x = rng.normal(size=(2, 5, 4, 8)).astype("float32")
    np.testing.assert_array_equal(to_numpy(GRN()(x)), x)
    assert np.isfinite(input_gradient(GRN(), 0 * x, x)).all()


def test_sizes(rng):
    check_sizes(GRN, {}, rng)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epsilon": 0}, "epsilon must be a number above 0, received 0"),
        ({"ratio": 8}, "GRN has no option 'ratio'; it takes epsilon"),
    ],
)
def test_refuses_options(options, message):
    with pytest.raises(ValueError, match=message):
        grn_block(None, **options)
