"""Criss-cross attention against the paper's formulation in PyTorch, over all pairs."""

import numpy as np
import pytest
from torch_reference import (
    check_sizes,
    compare_with_torch,
    input_gradient,
    randomize,
    to_numpy,
    weights_of,
)

from models.attention_module import CrissCross, criss_cross_block
from tests.layer_checks import one_always, run_layer_test

pytestmark = pytest.mark.once

CASES = [{}, {"recurrence": 1, "ratio": 2}]


@pytest.mark.parametrize("options", one_always(CASES))
def test_battery(options, rng):
    def params(channels):
        hidden = max(1, channels // options.get("ratio", 8))
        return channels * (2 * hidden + channels) + hidden + channels + 1

    run_layer_test(CrissCross, options, params, rng, steps=2)


def reference(layer, x):
    import torch
    from torch.nn import functional

    batch, _, height, width = x.shape
    places = torch.tensor([(i, j) for i in range(height) for j in range(width)])
    crosses = (places[:, None] == places[None]).any(-1)  # the same row or the same column
    gamma, *_ = weights_of(layer)
    for _ in range(layer.recurrence):
        q, k, v = (
            functional.conv2d(x, *weights_of(part)).flatten(2)
            for part in (layer.query, layer.key, layer.value)
        )
        logits = (q.transpose(1, 2) @ k).masked_fill(~crosses, -torch.inf)
        weights = logits.softmax(-1)
        x = x + gamma * (v @ weights.transpose(1, 2)).reshape(x.shape)
    return x, {"spatial": weights.sum(1).reshape(batch, 1, height, width)}


@pytest.mark.parametrize("options", CASES)
def test_equals_the_papers_formulation(options, rng):
    compare_with_torch(lambda: CrissCross(**options), reference, rng)


@pytest.mark.parametrize(("recurrence", "seen"), [(1, 4 + 5 - 1), (2, 4 * 5)])
def test_sees_its_cross_and_then_everything(recurrence, seen, rng):
    layer = CrissCross(recurrence)
    layer.build((None, 4, 5, 3))
    randomize(layer, rng)
    x = rng.normal(size=(1, 4, 5, 3)).astype("float32")
    of_one = np.zeros_like(x)
    of_one[0, 2, 1, 0] = 1
    slope = input_gradient(layer, x, of_one)
    assert (np.abs(slope).max(-1) > 0).sum() == seen


def test_starts_as_the_identity(rng):
    x = rng.normal(size=(2, 5, 4, 8)).astype("float32")
    np.testing.assert_array_equal(to_numpy(CrissCross()(x)), x)


def test_sizes(rng):
    check_sizes(CrissCross, {}, rng)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"recurrence": 0}, "recurrence must be an integer of at least 1, received 0"),
        ({"ratio": 0}, "ratio must be an integer of at least 1, received 0"),
        ({"heads": 2}, "CrissCross has no option 'heads'; it takes recurrence, ratio"),
    ],
)
def test_refuses_options(options, message):
    with pytest.raises(ValueError, match=message):
        criss_cross_block(None, **options)
