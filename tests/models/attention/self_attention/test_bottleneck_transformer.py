"""BoTNet's self-attention against the authors' formulation in PyTorch."""

import keras
import numpy as np
import pytest
from torch_reference import check_sizes, compare_with_torch, weights_of

from models.attention_module import BoTNet, botnet_block
from tests.layer_checks import one_always, run_layer_test

pytestmark = pytest.mark.once


@pytest.mark.parametrize(
    "options", one_always([{"size": (64, 70)}, {"heads": 1, "size": (64, 64)}])
)
def test_battery(options, rng):
    def params(channels):
        heads = max(n for n in range(1, options.get("heads", 4) + 1) if channels % n == 0)
        return 3 * channels**2 + (2 * sum(options["size"]) - 2) * (channels // heads)

    # 64x64 positions, and not 160x160, whose pairs would fill 10 GB
    run_layer_test(BoTNet, options, params, rng, large=64)


def reference(layer, x):
    import torch
    from torch.nn import functional

    batch, _, height, width = x.shape
    heads = layer.used_heads
    q, k, v = (
        functional.conv2d(x, *weights_of(part)).reshape(batch, heads, -1, height * width)
        for part in (layer.query, layer.key, layer.value)
    )
    q = q / q.shape[2] ** 0.5
    tables = [table.permute(1, 0) for table in weights_of(layer)[:2]]
    places = [(i, j) for i in range(height) for j in range(width)]
    most = layer.used_size
    # one pair of positions after the other
    r = torch.stack([
        torch.stack([
            tables[0][g - i + most[0] - 1] + tables[1][w - j + most[1] - 1] for g, w in places
        ])
        for i, j in places
    ])  # fmt: skip
    logits = torch.einsum("bndi,bndj->bnij", q, k) + torch.einsum("bndi,ijd->bnij", q, r)
    weights = logits.softmax(-1)
    mass = (weights.mean((1, 2)) * height * width).reshape(batch, 1, height, width)
    y = torch.einsum("bnij,bndj->bndi", weights, v)
    return y.reshape(x.shape), {"spatial": mass}


@pytest.mark.parametrize("options", [{}, {"heads": 1}])
def test_equals_the_authors_code(options, rng):
    shapes = ((2, 4, 5, 16), (3, 2, 6, 6), (1, 3, 1, 3), (2, 1, 1, 8))
    compare_with_torch(lambda: BoTNet(**options, size=(5, 6)), reference, rng, shapes)


def test_size_is_that_of_the_input(rng):
    layer = BoTNet()
    layer.build((None, 5, 3, 8))
    assert [table.shape for table in layer.distances] == [(9, 2), (5, 2)]
    first = BoTNet(data_format="channels_first")
    first.build((None, 8, 5, 3))
    assert [table.shape for table in first.distances] == [(9, 2), (5, 2)]
    # the distances in a smaller map are among those of the larger one
    larger = BoTNet(size=(6, 9))
    larger.build((None, None, None, 8))
    x = rng.normal(size=(2, 5, 3, 8)).astype("float32")
    larger.set_weights(
        [*(np.pad(w, ((m, m), (0, 0))) for w, m in zip(layer.get_weights()[:2], (1, 6),
           strict=True)), *layer.get_weights()[2:]]
    )  # fmt: skip
    got, wanted = (keras.ops.convert_to_numpy(part(x)) for part in (larger, layer))
    np.testing.assert_allclose(got, wanted, atol=1e-6)


def test_sizes(rng):
    check_sizes(BoTNet, {"size": 9}, rng)


def test_refuses_sizes():
    with pytest.raises(ValueError, match=r"it needs a map of known height .* \(None, None, 8, 4\)"):
        botnet_block(keras.Input((None, 8, 4)))
    layer = BoTNet(size=(5, 3))
    with pytest.raises(ValueError, match="maps of up to 5x3 positions, received one of 5x4"):
        layer(np.zeros((1, 5, 4, 2), "float32"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"heads": 0}, "heads must be an integer of at least 1, received 0"),
        ({"size": 0}, "size must be an integer of at least 1, received 0"),
        ({"size": (1, 2, 3)}, r"size must be a height and a width, received \(1, 2, 3\)"),
        ({"ratio": 8}, "BoTNet has no option 'ratio'; it takes heads, size"),
    ],
)
def test_refuses_options(options, message):
    with pytest.raises(ValueError, match=message):
        botnet_block(None, **options)
