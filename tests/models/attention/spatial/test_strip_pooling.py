"""Strip pooling against the authors' formulation in PyTorch."""

import keras
import pytest
from torch_reference import batch_norm, check_sizes, compare_with_torch, weights_of

from models.attention_module import StripPooling, strip_block
from models.private_api import operation_of
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


def test_batch_norm_learns_its_statistics(rng):
    layer = StripPooling()
    x = rng.normal(size=(4, 8, 6, 16)).astype("float32")
    layer(x, training=False)
    before = [norm.moving_mean.numpy() for norm in layer.norms.values()]
    layer(x, training=True)
    for norm, old in zip(layer.norms.values(), before, strict=True):
        assert (norm.moving_mean.numpy() != old).all()


def test_sizes(rng):
    check_sizes(StripPooling, {}, rng)


def test_refuses_options():
    with pytest.raises(ValueError, match="StripPooling has no option 'ratio'"):
        strip_block(None, ratio=8)


def test_block_is_a_call_of_its_layer():
    layer = operation_of(strip_block(keras.Input((8, 8, 16)), name="here"))
    assert (type(layer), layer.name) == (StripPooling, "here")
