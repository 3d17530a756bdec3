"""Spatial group-wise enhancement against the authors' formulation in PyTorch."""

import keras
import numpy as np
import pytest
from torch_reference import SHAPES, check_sizes, compare_with_torch, input_gradient, weights_of

from models.attention_module import SGE, sge_block
from tests.layer_checks import divisor, one_always, run_layer_test

pytestmark = pytest.mark.once


@pytest.mark.parametrize("groups", one_always([64, 4]))
def test_battery(groups, rng):
    run_layer_test(SGE, {"groups": groups}, lambda channels: 2 * divisor(channels, groups), rng)


def reference(layer, x):
    groups = divisor(x.shape[1], layer.groups)
    w, b = (weight[:, None, None] for weight in weights_of(layer))
    parts = x.unflatten(1, (groups, -1))
    t = (parts * parts.mean((3, 4), keepdim=True)).sum(2)
    centered = t - t.mean((2, 3), keepdim=True)
    deviation = t.flatten(2).std(2)[:, :, None, None]
    gate = (centered / (deviation + 1e-5) * w + b).sigmoid()
    gate = gate.repeat_interleave(x.shape[1] // groups, dim=1)
    return x * gate, {"attention": gate}


@pytest.mark.parametrize("groups", [64, 4, 1])
def test_equals_the_authors_code(groups, rng):
    # theirs is no number at 1x1
    shapes = [shape for shape in SHAPES if shape[1:3] != (1, 1)]
    # an average near zero, which all else is multiplied with, has few exact digits in float32
    compare_with_torch(lambda: SGE(groups), reference, rng, shapes, mean=1)


@pytest.mark.parametrize("size", [(1, 1), (4, 3)])
def test_of_a_constant_map(size, rng):
    x = np.broadcast_to(rng.normal(size=(2, 1, 1, 8)), (2, *size, 8)).astype("float32")
    gate = 1 / (1 + np.exp(-1))
    np.testing.assert_allclose(keras.ops.convert_to_numpy(SGE(4)(x)), gate * x, atol=1e-6)
    assert np.isfinite(input_gradient(SGE(4), x, np.ones_like(x))).all()


def test_sizes(rng):
    check_sizes(SGE, {"groups": 3}, rng)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"groups": 0}, "groups must be an integer of at least 1, received 0"),
        ({"ratio": 8}, "SGE has no option 'ratio'; it takes groups"),
    ],
)
def test_refuses_options(options, message):
    with pytest.raises(ValueError, match=message):
        sge_block(None, **options)
