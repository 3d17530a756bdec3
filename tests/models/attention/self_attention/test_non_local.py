"""Non-local attention against the authors' formulation in PyTorch."""

import itertools

import numpy as np
import pytest
from torch_reference import batch_norm, check_sizes, compare_with_torch, to_numpy, weights_of

from models.attention_module import NonLocal, non_local_block
from tests.layer_checks import run_layer_test

MODES = ("embedded_gaussian", "gaussian", "dot_product")


def params(mode="embedded_gaussian", ratio=2, batch_norm=True, use_bias=True, **_):
    def count(channels):
        inner = max(1, channels // ratio)
        linear, kernels = mode == "dot_product", 2 if mode == "gaussian" else 4
        biases = (mode != "gaussian") * inner + linear * inner  # theta, phi
        biases += (linear or not batch_norm) * inner  # g
        biases += (not batch_norm) * channels  # project
        return kernels * channels * inner + 2 * channels * batch_norm + biases * use_bias

    return count


CASES = [
    {},
    {"mode": "gaussian", "subsample": False},
    {"mode": "dot_product", "ratio": 4},
    {"zero_init": False},
    {"zero_init": False, "batch_norm": False, "scale": False},
    {"mode": "gaussian", "zero_init": False, "use_bias": False},
    {"mode": "dot_product", "zero_init": False, "subsample": False},
    {"mode": "dot_product", "batch_norm": False},
]


@pytest.mark.parametrize(
    "options", [*CASES[:2], *(pytest.param(case, marks=pytest.mark.long) for case in CASES[2:])]
)
def test_battery(options, rng):
    steps = 2 if options.get("zero_init", True) else 1
    # 64x64 positions, and not 160x160, whose pairs would fill 2.6 GB
    run_layer_test(NonLocal, options, params(**options), rng, steps=steps, large=64)


def reference(layer, x, training=False, absent=None):
    """The authors' block; `absent` are biases by name that the layer does without."""
    from torch.nn import functional

    def conv(part, x):
        kernel, *bias = weights_of(part)
        bias = bias[0] if bias else (absent or {}).get(part.name)
        return functional.conv2d(x, kernel, bias)

    seen = functional.max_pool2d(x, 2, ceil_mode=True) if layer.subsample else x
    theta, phi = x, seen
    if layer.mode != "gaussian":
        theta, phi = conv(layer.theta, x), conv(layer.phi, seen)
    affinity = theta.flatten(2).transpose(1, 2) @ phi.flatten(2)
    positions = affinity.shape[2]
    if layer.mode == "dot_product":
        weights = affinity / positions
    else:
        weights = (affinity * (theta.shape[1] ** -0.5 if layer.scale else 1)).softmax(dim=2)
    y = conv(layer.g, seen).flatten(2) @ weights.transpose(1, 2)
    y = conv(layer.project, y.unflatten(2, x.shape[2:]))
    y = batch_norm(layer.norm, y, training) if layer.batch_norm else y
    mass = weights.mean(dim=1) * positions
    mass = mass.unflatten(1, seen.shape[2:])[:, None]
    if layer.subsample:
        mass = mass.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
        mass = mass[:, :, : x.shape[2], : x.shape[3]]
    return x + y, {"spatial": mass}


@pytest.mark.parametrize(("subsample", "with_norm"), itertools.product((True, False), repeat=2))
@pytest.mark.parametrize("mode", MODES)
def test_equals_the_authors_formulation(mode, subsample, with_norm, rng):
    for shape, scale in (((3, 7, 9, 5), True), ((2, 4, 6, 16), False), ((2, 1, 1, 1), True)):
        options = {"subsample": subsample, "scale": scale, "batch_norm": with_norm}
        compare_with_torch(
            lambda options=options: NonLocal(mode, **options), reference, rng, [shape], atol=5e-5
        )


@pytest.mark.parametrize("mode", MODES)
def test_the_biases_left_out_change_nothing(mode, rng):
    torch = pytest.importorskip("torch")
    layer = NonLocal(mode, zero_init=False)
    x = rng.normal(size=(4, 5, 6, 8)).astype("float32")
    layer.build(x.shape)
    absent = {
        part.name: torch.tensor(rng.normal(size=part.filters))
        for part in (layer.phi, layer.g, layer.project)
        if part is not None and not part.use_bias
    }
    assert absent
    x_torch = torch.tensor(x.transpose(0, 3, 1, 2), dtype=torch.float64)
    wanted, _ = reference(layer, x_torch, training=True, absent=absent)
    wanted = to_numpy(wanted).transpose(0, 2, 3, 1)
    np.testing.assert_allclose(to_numpy(layer(x, training=True)), wanted, atol=1e-4)


@pytest.mark.parametrize("with_norm", [True, False])
def test_starts_as_the_identity(with_norm, rng):
    x = rng.normal(size=(2, 5, 6, 8)).astype("float32")
    np.testing.assert_array_equal(to_numpy(NonLocal(batch_norm=with_norm)(x)), x)
    y = to_numpy(NonLocal(batch_norm=with_norm, zero_init=False)(x))
    assert np.abs(y - x).max() > 0


@pytest.mark.parametrize("mode", MODES[:2])
def test_shares_are_one_on_average(mode, rng):
    x = rng.normal(size=(2, 6, 8, 4)).astype("float32")
    _, maps = NonLocal(mode)(x, return_maps=True)
    np.testing.assert_allclose(to_numpy(maps["spatial"]).mean((1, 2, 3)), 1, atol=1e-5)


@pytest.mark.parametrize("mode", MODES)
def test_sizes(mode, rng):
    check_sizes(NonLocal, {"mode": mode}, rng)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mode": "concatenation"}, "mode must be one of 'embedded_gaussian', 'gaussian', 'dot_pr"),
        ({"ratio": 0}, "ratio must be an integer of at least 1, received 0"),
        ({"heads": 2}, "NonLocal has no option 'heads'; it takes mode, ratio, subsample"),
    ],
)
def test_refuses_options(options, message):
    with pytest.raises(ValueError, match=message):
        non_local_block(None, **options)
