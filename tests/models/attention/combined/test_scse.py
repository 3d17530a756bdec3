"""cSE, sSE and scSE: the common battery, and their numbers against the authors' formulation."""

import keras
import pytest
from torch_reference import compare_with_torch, weights_of

from models.attention_module import CSE, SCSE, SSE, cse_block, scse_block, sse_block
from models.private_api import operation_of
from tests.layer_checks import run_layer_test


def cse(ratio=2, bias=True):
    def count(channels):
        hidden = max(1, channels // ratio)
        return 2 * channels * hidden + (hidden + channels) * bias

    return count


def both(ratio=2, bias=True):
    return lambda channels: cse(ratio, bias)(channels) + channels + bias


CASES = [
    (CSE, {}, cse()),
    (CSE, {"ratio": 4, "use_bias": False}, cse(4, False)),
    (SSE, {}, lambda channels: channels + 1),
    (SSE, {"use_bias": False}, lambda channels: channels),
    (SCSE, {}, both()),
    (SCSE, {"ratio": 4, "combine": "add", "use_bias": False}, both(4, False)),
]


@pytest.mark.parametrize(("layer_class", "options", "params"), CASES)
def test_battery(layer_class, options, params, rng):
    run_layer_test(layer_class, options, params, rng)


def reference(layer, x):
    import torch
    from torch.nn import functional

    if isinstance(layer, CSE):
        squeezed = x.flatten(2).mean(dim=2)
        squeezed = functional.relu(functional.linear(squeezed, *weights_of(layer.reduce)))
        gate = functional.linear(squeezed, *weights_of(layer.expand)).sigmoid()
        return x * gate[:, :, None, None]
    if isinstance(layer, SSE):
        return x * functional.conv2d(x, *weights_of(layer.conv)).sigmoid()
    channel, spatial = reference(layer.channel, x), reference(layer.spatial, x)
    return torch.max(channel, spatial) if layer.combine == "max" else channel + spatial


@pytest.mark.parametrize(("layer_class", "options", "params"), CASES)
def test_equals_the_authors_code(layer_class, options, params, rng):
    compare_with_torch(lambda: layer_class(**options), reference, rng)


@pytest.mark.parametrize(
    ("block", "options", "message"),
    [
        (cse_block, {"ratio": 0}, "ratio must be an integer of at least 1, received 0"),
        (scse_block, {"ratio": 2.5}, "ratio must be an integer of at least 1, received 2.5"),
        (scse_block, {"combine": "mul"}, "combine must be one of 'max', 'add', received 'mul'"),
        (cse_block, {"pools": "max"}, "CSE has no option 'pools'; it takes ratio, use_bias"),
        (sse_block, {"ratio": 2}, "SSE has no option 'ratio'; it takes use_bias"),
        (scse_block, {"size": 2}, "SCSE has no option 'size'; it takes ratio, combine, use_bias"),
    ],
)
def test_refuses_options(block, options, message):
    with pytest.raises(ValueError, match=message):
        block(keras.Input((8, 8, 16)), **options)


def test_the_channel_gate_is_half_as_wide():
    assert operation_of(cse_block(keras.Input((8, 8, 16)))).ratio == 2
