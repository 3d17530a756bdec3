"""Large kernels against the authors' formulation in PyTorch."""

import pytest
from torch_reference import check_sizes, compare_with_torch, weights_of

from models.attention_module import LKA, LSKA, lka_block, lska_block
from tests.layer_checks import one_always, run_layer_test

pytestmark = pytest.mark.once

# the numbers of the papers: weights of the depthwise kernels of a channel
CASES = [
    (LKA, {}, 5**2 + 7**2),
    (LKA, {"kernel_size": 6, "dilation": 2}, 3**2 + 3**2),
    (LSKA, {}, 2 * (5 + 7)),
    (LSKA, {"kernel_size": 11, "dilation": 2}, 2 * (3 + 5)),
]


@pytest.mark.parametrize(("layer_class", "options", "kernels"), one_always(CASES, unpack=True))
def test_battery(layer_class, options, kernels, rng):
    def params(channels):
        convs = 2 if layer_class is LKA else 4
        return channels * (kernels + convs) + channels**2 + channels

    run_layer_test(layer_class, options, params, rng)


def reference(layer, x):
    from torch.nn import functional

    y, d = x, layer.dilation
    for number, conv in enumerate(layer.convs):
        kernel, bias = weights_of(conv)
        step = d if number >= len(layer.convs) // 2 else 1
        margin = [side // 2 * step for side in kernel.shape[2:]]
        y = functional.conv2d(y, kernel, bias, 1, margin, step, groups=x.shape[1])
    y = functional.conv2d(y, *weights_of(layer.mix))
    return x * y, {"attention": y}


@pytest.mark.parametrize(("layer_class", "options", "kernels"), CASES)
def test_equals_the_authors_code(layer_class, options, kernels, rng):
    compare_with_torch(lambda: layer_class(**options), reference, rng)


@pytest.mark.parametrize(
    ("kernel_size", "dilation", "kernels"),
    [(7, 2, (3, 3)), (11, 2, (3, 5)), (35, 3, (5, 11)), (41, 3, (5, 13)), (53, 3, (5, 17))],
)
def test_kernels_are_the_authors(kernel_size, dilation, kernels):
    layer = LSKA(kernel_size, dilation)
    layer.build((None, None, None, 2))
    local, dilated = kernels
    shapes = [conv.kernel.shape[:2] for conv in layer.convs]
    assert shapes == [(1, local), (local, 1), (1, dilated), (dilated, 1)]


@pytest.mark.parametrize("layer_class", [LKA, LSKA])
def test_sizes(layer_class, rng):
    check_sizes(layer_class, {}, rng)


@pytest.mark.parametrize(
    ("block", "options", "message"),
    [
        (lka_block, {"kernel_size": 0}, "kernel_size must be an integer of at least 1, received 0"),
        (lka_block, {"kernel_size": 12}, "dilated kernel, must be an odd .*, received 12 // 3"),
        (lka_block, {"kernel_size": 2}, "dilated kernel, must be an odd .*, received 2 // 3"),
        (lska_block, {"dilation": 0}, "dilation must be an integer of at least 1, received 0"),
        (lska_block, {"ratio": 8}, "LSKA has no option 'ratio'; it takes kernel_size, dilation"),
    ],
)
def test_refuses_options(block, options, message):
    with pytest.raises(ValueError, match=message):
        block(None, **options)
