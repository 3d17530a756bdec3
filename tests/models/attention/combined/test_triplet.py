"""Triplet attention: the common battery, and its numbers against the authors' formulation."""

import keras
import numpy as np
import pytest
from torch_reference import batch_norm, compare_with_torch, weights_of

from models.attention_module import TripletAttention, triplet_block
from tests.layer_checks import run_layer_test

CASES = [
    ({}, 300),
    ({"no_spatial": True}, 200),
    ({"kernel_size": 3}, 60),
]


@pytest.mark.parametrize(("options", "params"), CASES)
def test_battery(options, params, rng):
    run_layer_test(TripletAttention, options, lambda channels: params, rng)


def gate(layer, branch, x):
    """The authors' gate over the two last axes, with the axis to pool in the channels' place."""
    import torch
    from torch.nn import functional

    pooled = torch.cat((x.max(1)[0].unsqueeze(1), x.mean(1).unsqueeze(1)), dim=1)
    (kernel,) = weights_of(layer.convs[branch])
    logits = functional.conv2d(pooled, kernel, padding=layer.kernel_size // 2)
    return x * batch_norm(layer.norms[branch], logits).sigmoid()


def reference(layer, x):
    first = gate(layer, "channel_width", x.permute(0, 2, 1, 3)).permute(0, 2, 1, 3)
    second = gate(layer, "channel_height", x.permute(0, 3, 2, 1)).permute(0, 3, 2, 1)
    if layer.no_spatial:
        return (first + second) / 2
    return (first + second + gate(layer, "spatial", x)) / 3


@pytest.mark.parametrize("options", [options for options, _ in CASES])
def test_equals_the_authors_code(options, rng):
    compare_with_torch(lambda: TripletAttention(**options), reference, rng)


@pytest.mark.parametrize("size", [(7, 3), (2, 5), (1, 1)])
@pytest.mark.parametrize("channels", [1, 3, 16])
def test_data_formats_agree_at_every_size(size, channels, rng):
    last = TripletAttention(data_format="channels_last")
    first = TripletAttention(data_format="channels_first")
    last.build((None, None, None, channels))
    first.build((None, channels, None, None))
    last.set_weights([rng.uniform(0.5, 2, weight.shape) for weight in last.weights])
    first.set_weights(last.get_weights())
    x = rng.normal(size=(2, *size, channels)).astype("float32")
    y = keras.ops.convert_to_numpy(first(x.transpose(0, 3, 1, 2)))
    wanted = keras.ops.convert_to_numpy(last(x))
    np.testing.assert_allclose(y.transpose(0, 2, 3, 1), wanted, atol=1e-6)


def test_of_unknown_size(rng):
    inputs = keras.Input((None, None, 3))
    layer = TripletAttention()
    model = keras.Model(inputs, layer(inputs, return_maps=True))
    for height, width in ((7, 3), (1, 5), (1, 1)):
        x = rng.normal(size=(2, height, width, 3)).astype("float32")
        y, maps = model.predict(x, verbose=0)
        wanted = keras.ops.convert_to_numpy(layer(x))
        np.testing.assert_allclose(y, wanted, atol=1e-6)
        assert {name: values.shape[1:] for name, values in maps.items()} == {
            "channel_width": (1, width, 3),
            "channel_height": (height, 1, 3),
            "spatial": (height, width, 1),
        }


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kernel_size": 4}, "kernel_size must be an odd integer of at least 1, received 4"),
        ({"spatial": 1}, "has no option 'spatial'; it takes kernel_size, no_spatial"),
    ],
)
def test_refuses_options(options, message):
    with pytest.raises(ValueError, match=message):
        triplet_block(keras.Input((8, 8, 16)), **options)
