"""Selective kernels against the authors' formulation in PyTorch."""

import pytest

from models.attention.parts import largest_divisor
from models.attention_module import SK, sk_block
from tests.attention_reference import (
    batch_norm,
    check_against,
    check_placements,
    check_sizes,
    conv_kernel,
)
from tests.layer_checks import run_layer_test


def params(branches=2, groups=32, ratio=16, min_width=32):
    def count(channels):
        width = max(channels // ratio, min_width)
        convolutions = branches * (9 * channels**2 // largest_divisor(channels, groups))
        norms = 2 * branches * channels + 2 * width
        return convolutions + norms + (1 + branches) * channels * width

    return count


CASES = [
    {},
    {"branches": 3, "groups": 4, "ratio": 2, "min_width": 1},
    {"groups": 1, "min_width": 8},
]


@pytest.mark.parametrize("options", CASES)
def test_battery(options, rng):
    run_layer_test(SK, options, params(**options), rng)


def reference(branches, groups):
    import torch

    functional = torch.nn.functional

    def compute(state, x):
        maps = []
        for number in range(1, branches + 1):
            u = functional.conv2d(
                x,
                conv_kernel(state, f"conv{number}"),
                padding=number,
                dilation=number,
                groups=groups,
            )
            maps.append(functional.relu(batch_norm(state, f"norm{number}", u)))
        features = torch.stack(maps, dim=1)
        z = features.sum(dim=1).mean(-1).mean(-1) @ state["reduce/kernel"]
        z = functional.relu(batch_norm(state, "reduce_norm", z[..., None, None]))[..., 0, 0]
        weights = (z @ state["select/kernel"]).unflatten(1, (branches, -1)).softmax(dim=1)
        weights = weights[..., None, None]
        shares = {f"branch{m + 1}": weights[:, m] for m in range(branches)}
        return (features * weights).sum(dim=1), shares

    return compute


@pytest.mark.parametrize(
    ("branches", "groups", "channels", "used"),
    [(2, 32, 40, 20), (2, 32, 6, 6), (3, 4, 10, 2), (2, 1, 5, 1), (2, 3, 7, 1)],
)
def test_equals_the_authors_formulation(branches, groups, channels, used, rng):
    pytest.importorskip("torch")
    layer = SK(branches, groups, ratio=2, min_width=4)
    x = rng.normal(size=(3, 7, 9, channels))
    check_against(layer, reference(branches, used), x, rng, atol=5e-5)
    assert {conv.groups for conv in layer.convs} == {used}


def test_groups_are_the_largest_divisor():
    divisors = {(40, 32): 20, (64, 32): 32, (16, 32): 16, (7, 3): 1, (1, 32): 1, (12, 5): 4}
    for (channels, groups), expected in divisors.items():
        assert largest_divisor(channels, groups) == expected


def test_width_of_the_squeezed_vector():
    """128 channels of the authors' models have 32, 1024 have 64."""
    for channels, width in ((128, 32), (1024, 64)):
        layer = SK()
        layer.build((None, None, None, channels))
        assert layer.reduce.units == width


def test_sizes(rng):
    check_sizes(SK, {"groups": 1}, rng)


def test_placements(tmp_path, rng):
    check_placements("sk_block", SK, tmp_path, rng)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"branches": 1}, "branches must be an integer of at least 2, received 1"),
        ({"groups": 0}, "groups must be an integer of at least 1, received 0"),
        ({"ratio": 0.5}, "ratio must be an integer of at least 1"),
        ({"min_width": 0}, "min_width must be an integer of at least 1"),
        ({"kernels": 3}, "SK has no option 'kernels'; it takes branches, groups, ratio"),
    ],
)
def test_refuses_options(options, message):
    with pytest.raises(ValueError, match=message):
        sk_block(None, **options)
