"""NAM against the authors' formulation in PyTorch."""

import pytest
from torch_reference import batch_norm, check_sizes, compare_with_torch, weights_of

from models.attention_module import NAM, nam_block
from tests.layer_checks import run_layer_test

pytestmark = pytest.mark.once


def test_battery(rng):
    run_layer_test(NAM, {}, lambda channels: 2 * channels, rng)


def reference(layer, x):
    gamma = weights_of(layer.norm)[0].detach().abs()
    gate = (batch_norm(layer.norm, x) * (gamma / gamma.sum())[:, None, None]).sigmoid()
    return x * gate, {"attention": gate}


def test_equals_the_authors_code(rng):
    compare_with_torch(NAM, reference, rng)


def test_sizes(rng):
    check_sizes(NAM, {}, rng)


def test_refuses_options():
    with pytest.raises(ValueError, match="NAM has no option 'ratio'"):
        nam_block(None, ratio=8)
