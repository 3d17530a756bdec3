"""FcaNet's attention against the authors' formulation in PyTorch."""

import math

import numpy as np
import pytest
from torch_reference import check_sizes, compare_with_torch, to_numpy, weights_of

from models.attention.channel.frequency import BEST
from models.attention_module import FCA, SE, fca_block
from tests.layer_checks import one_always, run_layer_test

pytestmark = pytest.mark.once


def test_frequencies_are_distinct_and_on_the_grid():
    assert len(set(BEST)) == len(BEST) == 32
    assert all(0 <= f < 7 for pair in BEST for f in pair)


@pytest.mark.parametrize("options", one_always([{}, {"frequencies": 4, "ratio": 2}]))
def test_battery(options, rng):
    def params(channels):
        return 2 * channels * max(1, channels // options.get("ratio", 16))

    run_layer_test(FCA, options, params, rng)


def basis(frequency, size):
    values = [math.cos(math.pi * frequency * (i + 0.5) / size) for i in range(size)]
    return np.array(values) * math.sqrt((2 if frequency else 1) / size)


def reference(layer, x):
    import torch
    from torch.nn import functional

    channels = x.shape[1]
    size = [max(7, side) for side in x.shape[2:]]
    pooled = functional.adaptive_avg_pool2d(x, size)
    number = max(n for n in range(1, layer.frequencies + 1) if channels % n == 0)
    sums = []
    for channel in range(channels):
        pair = BEST[channel * number // channels]
        u, v = (basis(f * (side // 7), side) for f, side in zip(pair, size, strict=True))
        sums.append((pooled[:, channel] * torch.tensor(np.outer(u, v))).sum((1, 2)))
    first, second = (weights_of(part)[0] for part in (layer.reduce, layer.expand))
    hidden = functional.relu(functional.linear(torch.stack(sums, dim=1), first))
    gate = functional.linear(hidden, second).sigmoid()[:, :, None, None]
    return x * gate, {"channel": gate}


@pytest.mark.parametrize("frequencies", [16, 3, 32])
def test_equals_the_authors_code(frequencies, rng):
    shapes = ((2, 7, 7, 32), (3, 14, 9, 40), (1, 6, 22, 3), (2, 1, 1, 8))
    compare_with_torch(lambda: FCA(frequencies, 4), reference, rng, shapes)


def test_one_frequency_is_se(rng):
    """The lowest frequency is the average, times the root of the number of positions."""
    x = rng.normal(size=(2, 8, 9, 16)).astype("float32")
    fca, se = FCA(1, 4), SE(4, use_bias=False)
    fca.build(x.shape)
    se.build(x.shape)
    first, second = fca.get_weights()
    se.set_weights([first * math.sqrt(72), second])
    np.testing.assert_allclose(to_numpy(fca(x)), to_numpy(se(x)), atol=1e-5)


def test_sizes(rng):
    check_sizes(FCA, {"frequencies": 6}, rng)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"frequencies": 0}, "frequencies must be an integer of at least 1, received 0"),
        ({"frequencies": 33}, "frequencies must be at most 32, received 33"),
        ({"ratio": 0}, "ratio must be an integer of at least 1, received 0"),
        ({"method": "top16"}, "FCA has no option 'method'; it takes frequencies, ratio"),
    ],
)
def test_refuses_options(options, message):
    with pytest.raises(ValueError, match=message):
        fca_block(None, **options)
