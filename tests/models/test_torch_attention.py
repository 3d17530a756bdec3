"""Attention that would compute something else from PyTorch's weights than their own code does."""

import numpy as np
import pytest

from models import build_model
from models.attention_module import CBAM_OFFICIAL, get_attention
from models.torch_names import torch_name
from models.torch_weights import load_torch_weights

pytestmark = pytest.mark.once


def fitting_state(model):
    """Zeros under the names and in the shapes of PyTorch."""
    state = {}
    for weight in model.weights:
        axes = {4: (3, 2, 0, 1), 2: (1, 0), 1: (0,), 3: (2, 1, 0)}[len(weight.shape)]
        value = np.zeros([weight.shape[axis] for axis in axes], "float32")
        is_srm = weight.path.endswith("integrate/kernel")  # a convolution along one axis
        state[torch_name(weight.path)] = value[0, :, :, 0][:, None] if is_srm else value
    return state


def small_network(module, **options):
    at = "stage" if module == "bam_block" else "block"
    attention = get_attention(module, **options)
    return build_model("resnet_v1", depth=8, attention_module=attention, attention_at=at)


@pytest.mark.parametrize(
    ("module", "options", "said"),
    [
        ("se_block", {"start": "identity"}, "start='identity'; build .* start='published'$"),
        ("se_block", {"activation": "gelu"}, "activation='gelu'; build .* activation='relu'$"),
        ("eca_block", {"start": "identity"}, "start='identity'; build"),
        ("srm_block", {"start": "identity"}, "start='identity'; build"),
        ("bam_block", {"combine": "sum"}, "combine='sum'; build .* combine='product'$"),
        ("bam_block", {"start": "identity"}, "start='identity'; build"),
        ("bam_block", {"dilation": 2}, "dilation=2; build .* dilation=4$"),
        (
            "cbam_block",
            {"descriptor": ("avg", "max")},
            r"descriptor=\('avg', 'max'\); build .*OFFI",
        ),
        ("cbam_block", {"order": "parallel"}, "order='parallel'; build .*CBAM_OFFICIAL has all"),
        ("cbam_block", {"pools": "avg"}, r"pools=\('avg',\); build .* pools=\('avg', 'max'\)"),
        ("cbam_block", {"start": "identity", "activation": "gelu"}, "start=.*, activation='gelu'"),
    ],
)
def test_options_with_which_weights_mean_something_else(module, options, said):
    """Names and shapes are the same, and the outputs would not be."""
    official = CBAM_OFFICIAL if module == "cbam_block" else {}
    model = small_network(module, **{**official, **options})
    with pytest.raises(ValueError, match=rf"stage1_.*attention would compute .* has {said}"):
        load_torch_weights(model, fitting_state(model))


@pytest.mark.parametrize("start", ["published", "half", "authors"])
def test_options_without_effect_on_what_weights_mean(start):
    options = {**CBAM_OFFICIAL, "ratio": 4, "pools": ("max", "avg"), "start": start}
    model = small_network("cbam_block", **options)
    load_torch_weights(model, fitting_state(model))
    assert not any(weight.numpy().any() for weight in model.weights)
