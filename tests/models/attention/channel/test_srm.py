"""Style recalibration against the authors' formulation in PyTorch."""

import numpy as np
import pytest
from torch_reference import batch_norm, check_sizes, compare_with_torch, to_numpy, weights_of

from models.attention_module import SRM, srm_block
from tests.layer_checks import run_layer_test


def test_battery(rng):
    # the channel-wise layer starts at zero, and the normalization's scales wait for it
    run_layer_test(SRM, {}, lambda channels: 4 * channels, rng, steps=2)


def reference(layer, x):
    import torch

    flat = x.flatten(2)
    style = torch.stack((flat.mean(dim=2), flat.std(dim=2)), dim=2)
    (kernel,) = weights_of(layer.integrate)
    z = (style * kernel[None, :, 0, :, 0]).sum(dim=2)[:, :, None, None]
    gate = batch_norm(layer.norm, z).sigmoid()
    return x * gate, {"channel": gate}


@pytest.mark.parametrize("shape", [(3, 7, 9, 5), (2, 4, 1, 16), (2, 1, 2, 1)])
def test_equals_the_authors_formulation(shape, rng):
    compare_with_torch(SRM, reference, rng, [shape], mean=2)


def test_one_position_has_no_deviation(rng):
    layer = SRM()
    x = rng.normal(size=(4, 1, 1, 3)).astype("float32")
    layer.build(x.shape)
    w = rng.normal(size=(2, 1, 3, 1))
    layer.integrate.kernel.assign(w)
    gate = 1 / (1 + np.exp(-x * w[0, 0, :, 0] / np.sqrt(1 + 1e-5)))
    np.testing.assert_allclose(to_numpy(layer(x)), x * gate, atol=1e-5)


def test_starts_at_one_half(rng):
    x = rng.normal(size=(4, 5, 6, 3)).astype("float32")
    for training in (False, True):
        np.testing.assert_allclose(to_numpy(SRM()(x, training=training)), x / 2, atol=1e-6)


def test_sizes(rng):
    check_sizes(SRM, {}, rng)


def test_refuses_options():
    with pytest.raises(ValueError, match="SRM has no option 'ratio'; it takes start, data_format"):
        srm_block(None, ratio=4)
