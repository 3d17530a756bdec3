"""Gather and excite against the paper's formulation in PyTorch."""

import numpy as np
import pytest
from torch_reference import batch_norm, check_sizes, compare_with_torch, to_numpy, weights_of

from models.attention_module import GE, ge_block
from tests.layer_checks import one_always, run_layer_test


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


@pytest.mark.parametrize("options", one_always(CASES))
def test_battery(options, rng):
    # while a shift is zero, the next normalization takes off what its scale does: channel by
    # channel, neither rectifier nor convolution changes the sign or the mixture
    chain = options.get("extra_params") and options.get("extent") != 2
    run_layer_test(GE, options, params(**options), rng, steps=2 if chain else 1)


def test_an_extent_may_be_a_whole_float():
    layer = GE(extent=2.0, extra_params=True)
    layer.build((None, 8, 8, 4))
    assert len(layer.convs) == 1
    assert layer.get_config()["extent"] == 2


def gather(layer, x):
    from torch.nn import functional

    steps = {0: 3, 2: 1, 4: 2, 8: 3}[layer.extent] if layer.extra_params else 0
    for step in range(steps):
        (kernel,) = weights_of(layer.convs[step])
        x = functional.conv2d(x, kernel, stride=2, padding=1, groups=x.shape[1])
        x = batch_norm(layer.norms[step], x)
        x = functional.relu(x) if step < steps - 1 else x
    if layer.extent == 0:
        return x.mean((2, 3), keepdim=True)
    if not layer.extra_params:
        window, stride = 2 * layer.extent - 1, layer.extent
        return functional.avg_pool2d(x, window, stride, stride - 1, count_include_pad=False)
    return x


def reference(layer, x):
    from torch.nn import functional

    gate = gather(layer, x)
    if layer.use_mlp:
        gate = functional.relu(gate) if layer.extra_params else gate
        gate = functional.relu(functional.conv2d(gate, *weights_of(layer.reduce)))
        gate = functional.conv2d(gate, *weights_of(layer.expand))
    gate = gate.sigmoid()
    if layer.extent:
        gate = functional.interpolate(gate, size=x.shape[2:])
    return x * gate, {"gate": gate}


@pytest.mark.parametrize("extra_params", [False, True])
@pytest.mark.parametrize("extent", [0, 2, 4, 8])
def test_equals_the_papers_formulation(extent, extra_params, rng):
    shapes = ((3, 7, 9, 5), (2, 1, 1, 4), (2, 16, 12, 1), (2, 3, 20, 2))
    for use_mlp in (False, True):
        options = {"extent": extent, "extra_params": extra_params, "use_mlp": use_mlp}
        compare_with_torch(lambda options=options: GE(**options, ratio=2), reference, rng, shapes)


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
