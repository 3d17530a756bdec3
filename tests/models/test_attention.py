"""The attention layers: the common battery, and their numbers against plain numpy."""

import itertools

import keras
import numpy as np
import pytest

from models.attention_module import (
    CBAM,
    CBAM_OFFICIAL,
    SE,
    ChannelAttention,
    SpatialAttention,
    attach_attention_module,
)
from tests.layer_checks import check_statistics, run_layer_test
from tests.models.layer_cases import CASES

# on every backend SE and CBAM; the halves and the variants once
ON_EVERY_BACKEND = (0, 10)
BATTERY = [
    pytest.param(*case, marks=[] if number in ON_EVERY_BACKEND else [pytest.mark.once])
    for number, case in enumerate(CASES)
]


@pytest.mark.parametrize(("layer_class", "options", "params"), BATTERY)
def test_battery(layer_class, options, params, rng):
    # the scale of a normalization that starts at zero lets a gradient through after one step
    steps = 2 if options.get("start") == "authors" else 1
    run_layer_test(layer_class, options, params, rng, steps)


@pytest.mark.parametrize("name", ["cbam_block", "se_block", "simam_block", "grn_block"])
def test_integers_count_as_the_numbers_that_they_are(name, rng):
    x = rng.integers(0, 200, (2, 6, 5, 8)).astype("uint8")
    image = keras.Input(x.shape[1:], dtype="uint8")
    model = keras.Model(image, attach_attention_module(image, name))
    found, expected = model(x), model.layers[-1](x.astype("float32"))
    assert keras.backend.standardize_dtype(found.dtype) == model.output.dtype == "float32"
    found, expected = map(keras.ops.convert_to_numpy, (found, expected))
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


POOLS = {
    "avg": lambda x, axes: x.mean(axes),
    "max": lambda x, axes: x.max(axes),
    "lp": lambda x, axes: np.sqrt((x**2).sum(axes)),
    "lse": lambda x, axes: np.log(np.exp(x).sum(axes)),
}


def channel_gate(layer, x):
    """Equation 2 of the paper, with the authors' pools."""
    weights = [weight.numpy().astype("float64") for weight in layer.weights]
    if layer.use_bias:
        w0, b0, w1, b1 = weights
    else:
        (w0, w1), b0, b1 = weights, 0, 0
    logits = sum(np.maximum(POOLS[p](x, (1, 2)) @ w0 + b0, 0) @ w1 + b1 for p in layer.pools)
    return sigmoid(logits)[:, None, None, :]


def convolve(maps, kernel):
    """A "same" cross-correlation, one output position after the other."""
    size = kernel.shape[0]
    padded = np.pad(maps, ((0, 0), (size // 2,) * 2, (size // 2,) * 2, (0, 0)))
    out = np.empty((*maps.shape[:3], kernel.shape[3]))
    for y, x in itertools.product(range(maps.shape[1]), range(maps.shape[2])):
        out[:, y, x] = np.einsum("nyxc,yxcd->nd", padded[:, y : y + size, x : x + size], kernel)
    return out


def spatial_gate(layer, x):
    """Equation 3 of the paper; the authors' code has a batch normalization before the sigmoid."""
    if layer.descriptor == "conv":
        maps = convolve(x, layer.squeeze.kernel.numpy())
    else:
        maps = np.stack([POOLS[kind](x, -1) for kind in layer.descriptor], axis=-1)
    logits = convolve(maps, layer.conv.kernel.numpy().astype("float64"))
    if layer.batch_norm:
        gamma, beta, mean, variance = (weight.numpy() for weight in layer.norm.weights)
        logits = gamma * (logits - mean) / np.sqrt(variance + 1e-5) + beta
    return sigmoid(logits)


def expected(layer, x):
    if isinstance(layer, ChannelAttention):  # SE is one of these
        return x * channel_gate(layer, x)
    if isinstance(layer, SpatialAttention):
        return x * spatial_gate(layer, x)
    if layer.order == "parallel":
        return x * channel_gate(layer.channel, x) * spatial_gate(layer.spatial, x)
    first = x * channel_gate(layer.channel, x)
    if layer.order == "channel_first":
        return first * spatial_gate(layer.spatial, first)
    first = x * spatial_gate(layer.spatial, x)
    return first * channel_gate(layer.channel, first)


@pytest.mark.parametrize(("layer_class", "options", "params"), BATTERY)
def test_equals_numpy(layer_class, options, params, rng):
    layer = layer_class(**options)
    layer.build((None, None, None, 12))
    # biases and normalization are zero and one at first, which would hide a mistake
    layer.set_weights([rng.uniform(0.2, 1, weight.shape) * rng.choice([-1, 1]) if "variance" not in
                       weight.path else rng.uniform(0.5, 2, weight.shape)
                       for weight in layer.weights])  # fmt: skip
    x = rng.normal(size=(3, 9, 8, 12))
    y = keras.ops.convert_to_numpy(layer(x.astype("float32")))
    np.testing.assert_allclose(y, expected(layer, x), atol=1e-5)


def test_official_cbam_equals_the_authors_code(rng):
    torch = pytest.importorskip("torch")
    layer = CBAM(**CBAM_OFFICIAL)
    layer.build((None, None, None, 32))
    x = rng.normal(size=(2, 32, 7, 9)).astype("float32")
    state = [torch.tensor(weight.numpy()) for weight in layer.weights]
    w0, b0, w1, b1, kernel, gamma, beta, mean, variance = state
    t = torch.tensor(x)
    functional = torch.nn.functional

    def gate(pooled):
        return functional.relu(pooled.flatten(1) @ w0 + b0) @ w1 + b1

    channel = gate(functional.avg_pool2d(t, (7, 9))) + gate(functional.max_pool2d(t, (7, 9)))
    t = t * torch.sigmoid(channel)[:, :, None, None]
    compressed = torch.cat((t.max(1)[0].unsqueeze(1), t.mean(1).unsqueeze(1)), dim=1)
    spatial = functional.conv2d(compressed, kernel.permute(3, 2, 0, 1), padding=3)
    spatial = functional.batch_norm(spatial, mean, variance, gamma, beta, eps=1e-5)
    wanted = (t * torch.sigmoid(spatial)).numpy().transpose(0, 2, 3, 1)
    y = keras.ops.convert_to_numpy(layer(x.transpose(0, 2, 3, 1)))
    np.testing.assert_allclose(y, wanted, atol=1e-5)


def test_batch_norm_learns_its_statistics(rng):
    """On every backend; the battery of the other layers checks theirs."""
    check_statistics(CBAM, CBAM_OFFICIAL, rng)


@pytest.mark.parametrize("ratio", [0, -1, 2.5, True, None, "8", float("nan")])
@pytest.mark.parametrize("layer_class", [SE, ChannelAttention, CBAM])
def test_refuses_ratio(layer_class, ratio):
    with pytest.raises(ValueError, match="ratio must be an integer of at least 1, received"):
        layer_class(ratio=ratio)


@pytest.mark.parametrize("kernel_size", [4, 0, -3, 3.5])
@pytest.mark.parametrize("layer_class", [SpatialAttention, CBAM])
def test_refuses_kernel(layer_class, kernel_size):
    with pytest.raises(ValueError, match="kernel_size must be an odd integer of at least 1"):
        layer_class(kernel_size=kernel_size)


@pytest.mark.parametrize(
    ("layer_class", "options", "message"),
    [
        (CBAM, {"pools": ()}, "pools must be one or more of 'avg', 'max', 'lp', 'lse'"),
        (CBAM, {"pools": ("avg", "median")}, "received"),
        (CBAM, {"pools": ("avg", "avg")}, "each once"),
        (CBAM, {"pools": 3}, "received 3"),
        (CBAM, {"pools": ("avg", 3)}, "received"),
        (CBAM, {"descriptor": "none"}, "descriptor, if not 'conv', must be one or more of"),
        (CBAM, {"order": "random"}, "'channel_first', 'spatial_first', 'parallel'"),
        (CBAM, {"data_format": "NHWC"}, "data_format must be one of"),
        (CBAM, {"reduction": 16}, "CBAM has no option 'reduction'; it takes ratio, kernel_size"),
        (SE, {"kernel_size": 7}, "SE has no option 'kernel_size'; it takes ratio, use_bias"),
        (SE, {"pools": "max"}, "SE has no option 'pools'"),
    ],
)
def test_refuses_options(layer_class, options, message):
    with pytest.raises(ValueError, match=message):
        layer_class(**options)


@pytest.mark.parametrize("layer_class", [SE, ChannelAttention, SpatialAttention, CBAM])
def test_refuses_inputs_that_are_no_feature_maps(layer_class):
    with pytest.raises(ValueError, match=r"rank 4 .* received shape \(None, 16\)"):
        layer_class()(keras.Input((16,)))
    with pytest.raises(ValueError, match="needs a known number of channels"):
        layer_class()(keras.Input((8, 8, None)))
    layer = layer_class()
    layer.build((None, None, None, 16))
    with pytest.raises(ValueError, match="incompatible with the layer"):
        layer(np.zeros((1, 4, 4, 8), "float32"))
