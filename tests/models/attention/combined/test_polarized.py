"""Polarized self-attention against the paper's formulation in PyTorch."""

import pytest
from torch_reference import check_sizes, compare_with_torch, weights_of

from models.attention_module import PolarizedAttention, polarized_block
from tests.layer_checks import one_always, run_layer_test

pytestmark = pytest.mark.once

ORDERS = ("parallel", "sequential")


@pytest.mark.parametrize("order", one_always(ORDERS))
def test_battery(order, rng):
    def params(channels):
        return 3 * channels + 4 * channels * max(1, channels // 2)

    run_layer_test(PolarizedAttention, {"order": order}, params, rng)


def reference(layer, x):
    from torch.nn import functional

    def conv(part, x):
        return functional.conv2d(x, *weights_of(part))

    def channel_gate(x):
        weights = conv(layer.channel_query, x).flatten(2).softmax(-1)
        vector = conv(layer.channel_value, x).flatten(2) @ weights.transpose(1, 2)
        vector = conv(layer.expand, vector[..., None])[:, :, 0, 0]
        vector = functional.layer_norm(vector, vector.shape[1:], *weights_of(layer.norm), eps=1e-5)
        return vector.sigmoid()[:, :, None, None]

    def spatial_gate(x):
        query = conv(layer.spatial_query, x).mean((2, 3)).softmax(-1)[:, None]
        gate = query @ conv(layer.spatial_value, x).flatten(2)
        return gate.sigmoid().reshape(x.shape[0], 1, *x.shape[2:])

    maps = {"channel": channel_gate(x)}
    y = x * maps["channel"]
    maps["spatial"] = spatial_gate(x if layer.order == "parallel" else y)
    if layer.order == "parallel":
        return y + x * maps["spatial"], maps
    return y * maps["spatial"], maps


@pytest.mark.parametrize("order", ORDERS)
def test_equals_the_papers_formulation(order, rng):
    shapes = ((2, 7, 5, 16), (3, 4, 9, 40), (2, 6, 1, 3), (2, 1, 1, 8))
    compare_with_torch(lambda: PolarizedAttention(order), reference, rng, shapes)


def test_sizes(rng):
    check_sizes(PolarizedAttention, {}, rng)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"order": "p"}, "order must be one of 'parallel', 'sequential', received 'p'"),
        ({"ratio": 4}, "PolarizedAttention has no option 'ratio'; it takes order"),
    ],
)
def test_refuses_options(options, message):
    with pytest.raises(ValueError, match=message):
        polarized_block(None, **options)
