"""Non-local attention against the authors' formulation in PyTorch."""

import itertools

import numpy as np
import pytest

from models.attention_module import NonLocal, non_local_block
from tests.attention_reference import (
    batch_norm,
    check_against,
    check_placements,
    check_sizes,
    conv_kernel,
    to_numpy,
)
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


@pytest.mark.parametrize("options", CASES)
def test_battery(options, rng):
    steps = 2 if options.get("zero_init", True) else 1
    # 64x64 positions, and not 160x160, whose pairs would fill 2.6 GB
    run_layer_test(NonLocal, options, params(**options), rng, steps=steps, large=64)


def reference(mode, subsample, scale, with_norm, training=False, extra_biases=None):
    import torch

    functional = torch.nn.functional

    def compute(state, x):
        state = {**state, **(extra_biases or {})}

        def conv(name, x):
            return functional.conv2d(x, conv_kernel(state, name), state.get(f"{name}/bias"))

        seen = functional.max_pool2d(x, 2, ceil_mode=True) if subsample else x
        theta, phi = (x, seen) if mode == "gaussian" else (conv("theta", x), conv("phi", seen))
        affinity = theta.flatten(2).transpose(1, 2) @ phi.flatten(2)
        positions = affinity.shape[2]
        if mode == "dot_product":
            weights = affinity / positions
        else:
            weights = torch.softmax(affinity * (theta.shape[1] ** -0.5 if scale else 1), dim=2)
        y = conv("g", seen).flatten(2) @ weights.transpose(1, 2)
        y = conv("project", y.unflatten(2, x.shape[2:]))
        y = batch_norm(state, "norm", y, training) if with_norm else y
        mass = weights.mean(dim=1) * positions
        mass = mass.unflatten(1, seen.shape[2:])[:, None]
        if subsample:
            mass = mass.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
            mass = mass[:, :, : x.shape[2], : x.shape[3]]
        return x + y, {"spatial": mass}

    return compute


@pytest.mark.parametrize(("subsample", "with_norm"), itertools.product((True, False), repeat=2))
@pytest.mark.parametrize("mode", MODES)
def test_equals_the_authors_formulation(mode, subsample, with_norm, rng):
    pytest.importorskip("torch")
    for shape, scale in (((3, 7, 9, 5), True), ((2, 4, 6, 16), False), ((2, 1, 1, 1), True)):
        layer = NonLocal(mode, subsample=subsample, scale=scale, batch_norm=with_norm)
        x = rng.normal(size=shape)
        check_against(layer, reference(mode, subsample, scale, with_norm), x, rng, atol=1e-4)


@pytest.mark.parametrize("mode", MODES)
def test_the_biases_left_out_change_nothing(mode, rng):
    torch = pytest.importorskip("torch")
    layer = NonLocal(mode, zero_init=False)
    x = rng.normal(size=(4, 5, 6, 8)).astype("float32")
    layer.build(x.shape)
    state = {weight.path.split("/", 1)[1]: torch.tensor(weight.numpy()) for weight in layer.weights}
    absent = {
        f"{name}/bias": torch.tensor(rng.normal(size=size), dtype=torch.float32)
        for name, size in (("phi", 4), ("g", 4), ("project", 8))
        if f"{name}/bias" not in state
    }
    assert absent
    y, _ = reference(mode, True, True, True, training=True, extra_biases=absent)(
        state, torch.tensor(x).permute(0, 3, 1, 2)
    )
    wanted = y.permute(0, 2, 3, 1).numpy()
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


def test_placements(tmp_path, rng):
    check_placements("non_local_block", NonLocal, tmp_path, rng)


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
