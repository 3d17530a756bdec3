"""GAM against the paper's formulation in PyTorch."""

import pytest
from torch_reference import batch_norm, check_sizes, compare_with_torch, weights_of

from models.attention_module import GAM, gam_block
from tests.layer_checks import one_always, run_layer_test

pytestmark = pytest.mark.once


def params(ratio=4, kernel_size=7):
    def count(channels):
        hidden = max(1, channels // ratio)
        kernels = 2 * channels * hidden * (1 + kernel_size**2)
        return kernels + 2 * (hidden + channels) + 2 * (hidden + channels)

    return count


CASES = [{}, {"ratio": 2, "kernel_size": 3}]


@pytest.mark.parametrize("options", one_always(CASES))
def test_battery(options, rng):
    # a batch normalization takes away what a bias before it adds
    idle = ("conv1/bias", "conv2/bias")
    run_layer_test(GAM, options, params(**options), rng, idle=idle)


def reference(layer, x):
    from torch.nn import functional

    hidden = functional.relu(functional.linear(x.permute(0, 2, 3, 1), *weights_of(layer.reduce)))
    channel = functional.linear(hidden, *weights_of(layer.expand)).sigmoid().permute(0, 3, 1, 2)
    y = x * channel
    z, margin = y, layer.kernel_size // 2
    for conv, norm in zip(layer.convs, layer.norms, strict=True):
        z = functional.relu(z) if norm is layer.norms[1] else z
        z = batch_norm(norm, functional.conv2d(z, *weights_of(conv), padding=margin))
    return y * z.sigmoid(), {"channel": channel, "spatial": z.sigmoid()}


@pytest.mark.parametrize("options", CASES)
def test_equals_the_papers_formulation(options, rng):
    compare_with_torch(lambda: GAM(**options), reference, rng)


def test_sizes(rng):
    check_sizes(GAM, {"kernel_size": 3}, rng)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"ratio": 0}, "ratio must be an integer of at least 1, received 0"),
        ({"kernel_size": 4}, "kernel_size must be an odd integer of at least 1, received 4"),
        ({"rate": 4}, "GAM has no option 'rate'; it takes ratio, kernel_size"),
    ],
)
def test_refuses_options(options, message):
    with pytest.raises(ValueError, match=message):
        gam_block(None, **options)
