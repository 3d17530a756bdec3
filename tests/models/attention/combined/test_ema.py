"""EMA: the common battery, and its numbers against the authors' formulation."""

import pytest
from torch_reference import check_sizes, compare_with_torch, weights_of

from models.attention_module import EMA, ema_block
from tests.layer_checks import one_always, run_layer_test

pytestmark = pytest.mark.once


def params(groups):
    def count(channels):
        width = channels // max(n for n in range(1, groups + 1) if channels % n == 0)
        return 10 * width * width + 4 * width

    return count


@pytest.mark.parametrize("groups", one_always([32, 4]))
def test_battery(groups, rng):
    run_layer_test(EMA, {"groups": groups}, params(groups), rng)


def reference(layer, x):
    from torch.nn import functional

    batch, channels, height, width = x.shape
    inner = layer.strips.filters
    x = x.reshape(-1, inner, height, width)
    strip = [x.mean(3, keepdim=True), x.mean(2, keepdim=True)]
    rows, columns = (functional.conv2d(s, *weights_of(layer.strips)).sigmoid() for s in strip)
    gated = x * rows * columns
    gated = gated - gated.mean((2, 3), keepdim=True)
    gated = gated / (gated.square().mean((2, 3), keepdim=True) + 1e-5).sqrt()
    gamma, beta = weights_of(layer.norm)
    gated = gated * gamma[:, None, None] + beta[:, None, None]
    local = functional.conv2d(x, *weights_of(layer.local), padding=1)

    def summed(weighing, values):
        weights = weighing.mean((2, 3), keepdim=True).softmax(1)
        return (weights * values).sum(1, keepdim=True)

    gate = (summed(gated, local) + summed(local, gated)).sigmoid()
    gate = gate.expand_as(x).reshape(batch, channels, height, width)
    return x.reshape(gate.shape) * gate, {"attention": gate}


@pytest.mark.parametrize("groups", [32, 4, 1])
def test_equals_the_authors_code(groups, rng):
    compare_with_torch(lambda: EMA(groups), reference, rng)


def test_sizes(rng):
    check_sizes(EMA, {"groups": 3}, rng)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"groups": 0}, "groups must be an integer of at least 1, received 0"),
        ({"factor": 8}, "EMA has no option 'factor'; it takes groups"),
    ],
)
def test_refuses_options(options, message):
    with pytest.raises(ValueError, match=message):
        ema_block(None, **options)
