"""Shuffle attention against the authors' formulation in PyTorch."""

import keras
import pytest
from torch_reference import check_sizes, compare_with_torch, weights_of

from models.attention_module import ShuffleAttention, shuffle_block
from tests.layer_checks import one_always, run_layer_test

pytestmark = pytest.mark.once


def params(groups):
    def count(channels):
        divisors = [n for n in range(1, groups + 1) if channels % (2 * n) == 0]
        group = channels // max(divisors, default=1)
        return 2 * (group - group // 2) + 4 * (group // 2)

    return count


@pytest.mark.parametrize("groups", one_always([64, 4]))
def test_battery(groups, rng):
    run_layer_test(ShuffleAttention, {"groups": groups}, params(groups), rng, steps=2)


def reference(layer, x):
    import torch
    from torch.nn import functional

    batch, channels, height, width = x.shape
    weights = weights_of(layer)
    w, b = (v[:, None, None] for v in weights[:2])
    group = channels // layer.used_groups
    first, second = x.reshape(-1, group, height, width).split([len(w), group - len(w)], dim=1)
    gates = [(w * functional.adaptive_avg_pool2d(first, 1) + b).sigmoid().expand_as(first)]
    if second.shape[1]:
        v, c, gamma, beta = (value[:, None, None] for value in weights[2:])
        centered = second - second.mean((2, 3), keepdim=True)
        deviation = (centered.square().mean((2, 3), keepdim=True) + 1e-5).sqrt()
        gates.append((v * (centered / deviation * gamma + beta) + c).sigmoid())
    gate = torch.cat(gates, dim=1).reshape(x.shape)
    y = x * gate
    if channels % 2 == 0:  # theirs has no other
        y = y.reshape(batch, 2, channels // 2, height, width).transpose(1, 2).reshape(x.shape)
    return y, {"attention": gate}


EVEN = ((2, 7, 5, 16), (3, 4, 9, 40), (1, 6, 1, 2), (2, 1, 1, 8), (2, 3, 4, 1))


@pytest.mark.parametrize("groups", [64, 4, 1])
def test_equals_the_authors_code(groups, rng):
    compare_with_torch(lambda: ShuffleAttention(groups), reference, rng, EVEN)


def test_odd_channels_alternate_too(rng):
    layer = ShuffleAttention()
    x = rng.normal(size=(2, 3, 3, 5)).astype("float32")
    y, maps = layer(x, return_maps=True)
    gated = x * keras.ops.convert_to_numpy(maps["attention"])
    assert keras.ops.convert_to_numpy(y) == pytest.approx(gated[..., [0, 3, 1, 4, 2]])


def test_sizes(rng):
    check_sizes(ShuffleAttention, {"groups": 3}, rng)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"groups": 0}, "groups must be an integer of at least 1, received 0"),
        ({"ratio": 8}, "ShuffleAttention has no option 'ratio'; it takes groups"),
    ],
)
def test_refuses_options(options, message):
    with pytest.raises(ValueError, match=message):
        shuffle_block(None, **options)
