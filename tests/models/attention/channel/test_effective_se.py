"""Effective squeeze and excitation against the authors' formulation in PyTorch."""

import pytest
from torch_reference import compare_with_torch, weights_of

from models.attention_module import ESE, ese_block
from tests.layer_checks import run_layer_test

pytestmark = pytest.mark.once


def test_battery(rng):
    run_layer_test(ESE, {}, lambda channels: channels**2 + channels, rng)


def reference(layer, x):
    from torch.nn import functional

    logits = functional.linear(x.mean((2, 3)), *weights_of(layer.excite))
    gate = (functional.relu6(logits + 3) / 6)[:, :, None, None]
    return x * gate, {"channel": gate}


@pytest.mark.parametrize("mean", [0, 3])  # with the larger some logits are beyond the bends
def test_equals_the_authors_code(mean, rng):
    compare_with_torch(ESE, reference, rng, mean=mean)


def test_refuses_options():
    with pytest.raises(ValueError, match="ESE has no option 'ratio'"):
        ese_block(None, ratio=8)
