"""External attention against the authors' formulation in PyTorch."""

import pytest
from torch_reference import batch_norm, check_sizes, compare_with_torch, weights_of

from models.attention_module import ExternalAttention, external_block
from tests.layer_checks import one_always, run_layer_test

pytestmark = pytest.mark.once


@pytest.mark.parametrize("memory", one_always([64, 3]))
def test_battery(memory, rng):
    def params(channels):
        return 2 * channels**2 + 2 * channels * memory + 2 * channels

    run_layer_test(ExternalAttention, {"memory": memory}, params, rng)


def reference(layer, x):
    from torch.nn import functional

    def conv(part, y):
        return functional.conv2d(y, *weights_of(part))

    weights = conv(layer.key, conv(layer.query, x)).flatten(2).softmax(-1)
    positions = weights.shape[2]
    mass = (weights.mean(1) * positions).reshape(x.shape[0], 1, *x.shape[2:])
    weights = weights / (1e-9 + weights.sum(1, keepdim=True))
    y = conv(layer.value, weights.reshape(*weights.shape[:2], *x.shape[2:]))
    y = batch_norm(layer.norm, conv(layer.project, y))
    return functional.relu(x + y), {"spatial": mass}


@pytest.mark.parametrize("memory", [64, 3])
def test_equals_the_authors_code(memory, rng):
    compare_with_torch(lambda: ExternalAttention(memory), reference, rng)


def test_sizes(rng):
    check_sizes(ExternalAttention, {}, rng)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"memory": 0}, "memory must be an integer of at least 1, received 0"),
        ({"ratio": 8}, "ExternalAttention has no option 'ratio'; it takes memory"),
    ],
)
def test_refuses_options(options, message):
    with pytest.raises(ValueError, match=message):
        external_block(None, **options)
