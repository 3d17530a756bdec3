"""Simple coordinate attention against timm's formulation in PyTorch."""

import keras
import numpy as np
import pytest
from torch_reference import check_sizes, compare_with_torch, weights_of

from models.attention_module import SimpleCoordinateAttention, scoord_block
from tests.layer_checks import one_always, run_layer_test

pytestmark = pytest.mark.once

# timm's widths by channels, for the ratios 4 and 1
WIDTHS = {
    4: {1: 8, 3: 8, 16: 8, 40: 8, 64: 8, 72: 16, 128: 24},
    1: {1: 8, 3: 8, 16: 8, 40: 24, 64: 40, 72: 48, 128: 88},
}


@pytest.mark.parametrize("ratio", one_always([4, 1]))
def test_battery(ratio, rng):
    def params(channels):
        hidden = WIDTHS[ratio][channels]
        return 3 * channels * hidden + hidden + 2 * channels

    run_layer_test(SimpleCoordinateAttention, {"ratio": ratio}, params, rng)


@pytest.mark.parametrize("ratio", [4, 1])
def test_widths_are_timms(ratio):
    for channels, hidden in WIDTHS[ratio].items():
        layer = SimpleCoordinateAttention(ratio)
        layer.build((None, None, None, channels))
        assert layer.reduce.units == hidden


def reference(layer, x):
    from torch.nn import functional

    def branch(strip, last):
        hidden = functional.silu(functional.linear(strip, *weights_of(layer.reduce)))
        return functional.linear(hidden, *weights_of(last)).transpose(1, 2)

    rows = branch(x.mean(3).transpose(1, 2), layer.height)[:, :, :, None]
    columns = branch(x.mean(2).transpose(1, 2), layer.width)[:, :, None]
    gate = (rows + columns).sigmoid()
    return x * gate, {"attention": gate}


@pytest.mark.parametrize("ratio", [4, 1])
def test_equals_timms_formulation(ratio, rng):
    compare_with_torch(lambda: SimpleCoordinateAttention(ratio), reference, rng)


def test_gates_have_the_digits_of_float32(rng):
    """Under mixed precision the map alone is in half precision."""
    x = (rng.integers(-64, 64, (2, 8, 4, 16)) / 32).astype("float32")  # exact in half precision
    exact = SimpleCoordinateAttention()
    exact.build(x.shape)
    layer = SimpleCoordinateAttention(dtype="mixed_bfloat16")
    layer.build(x.shape)
    layer.set_weights(exact.get_weights())
    gate, expected = (
        keras.ops.convert_to_numpy(made(x, return_maps=True)[1]["attention"])
        for made in (layer, exact)
    )
    np.testing.assert_allclose(gate, expected, rtol=1e-6)


def test_sizes(rng):
    check_sizes(SimpleCoordinateAttention, {}, rng)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"ratio": 0}, "ratio must be an integer of at least 1, received 0"),
        ({"bias": True}, "SimpleCoordinateAttention has no option 'bias'; it takes ratio"),
    ],
)
def test_refuses_options(options, message):
    with pytest.raises(ValueError, match=message):
        scoord_block(None, **options)
