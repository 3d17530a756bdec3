"""Gather and excite against the paper's formulation in PyTorch."""

import itertools

import numpy as np
import pytest

from models.attention_module import GE, ge_block
from tests.attention_reference import (
    batch_norm,
    check_against,
    check_placements,
    check_sizes,
    conv_kernel,
    to_numpy,
)
from tests.layer_checks import run_layer_test


def params(extent=0, extra_params=False, use_mlp=False, ratio=16):
    def count(channels):
        steps = {0: 3, 2: 1, 4: 2, 8: 3}[extent] if extra_params else 0
        hidden = max(1, channels // ratio)
        mlp = 2 * channels * hidden + hidden + channels
        return steps * 11 * channels + mlp * use_mlp

    return count


CASES = [
    {},
    {"extent": 2},
    {"extent": 8},
    {"use_mlp": True, "ratio": 4},
    {"extra_params": True},
    {"extent": 2, "extra_params": True},
    {"extent": 8, "extra_params": True},
    {"extent": 4, "extra_params": True, "use_mlp": True, "ratio": 4},
]


@pytest.mark.parametrize("options", CASES)
def test_battery(options, rng):
    # while a shift is zero, the next normalisation takes off what its scale does: channel by
    # channel, neither rectifier nor convolution changes the sign or the mixture
    chain = options.get("extra_params") and options.get("extent") != 2
    run_layer_test(GE, options, params(**options), rng, steps=2 if chain else 1)


def reference(extent, extra_params, use_mlp):
    import torch

    functional = torch.nn.functional

    def pointwise(state, name, x):
        return functional.conv2d(x, conv_kernel(state, name), state[f"{name}/bias"])

    def gather(state, x):
        steps = {0: 3, 2: 1, 4: 2, 8: 3}[extent] if extra_params else 0
        for step in range(1, steps + 1):
            kernel = state[f"conv{step}/kernel"].permute(2, 3, 0, 1)
            x = functional.conv2d(x, kernel, stride=2, padding=1, groups=x.shape[1])
            x = batch_norm(state, f"norm{step}", x)
            x = functional.relu(x) if step < steps else x
        if extent == 0:
            return x.mean((2, 3), keepdim=True)
        if not extra_params:
            return functional.avg_pool2d(
                x, 2 * extent - 1, extent, padding=extent - 1, count_include_pad=False
            )
        return x

    def compute(state, x):
        gate = gather(state, x)
        if use_mlp:
            gate = functional.relu(gate) if extra_params else gate
            gate = pointwise(state, "expand", functional.relu(pointwise(state, "reduce", gate)))
        if extent:
            gate = functional.interpolate(gate, size=x.shape[2:])
        return x * torch.sigmoid(gate), {"gate": torch.sigmoid(gate)}

    return compute


@pytest.mark.parametrize("extra_params", [False, True])
@pytest.mark.parametrize("extent", [0, 2, 4, 8])
def test_equals_the_papers_formulation(extent, extra_params, rng):
    pytest.importorskip("torch")
    shapes = ((3, 7, 9, 5), (2, 1, 1, 4), (2, 16, 12, 1), (2, 3, 20, 2))
    for shape, use_mlp in itertools.product(shapes, (False, True)):
        layer = GE(extent, extra_params, use_mlp, ratio=2)
        x = rng.normal(size=shape)
        check_against(layer, reference(extent, extra_params, use_mlp), x, rng)


def test_whole_map_with_mlp_is_se(rng):
    x = rng.normal(size=(2, 5, 6, 8)).astype("float32")
    layer = GE(use_mlp=True, ratio=4)
    layer.build(x.shape)
    w0, b0, w1, b1 = (rng.normal(size=weight.shape) for weight in layer.weights)
    layer.set_weights([w0, b0, w1, b1])
    hidden = np.maximum(x.mean((1, 2)) @ w0[0, 0] + b0, 0)
    gate = 1 / (1 + np.exp(-(hidden @ w1[0, 0] + b1)))
    np.testing.assert_allclose(to_numpy(layer(x)), x * gate[:, None, None], atol=1e-5)


@pytest.mark.parametrize("options", [{"extent": 4}, {"extent": 4, "extra_params": True}])
def test_sizes(options, rng):
    check_sizes(GE, options, rng)


def test_placements(tmp_path, rng):
    check_placements("ge_block", GE, tmp_path, rng)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"extent": 3}, "extent must be one of 0, 2, 4, 8, received 3"),
        ({"ratio": 0}, "ratio must be an integer of at least 1, received 0"),
        ({"size": 3}, "GE has no option 'size'; it takes extent, extra_params, use_mlp, ratio"),
    ],
)
def test_refuses_options(options, message):
    with pytest.raises(ValueError, match=message):
        ge_block(None, **options)
