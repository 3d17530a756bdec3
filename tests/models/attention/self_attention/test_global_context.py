"""Global context: the common battery, and its numbers against the authors' formulation."""

import keras
import numpy as np
import pytest
from torch_reference import compare_with_torch, weights_of

from models.attention_module import GlobalContext, gc_block
from tests.layer_checks import run_layer_test


def params(ratio, transforms=1):
    def count(channels):
        hidden = max(1, channels // ratio)
        return channels + 1 + transforms * (2 * channels * hidden + 3 * hidden + channels)

    return count


CASES = [
    ({}, params(4)),
    ({"ratio": 2, "fusion": ("mul",)}, params(2)),
    ({"ratio": 4, "fusion": ("mul", "add")}, params(4, 2)),
]


@pytest.mark.parametrize(("options", "params"), CASES)
def test_battery(options, params, rng):
    # a softmax is the same whatever is added to all of its logits
    run_layer_test(GlobalContext, options, params, rng, steps=2, idle=("weigh/bias",))


def transform(layers, context):
    from torch.nn import functional

    reduce, norm, expand = layers
    values = functional.linear(context, *weights_of(reduce))
    values = functional.layer_norm(values, values.shape[1:], *weights_of(norm), eps=1e-5)
    return functional.linear(functional.relu(values), *weights_of(expand))[:, :, None, None]


def reference(layer, x):
    from torch.nn import functional

    weights = functional.conv2d(x, *weights_of(layer.weigh)).flatten(2).softmax(dim=2)
    context = (x.flatten(2) @ weights.transpose(1, 2)).flatten(1)
    y = x
    if layer.mul is not None:
        y = y * transform(layer.mul, context).sigmoid()
    if layer.add is not None:
        y = y + transform(layer.add, context)
    return y


@pytest.mark.parametrize("options", [options for options, _ in CASES])
def test_equals_the_authors_code(options, rng):
    # the normalization of one or two hidden units is too steep to compare gradients
    shapes = ((2, 7, 5, 16), (3, 4, 9, 40), (1, 6, 1, 12), (2, 1, 1, 24))
    compare_with_torch(lambda: GlobalContext(**options), reference, rng, shapes)


def test_starts_as_the_identity(rng):
    x = rng.normal(size=(2, 6, 5, 16)).astype("float32")
    for fusion, factor in (("add", 1), ("mul", 0.5), (("add", "mul"), 0.5)):
        y = keras.ops.convert_to_numpy(GlobalContext(fusion=fusion)(x))
        np.testing.assert_array_equal(y, factor * x)


@pytest.mark.parametrize("dtype", ["float32", "mixed_float16"])
def test_weights_are_a_distribution(dtype, rng):
    x = 20 * rng.normal(size=(2, 40, 50, 16)).astype("float32")
    _, maps = GlobalContext(fusion=("add", "mul"), dtype=dtype)(x, return_maps=True)
    total = keras.ops.convert_to_numpy(maps["spatial"]).astype("float64").sum((1, 2, 3))
    np.testing.assert_allclose(total, 1, atol=1e-3)
    assert set(maps) == {"spatial", "channel"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"ratio": 0}, "ratio must be an integer of at least 1, received 0"),
        ({"ratio": 0.25}, "ratio must be an integer of at least 1, received 0.25"),
        ({"fusion": "concat"}, "fusion must be one or more of 'add', 'mul', each once; received"),
        ({"fusion": ()}, "fusion must be one or more of 'add', 'mul'"),
        ({"pooling": "avg"}, "GlobalContext has no option 'pooling'; it takes ratio, fusion"),
    ],
)
def test_refuses_options(options, message):
    with pytest.raises(ValueError, match=message):
        gc_block(keras.Input((8, 8, 16)), **options)
