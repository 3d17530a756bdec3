"""CoT against the authors' formulation in PyTorch."""

import keras
import numpy as np
import pytest
from torch_reference import batch_norm, check_sizes, compare_with_torch, weights_of

from models.attention_module import CoT, cot_block
from tests.layer_checks import check_parameters, divisor, run_layer_test

pytestmark = pytest.mark.once


def params(kernel_size):
    def count(channels):
        half, hidden = max(1, channels // 2), max(32, channels // 2)
        weights = kernel_size**2 * divisor(channels, max(1, channels // 8))
        key = kernel_size**2 * channels**2 // divisor(channels, 4) + 2 * channels
        weigh = 2 * channels * half + 2 * half + half * weights + 3 * weights
        value = channels**2 + 4 * channels
        choice = channels * hidden + 3 * hidden + 2 * channels * hidden + 2 * channels
        return key + weigh + value + choice

    return count


def test_battery(rng):
    # a batch normalization takes away what a bias before it adds; while the shift of the values is
    # zero, the next normalization takes off what their scale does, channel by channel
    run_layer_test(CoT, {}, params(3), rng, steps=2, idle=("reduce/bias",))


def test_parameters_of_a_larger_neighborhood():
    check_parameters(CoT, {"kernel_size": 5}, params(5))


def reference(layer, x):
    import torch
    from torch.nn import functional

    batch, channels, height, width = x.shape
    size, shares = layer.kernel_size, divisor(channels, max(1, channels // 8))

    def conv(part, y, **options):
        return functional.conv2d(y, *weights_of(part), **options)

    def norm(name, y):
        return batch_norm(layer.norms[name], y)

    groups = divisor(channels, 4)
    k = functional.relu(norm("key", conv(layer.key, x, padding=size // 2, groups=groups)))
    w = functional.relu(norm("squeeze", conv(layer.squeeze, torch.cat([x, k], dim=1))))
    w = conv(layer.weigh, w).reshape(batch, shares, -1)
    centered = w - w.mean(2, keepdim=True)
    w = centered / (centered.square().mean(2, keepdim=True) + 1e-5).sqrt()
    gamma, beta = weights_of(layer.weigh_norm)
    w = w.reshape(batch, -1, height, width) * gamma[:, None, None] + beta[:, None, None]
    w = w.reshape(batch, shares, size * size, height, width)
    v = functional.unfold(norm("value", conv(layer.value, x)), size, padding=size // 2)
    v = v.reshape(batch, channels, size * size, height, width)
    # one channel after the other
    y = torch.stack([(v[:, c] * w[:, c % shares]).sum(1) for c in range(channels)], dim=1)
    y = functional.silu(norm("dynamic", y))
    both = torch.stack([y, k], dim=2)
    gap = both.sum(2).mean((2, 3), keepdim=True)
    z = functional.relu(norm("reduce", conv(layer.reduce, gap)))
    share = conv(layer.select, z).reshape(batch, channels, 2).softmax(2)[..., None, None]
    maps = {"dynamic": share[:, :, 0], "static": share[:, :, 1]}
    return (both * share).sum(2), maps


@pytest.mark.parametrize("kernel_size", [3, 5])
def test_equals_the_authors_code(kernel_size, rng):
    # sums over a neighborhood reach hundreds, of which float32 rounds the fifth digit
    compare_with_torch(lambda: CoT(kernel_size), reference, rng, atol=1e-4)


def test_shares_have_the_digits_of_float32(rng):
    """Under mixed precision the maps alone are in half precision."""
    x = rng.normal(size=(2, 6, 5, 64)).astype("float32")
    _, maps = CoT(dtype="mixed_bfloat16")(x, return_maps=True)
    shares = [keras.ops.convert_to_numpy(keras.ops.cast(s, "float32")) for s in maps.values()]
    np.testing.assert_allclose(sum(shares), 1.0, rtol=1e-6)


def test_sizes(rng):
    check_sizes(CoT, {}, rng)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kernel_size": 4}, "kernel_size must be an odd integer of at least 1, received 4"),
        ({"ratio": 8}, "CoT has no option 'ratio'; it takes kernel_size"),
    ],
)
def test_refuses_options(options, message):
    with pytest.raises(ValueError, match=message):
        cot_block(None, **options)
