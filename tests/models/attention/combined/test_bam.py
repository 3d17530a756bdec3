"""BAM: the common battery, and its numbers against the authors' formulation."""

import keras
import numpy as np
import pytest
from torch_reference import batch_norm, compare_with_torch, weights_of

from models.attention_module import BAM, bam_block
from tests.layer_checks import one_always, run_layer_test


def params(ratio, dilated_convs=2, num_layers=1):
    def count(channels):
        hidden = max(1, channels // ratio)
        channel = 2 * channels * hidden + channels + 3 * hidden  # with the normalization
        channel += (num_layers - 1) * (hidden**2 + 3 * hidden)
        spatial = channels * hidden + 3 * hidden + dilated_convs * (9 * hidden**2 + 3 * hidden)
        return channel + spatial + hidden + 1

    return count


CASES = [
    ({"ratio": 4}, params(4)),
    ({"ratio": 4, "combine": "sum", "dilation": 2}, params(4)),
    ({"ratio": 2, "dilated_convs": 1, "num_layers": 2}, params(2, 1, 2)),
]


@pytest.mark.parametrize(("options", "params"), one_always(CASES, unpack=True))
def test_battery(options, params, rng):
    # a batch normalization takes away what a bias before it adds
    dilated = [f"spatial_dilated{n}/bias" for n in range(options.get("dilated_convs", 2))]
    hidden = [f"channel_hidden{n}/bias" for n in range(options.get("num_layers", 1))]
    idle = (*hidden, "spatial_reduce/bias", *dilated)
    run_layer_test(BAM, options, params, rng, idle=idle)


def test_default_parameters():
    """3CH + C + 7H + 2(9H^2 + 3H) + 1 with H = C / 16."""
    layer = BAM()
    layer.build((None, None, None, 64))
    assert layer.count_params() - 2 * 4 * 4 == 3 * 64 * 4 + 64 + 28 + 2 * (144 + 12) + 1


def reference(layer, x):
    from torch.nn import functional

    channel = functional.adaptive_avg_pool2d(x, 1).flatten(1)
    for dense, norm in zip(layer.channel_hidden, layer.channel_norms, strict=True):
        channel = functional.relu(batch_norm(norm, functional.linear(channel, *weights_of(dense))))
    channel = functional.linear(channel, *weights_of(layer.channel_out))[:, :, None, None]
    spatial = x
    for conv, norm in zip(layer.spatial_hidden, layer.spatial_norms, strict=True):
        dilation = layer.dilation if conv.kernel_size == (3, 3) else 1
        padding = dilation if conv.kernel_size == (3, 3) else 0
        spatial = functional.conv2d(spatial, *weights_of(conv), padding=padding, dilation=dilation)
        spatial = functional.relu(batch_norm(norm, spatial))
    spatial = functional.conv2d(spatial, *weights_of(layer.spatial_out))
    logits = channel * spatial if layer.combine == "product" else channel + spatial
    return x * (1 + logits.sigmoid())


@pytest.mark.parametrize("options", [{}, *(options for options, _ in CASES)])
def test_equals_the_authors_code(options, rng):
    compare_with_torch(lambda: BAM(**options), reference, rng)


@pytest.mark.parametrize("option", ["ratio", "dilation", "dilated_convs", "num_layers"])
@pytest.mark.parametrize("value", [0, -1, 2.5, None])
def test_refuses_numbers(option, value):
    with pytest.raises(ValueError, match=f"{option} must be an integer of at least 1, received"):
        BAM(**{option: value})


def test_refuses_options():
    with pytest.raises(ValueError, match="combine must be one of 'product', 'sum', received 'max'"):
        BAM(combine="max")
    with pytest.raises(ValueError, match="BAM has no option 'reduction'; it takes ratio, dilation"):
        bam_block(keras.Input((8, 8, 16)), reduction=8)


def test_of_one_image_in_training(rng):
    """The pooled vector of one image normalizes to nothing, but the layer works."""
    layer = BAM()
    y = layer(rng.normal(size=(1, 6, 5, 16)).astype("float32"), training=True)
    assert np.isfinite(keras.ops.convert_to_numpy(y)).all()
