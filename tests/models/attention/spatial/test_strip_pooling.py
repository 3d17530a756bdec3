"""Strip pooling against the authors' formulation in PyTorch."""

import pytest
from torch_reference import batch_norm, check_sizes, compare_with_torch, weights_of

from models.attention_module import StripPooling, strip_block
from tests.layer_checks import run_layer_test

pytestmark = pytest.mark.once


def test_battery(rng):
    run_layer_test(StripPooling, {}, lambda channels: 7 * channels**2 + 5 * channels, rng)


def reference(layer, x):
    from torch.nn import functional

    def strip(name, size, margin):
        y = functional.adaptive_avg_pool2d(x, size)
        y = functional.conv2d(y, *weights_of(layer.convs[name]), padding=margin)
        return batch_norm(layer.norms[name], y).expand_as(x)

    rows, columns = strip("height", (None, 1), (1, 0)), strip("width", (1, None), (0, 1))
    gate = functional.conv2d(functional.relu(rows + columns), *weights_of(layer.mix)).sigmoid()
    return x * gate, {"attention": gate}


def test_equals_the_authors_code(rng):
    compare_with_torch(StripPooling, reference, rng)


def test_sizes(rng):
    check_sizes(StripPooling, {}, rng)


def test_refuses_options():
    with pytest.raises(ValueError, match="StripPooling has no option 'ratio'"):
        strip_block(None, ratio=8)
