"""ECA: the common battery, and its numbers against the authors' formulation."""

import keras
import pytest
from torch_reference import compare_with_torch, weights_of

from models.attention_module import ECA, ECAM, eca_block, ecam_block
from tests.layer_checks import run_layer_test

# the paper's equation, at gamma 2 and b 1
SIZES = {1: 1, 3: 1, 8: 3, 16: 3, 40: 3, 64: 3, 128: 5, 256: 5, 512: 5, 1024: 5, 2048: 7}


@pytest.mark.parametrize(
    ("options", "params"),
    [
        ({}, SIZES.get),
        ({"kernel_size": 5}, lambda channels: 5),
        ({"gamma": 1, "b": 0.5}, lambda channels: {1: 1, 3: 3, 16: 5, 40: 5}[channels]),
    ],
)
def test_battery(options, params, rng):
    run_layer_test(ECA, options, params, rng)


@pytest.mark.parametrize(("channels", "size"), SIZES.items())
def test_adapts_its_kernel(channels, size):
    layer = ECA()
    layer.build((None, None, None, channels))
    assert layer.conv.kernel.shape == (size, 1, 1)


def reference(layer, x):
    from torch.nn import functional

    pooled = functional.adaptive_avg_pool2d(x, 1).squeeze(-1).transpose(-1, -2)
    (kernel,) = weights_of(layer.conv)
    gate = functional.conv1d(pooled, kernel, padding=(kernel.shape[-1] - 1) // 2)
    return x * gate.transpose(-1, -2).unsqueeze(-1).sigmoid()


@pytest.mark.parametrize("options", [{}, {"kernel_size": 5}, {"gamma": 1, "b": -1}])
def test_equals_the_authors_code(options, rng):
    compare_with_torch(lambda: ECA(**options), reference, rng)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kernel_size": 4}, "kernel_size must be an odd integer of at least 1, received 4"),
        ({"kernel_size": 0}, "kernel_size must be an odd integer of at least 1, received 0"),
        ({"gamma": 0}, "gamma must be a number above 0, received 0"),
        ({"b": float("nan")}, "b must be a finite number, received nan"),
        ({"b": "1"}, "b must be a finite number, received '1'"),
        ({"ratio": 4}, "ECA has no option 'ratio'; it takes kernel_size, gamma, b"),
    ],
)
def test_refuses_options(options, message):
    with pytest.raises(ValueError, match=message):
        eca_block(keras.Input((8, 8, 16)), **options)


# timm's widths and kernels by channels
WIDTHS = {1: (8, 3), 3: (8, 3), 16: (8, 3), 40: (8, 3), 96: (16, 3), 128: (16, 5), 200: (24, 5)}


@pytest.mark.parametrize("options", [{}, {"kernel_size": 5, "ratio": 1}])
def test_battery_of_timms(options, rng):
    def params(channels):
        hidden, size = WIDTHS[channels]
        if options:
            hidden, size = max(8, channels // 8 * 8), 5
        return 2 * hidden + size * hidden + 1

    run_layer_test(ECAM, options, params, rng)


@pytest.mark.parametrize("channels", WIDTHS)
def test_widths_are_timms(channels):
    layer = ECAM()
    layer.build((None, None, None, channels))
    assert (layer.expand.filters, *layer.reduce.kernel_size) == WIDTHS[channels]


def timms_reference(layer, x):
    from torch.nn import functional

    hidden = functional.conv1d(x.mean((2, 3))[:, None], *weights_of(layer.expand))
    kernel, bias = weights_of(layer.reduce)
    logits = functional.conv1d(functional.relu(hidden), kernel, bias, padding="same")
    gate = logits.sigmoid()[:, 0, :, None, None]
    return x * gate, {"channel": gate}


@pytest.mark.parametrize("options", [{}, {"kernel_size": 5, "ratio": 1}])
def test_equals_timms_formulation(options, rng):
    compare_with_torch(lambda: ECAM(**options), timms_reference, rng)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kernel_size": 4}, "kernel_size must be an odd integer of at least 1, received 4"),
        ({"ratio": 0}, "ratio must be an integer of at least 1, received 0"),
        ({"gamma": 2}, "ECAM has no option 'gamma'; it takes kernel_size, ratio"),
    ],
)
def test_timms_refuses_options(options, message):
    with pytest.raises(ValueError, match=message):
        ecam_block(keras.Input((8, 8, 16)), **options)
