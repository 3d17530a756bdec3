"""DANet's attention against the authors' formulation in PyTorch."""

import numpy as np
import pytest
from torch_reference import check_sizes, compare_with_torch, to_numpy, weights_of

from models.attention_module import DANet, danet_block
from tests.layer_checks import one_always, run_layer_test

pytestmark = pytest.mark.once


def params(parts=("position", "channel"), ratio=8):
    def count(channels):
        hidden = max(1, channels // ratio)
        position = channels * (2 * hidden + channels) + hidden + channels + 1
        return ("position" in parts) * position + ("channel" in parts)

    return count


CASES = [{}, {"parts": ("position",), "ratio": 2}, {"parts": ("channel",)}]


@pytest.mark.parametrize("options", one_always(CASES))
def test_battery(options, rng):
    # 64x64 positions, and not 160x160, whose pairs would fill 2.6 GB
    run_layer_test(DANet, options, params(**options), rng, steps=2, large=64)


def reference(layer, x):
    from torch.nn import functional

    batch, channels, height, width = x.shape
    scales = dict(zip(layer.parts, weights_of(layer), strict=False))
    y, maps = x, {}
    if "position" in scales:
        q, k, v = (
            functional.conv2d(x, *weights_of(part)).flatten(2)
            for part in (layer.query, layer.key, layer.value)
        )
        weights = (q.transpose(1, 2) @ k).softmax(-1)
        y = y + scales["position"] * (v @ weights.transpose(1, 2)).reshape(x.shape)
        maps["spatial"] = weights.mean(1).reshape(batch, 1, height, width) * height * width
    if "channel" in scales:
        flat = x.flatten(2)
        energy = flat @ flat.transpose(1, 2)
        weights = (energy.max(-1, keepdim=True)[0] - energy).softmax(-1)
        y = y + scales["channel"] * (weights @ flat).reshape(x.shape)
        maps["channel"] = weights.mean(1)[:, :, None, None] * channels
    return y, maps


@pytest.mark.parametrize("options", CASES)
def test_equals_the_authors_code(options, rng):
    # products of whole channels are large, and a softmax of them rounds in float32
    compare_with_torch(lambda: DANet(**options), reference, rng, atol=5e-5)


def test_starts_as_the_identity(rng):
    x = rng.normal(size=(2, 5, 4, 8)).astype("float32")
    np.testing.assert_array_equal(to_numpy(DANet()(x)), x)


def test_sizes(rng):
    check_sizes(DANet, {}, rng)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"ratio": 0}, "ratio must be an integer of at least 1, received 0"),
        ({"parts": "both"}, "parts must be one or more of 'position', 'channel', each once; rece"),
        ({"gamma": 1}, "DANet has no option 'gamma'; it takes parts, ratio"),
    ],
)
def test_refuses_options(options, message):
    with pytest.raises(ValueError, match=message):
        danet_block(None, **options)
