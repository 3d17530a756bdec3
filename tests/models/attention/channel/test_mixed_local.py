"""Mixed local channel attention against its formulation in PyTorch, window by window."""

import pytest
from torch_reference import check_sizes, compare_with_torch, weights_of

from models.attention_module import MLCA, mlca_block
from tests.layer_checks import one_always, run_layer_test

pytestmark = pytest.mark.once

# the paper's equation, at gamma 2 and b 1, twice
PARAMS = {1: 2, 3: 2, 16: 6, 40: 6}


@pytest.mark.parametrize("options", one_always([{}, {"grid": 2, "local_weight": 0.2}]))
def test_battery(options, rng):
    run_layer_test(MLCA, options, PARAMS.get, rng)


def reference(layer, x):
    import torch
    from torch.nn import functional

    windows = functional.adaptive_avg_pool2d(x, layer.grid)

    def gate(conv, vector):
        (kernel,) = weights_of(conv)
        return functional.conv1d(vector[:, None], kernel, padding="same")[:, 0].sigmoid()

    whole = gate(layer.whole, windows.mean((2, 3)))
    rows = []
    for i in range(layer.grid):
        row = [gate(layer.local, windows[:, :, i, j]) for j in range(layer.grid)]
        rows.append(torch.stack(row, dim=-1))
    local = torch.stack(rows, dim=-2)
    mixed = layer.local_weight * local + (1 - layer.local_weight) * whole[:, :, None, None]
    gates = functional.adaptive_avg_pool2d(mixed, x.shape[2:])
    return x * gates, {"attention": gates}


@pytest.mark.parametrize("options", [{}, {"grid": 2, "local_weight": 0.2, "gamma": 1, "b": 2}])
def test_equals_the_papers_formulation(options, rng):
    compare_with_torch(lambda: MLCA(**options), reference, rng)


def test_sizes(rng):
    check_sizes(MLCA, {}, rng)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"grid": 0}, "grid must be an integer of at least 1, received 0"),
        ({"local_weight": 2}, "local_weight must be a number above 0 and at most 1, received 2"),
        ({"gamma": 0}, "gamma must be a number above 0, received 0"),
        ({"b": "1"}, "b must be a finite number, received '1'"),
        ({"ratio": 8}, "MLCA has no option 'ratio'; it takes grid, local_weight, gamma, b"),
    ],
)
def test_refuses_options(options, message):
    with pytest.raises(ValueError, match=message):
        mlca_block(None, **options)
