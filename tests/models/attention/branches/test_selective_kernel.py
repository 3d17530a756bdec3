"""Selective kernels against the authors' formulation in PyTorch."""

import pytest
from torch_reference import batch_norm, check_sizes, compare_with_torch, weights_of

from models.attention.parts import largest_divisor
from models.attention_module import SK, sk_block
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


def reference(layer, x):
    import torch
    from torch.nn import functional

    maps = []
    for number, (conv, norm) in enumerate(zip(layer.convs, layer.norms, strict=True), 1):
        (kernel,) = weights_of(conv)
        u = functional.conv2d(
            x, kernel, padding=number, dilation=number, groups=x.shape[1] // kernel.shape[1]
        )
        maps.append(functional.relu(batch_norm(norm, u)))
    features = torch.stack(maps, dim=1)
    z = functional.linear(features.sum(dim=1).mean((2, 3)), *weights_of(layer.reduce))
    z = functional.relu(batch_norm(layer.reduce_norm, z))
    weights = functional.linear(z, *weights_of(layer.select))
    weights = weights.unflatten(1, (layer.branches, -1)).softmax(dim=1)[..., None, None]
    shares = {f"branch{m + 1}": weights[:, m] for m in range(layer.branches)}
    return (features * weights).sum(dim=1), shares


@pytest.mark.parametrize(
    ("branches", "groups", "channels", "used"),
    [(2, 32, 40, 20), (2, 32, 6, 6), (3, 4, 10, 2), (2, 1, 5, 1), (2, 3, 7, 1)],
)
def test_equals_the_authors_formulation(branches, groups, channels, used, rng):
    def reference_of_groups(layer, x):
        assert [conv.groups for conv in layer.convs] == [used] * branches
        return reference(layer, x)

    compare_with_torch(
        lambda: SK(branches, groups, ratio=2, min_width=4),
        reference_of_groups,
        rng,
        [(3, 7, 9, channels)],
    )


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
