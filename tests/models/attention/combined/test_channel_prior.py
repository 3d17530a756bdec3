"""CPCA against the paper's formulation in PyTorch."""

import pytest
from torch_reference import check_sizes, compare_with_torch, weights_of

from models.attention_module import CPCA, cpca_block
from tests.layer_checks import one_always, run_layer_test

pytestmark = pytest.mark.once


@pytest.mark.parametrize("ratio", one_always([4, 1]))
def test_battery(ratio, rng):
    def params(channels):
        hidden = max(1, channels // ratio)
        spatial = channels * (25 + 2 * (7 + 11 + 21) + 7) + channels**2 + channels
        return 2 * channels * hidden + hidden + channels + spatial

    run_layer_test(CPCA, {"ratio": ratio}, params, rng)


def reference(layer, x):
    from torch.nn import functional

    def mlp(vector):
        hidden = functional.relu(functional.linear(vector, *weights_of(layer.channel.reduce)))
        return functional.linear(hidden, *weights_of(layer.channel.expand))

    def depthwise(conv, y):
        kernel, bias = weights_of(conv)
        margin = [side // 2 for side in kernel.shape[2:]]
        return functional.conv2d(y, kernel, bias, padding=margin, groups=x.shape[1])

    channel = (mlp(x.mean((2, 3))) + mlp(x.amax((2, 3)))).sigmoid()[:, :, None, None]
    y = x * channel
    local = depthwise(layer.local, y)
    branches = [
        depthwise(column, depthwise(row, local))
        for row, column in zip(layer.rows, layer.columns, strict=True)
    ]
    spatial = functional.conv2d(local + sum(branches), *weights_of(layer.mix))
    return y * spatial, {"channel": channel, "spatial": spatial}


@pytest.mark.parametrize("ratio", [4, 1])
def test_equals_the_papers_formulation(ratio, rng):
    compare_with_torch(lambda: CPCA(ratio), reference, rng)


def test_kernels_are_the_papers():
    layer = CPCA()
    layer.build((None, None, None, 2))
    assert [conv.kernel.shape[:2] for conv in layer.rows] == [(1, 7), (1, 11), (1, 21)]
    assert [conv.kernel.shape[:2] for conv in layer.columns] == [(7, 1), (11, 1), (21, 1)]


def test_sizes(rng):
    check_sizes(CPCA, {}, rng)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"ratio": 0}, "ratio must be an integer of at least 1, received 0"),
        ({"kernel_size": 7}, "CPCA has no option 'kernel_size'; it takes ratio"),
    ],
)
def test_refuses_options(options, message):
    with pytest.raises(ValueError, match=message):
        cpca_block(None, **options)
