"""ParNet's block against the authors' formulation in PyTorch."""

import pytest
from torch_reference import batch_norm, check_sizes, compare_with_torch, weights_of

from models.attention_module import ParNetAttention, parnet_block
from tests.layer_checks import run_layer_test

pytestmark = pytest.mark.once


def test_battery(rng):
    run_layer_test(ParNetAttention, {}, lambda channels: 11 * channels**2 + 7 * channels, rng)


def reference(layer, x):
    from torch.nn import functional

    large, small = (
        batch_norm(norm, functional.conv2d(x, *weights_of(conv), padding=margin))
        for conv, norm, margin in zip(layer.convs, layer.norms, (1, 0), strict=True)
    )
    n = batch_norm(layer.norm, x)
    gate = functional.conv2d(functional.adaptive_avg_pool2d(n, 1), *weights_of(layer.excite))
    return functional.silu(large + small + n * gate.sigmoid()), {"channel": gate.sigmoid()}


def test_equals_the_authors_code(rng):
    compare_with_torch(ParNetAttention, reference, rng)


def test_sizes(rng):
    check_sizes(ParNetAttention, {}, rng)


def test_refuses_options():
    with pytest.raises(ValueError, match="ParNetAttention has no option 'ratio'"):
        parnet_block(None, ratio=8)
