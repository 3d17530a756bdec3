"""Context anchor attention against the authors' formulation in PyTorch."""

import pytest
from torch_reference import check_sizes, compare_with_torch, weights_of

from models.attention_module import CAA, caa_block
from tests.layer_checks import one_always, run_layer_test

pytestmark = pytest.mark.once


@pytest.mark.parametrize("kernel_size", one_always([11, 3]))
def test_battery(kernel_size, rng):
    def params(channels):
        return 2 * channels**2 + 4 * channels + 2 * (kernel_size + 1) * channels

    run_layer_test(CAA, {"kernel_size": kernel_size}, params, rng)


def reference(layer, x):
    from torch.nn import functional

    channels, half = x.shape[1], layer.kernel_size // 2

    def block(number, y):
        gamma, beta, mean, variance = weights_of(layer.norms[number])
        y = functional.conv2d(y, *weights_of(layer.convs[number]))
        return functional.silu(functional.batch_norm(y, mean, variance, gamma, beta, eps=1e-3))

    y = block(0, functional.avg_pool2d(x, 7, 1, 3))
    y = functional.conv2d(y, *weights_of(layer.row), padding=(0, half), groups=channels)
    y = functional.conv2d(y, *weights_of(layer.column), padding=(half, 0), groups=channels)
    gate = block(1, y).sigmoid()
    return x * gate, {"attention": gate}


@pytest.mark.parametrize("kernel_size", [11, 3])
def test_equals_the_authors_code(kernel_size, rng):
    compare_with_torch(lambda: CAA(kernel_size), reference, rng)


def test_sizes(rng):
    check_sizes(CAA, {}, rng)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kernel_size": 4}, "kernel_size must be an odd integer of at least 1, received 4"),
        ({"ratio": 8}, "CAA has no option 'ratio'; it takes kernel_size"),
    ],
)
def test_refuses_options(options, message):
    with pytest.raises(ValueError, match=message):
        caa_block(None, **options)
