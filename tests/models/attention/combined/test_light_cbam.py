"""Light CBAM against timm's formulation in PyTorch."""

import pytest
from torch_reference import batch_norm, check_sizes, compare_with_torch, weights_of

from models.attention_module import LightCBAM, lcbam_block
from tests.layer_checks import one_always, run_layer_test

pytestmark = pytest.mark.once


# more than one hidden unit, as the rectifier may shut a single one for good
@pytest.mark.parametrize("options", one_always([{"ratio": 4}, {"ratio": 2, "kernel_size": 3}]))
def test_battery(options, rng):
    def params(channels):
        hidden = max(1, int(channels / options["ratio"] + 0.5))
        return 2 * channels * hidden + options.get("kernel_size", 7) ** 2 + 2

    run_layer_test(LightCBAM, options, params, rng)


def reference(layer, x):
    from torch.nn import functional

    first, second = (weights_of(part)[0] for part in (layer.reduce, layer.expand))
    pooled = 0.5 * x.mean((2, 3)) + 0.5 * x.amax((2, 3))
    hidden = functional.relu(functional.linear(pooled, first))
    channel = functional.linear(hidden, second).sigmoid()[:, :, None, None]
    y = x * channel
    pooled = 0.5 * y.mean(1, keepdim=True) + 0.5 * y.amax(1, keepdim=True)
    (kernel,) = weights_of(layer.conv)
    logits = functional.conv2d(pooled, kernel, padding=layer.kernel_size // 2)
    spatial = batch_norm(layer.norm, logits).sigmoid()
    return y * spatial, {"channel": channel, "spatial": spatial}


@pytest.mark.parametrize("options", [{}, {"ratio": 4, "kernel_size": 3}])
def test_equals_timms_formulation(options, rng):
    compare_with_torch(lambda: LightCBAM(**options), reference, rng)


def test_sizes(rng):
    check_sizes(LightCBAM, {}, rng)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"ratio": 0}, "ratio must be an integer of at least 1, received 0"),
        ({"kernel_size": 4}, "kernel_size must be an odd integer of at least 1, received 4"),
        ({"pools": "avg"}, "LightCBAM has no option 'pools'; it takes ratio, kernel_size"),
    ],
)
def test_refuses_options(options, message):
    with pytest.raises(ValueError, match=message):
        lcbam_block(None, **options)
