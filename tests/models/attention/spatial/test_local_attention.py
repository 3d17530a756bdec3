"""ELA against the paper's formulation in PyTorch."""

import pytest
from torch_reference import check_sizes, compare_with_torch, weights_of

from models.attention_module import ELA, ela_block
from tests.layer_checks import divisor, one_always, run_layer_test

pytestmark = pytest.mark.once

CASES = [{}, {"kernel_size": 5, "group_width": 8, "norm_groups": 2}]


@pytest.mark.parametrize("options", one_always(CASES))
def test_battery(options, rng):
    def params(channels):
        width = divisor(channels, options.get("group_width", 1))
        return options.get("kernel_size", 7) * channels * width + 2 * channels

    run_layer_test(ELA, options, params, rng)


def reference(layer, x):
    from torch.nn import functional

    channels = x.shape[1]
    (kernel,) = (kernel[..., 0] for kernel in weights_of(layer.conv))
    gamma, beta = weights_of(layer.norm)
    groups = divisor(channels, layer.norm_groups)

    def gate(strip):
        strip = functional.conv1d(
            strip, kernel, padding=layer.kernel_size // 2, groups=channels // kernel.shape[1]
        )
        parts = strip.unflatten(1, (groups, -1))
        centered = parts - parts.mean((2, 3), keepdim=True)
        normal = centered / (centered.square().mean((2, 3), keepdim=True) + 1e-5).sqrt()
        return (normal.flatten(1, 2) * gamma[:, None] + beta[:, None]).sigmoid()

    maps = {"height": gate(x.mean(3))[:, :, :, None], "width": gate(x.mean(2))[:, :, None]}
    return x * maps["height"] * maps["width"], maps


@pytest.mark.parametrize("options", CASES)
def test_equals_the_papers_formulation(options, rng):
    compare_with_torch(lambda: ELA(**options), reference, rng)


def test_sizes(rng):
    check_sizes(ELA, {}, rng)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kernel_size": 4}, "kernel_size must be an odd integer of at least 1, received 4"),
        ({"group_width": 0}, "group_width must be an integer of at least 1, received 0"),
        ({"norm_groups": 0}, "norm_groups must be an integer of at least 1, received 0"),
        ({"ratio": 8}, "ELA has no option 'ratio'; it takes kernel_size, group_width, norm_gr"),
    ],
)
def test_refuses_options(options, message):
    with pytest.raises(ValueError, match=message):
        ela_block(None, **options)
