"""Split attention against the authors' formulation in PyTorch."""

import pytest
from torch_reference import batch_norm, compare_with_torch, weights_of

from models.attention_module import SplitAttention, split_block
from tests.layer_checks import divisor, one_always, run_layer_test

pytestmark = pytest.mark.once


def params(radix=2, cardinality=1, ratio=4):
    def count(channels):
        groups, filters = divisor(channels, cardinality), radix * channels
        hidden = -(-max(filters // ratio, 32) // groups) * groups
        convolution = 9 * channels * filters // divisor(channels, radix * groups)
        squeeze = (channels + filters) * hidden // groups
        return convolution + 2 * filters + squeeze + 3 * hidden + filters

    return count


CASES = [{}, {"radix": 1}, {"radix": 3, "cardinality": 4, "ratio": 2}]


@pytest.mark.parametrize("options", one_always(CASES))
def test_battery(options, rng):
    # a batch normalization takes away what a bias before it adds
    run_layer_test(SplitAttention, options, params(**options), rng, idle=("reduce/bias",))


def reference(layer, x):
    from torch.nn import functional

    radix, groups, channels = layer.radix, layer.used_groups, x.shape[1]
    (kernel,) = weights_of(layer.conv)
    u = functional.conv2d(x, kernel, padding=1, groups=channels // kernel.shape[1])
    u = functional.relu(batch_norm(layer.norm, u)).unflatten(1, (radix, channels))
    gap = u.sum(1).mean((2, 3), keepdim=True)
    z = functional.conv2d(gap, *weights_of(layer.reduce), groups=groups)
    z = functional.relu(batch_norm(layer.reduce_norm, z))
    logits = functional.conv2d(z, *weights_of(layer.select), groups=groups)
    if radix == 1:
        shares = logits.sigmoid()[:, None]
    else:
        shares = logits.view(x.shape[0], groups, radix, -1).transpose(1, 2).softmax(1)
        shares = shares.reshape(x.shape[0], radix, channels, 1, 1)
    return (shares * u).sum(1), {f"split{n + 1}": shares[:, n] for n in range(radix)}


@pytest.mark.parametrize("options", CASES)
def test_equals_the_authors_code(options, rng):
    compare_with_torch(lambda: SplitAttention(**options), reference, rng)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"radix": 0}, "radix must be an integer of at least 1, received 0"),
        ({"cardinality": 0.5}, "cardinality must be an integer of at least 1, received 0.5"),
        ({"ratio": -1}, "ratio must be an integer of at least 1, received -1"),
        ({"groups": 2}, "SplitAttention has no option 'groups'; it takes radix, cardinality, rat"),
    ],
)
def test_refuses_options(options, message):
    with pytest.raises(ValueError, match=message):
        split_block(None, **options)
