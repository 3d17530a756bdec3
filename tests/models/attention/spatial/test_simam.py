"""SimAM: the common battery, and its numbers against the authors' formulation."""

import keras
import numpy as np
import pytest
from torch_reference import SHAPES, compare_with_torch, input_gradient

from models.attention_module import SimAM, simam_block
from tests.layer_checks import run_layer_test


@pytest.mark.parametrize("options", [{}, {"e_lambda": 0.1}])
def test_battery(options, rng):
    run_layer_test(SimAM, options, lambda channels: 0, rng)


def reference(layer, x):
    squares = (x - x.mean(dim=[2, 3], keepdim=True)).pow(2)
    variance = squares.sum(dim=[2, 3], keepdim=True) / (x.shape[2] * x.shape[3] - 1)
    return x * (squares / (4 * (variance + layer.e_lambda)) + 0.5).sigmoid()


@pytest.mark.parametrize("e_lambda", [1e-4, 0.1])
def test_equals_the_authors_code(e_lambda, rng):
    # theirs is no number at 1x1
    shapes = [shape for shape in SHAPES if shape[1:3] != (1, 1)]
    compare_with_torch(lambda: SimAM(e_lambda), reference, rng, shapes)


@pytest.mark.parametrize("size", [(1, 1), (4, 3)])
def test_of_a_constant_map(size, rng):
    """The gate is that of a value which does not stand out, and its gradient is finite."""
    x = np.broadcast_to(rng.normal(size=(2, 1, 1, 8)), (2, *size, 8)).astype("float32")
    y, maps = SimAM()(x, return_maps=True)
    gate = 1 / (1 + np.exp(-0.5))
    np.testing.assert_allclose(keras.ops.convert_to_numpy(maps["attention"]), gate, atol=1e-6)
    np.testing.assert_allclose(keras.ops.convert_to_numpy(y), gate * x, atol=1e-6)
    np.testing.assert_allclose(input_gradient(SimAM(), x, np.ones_like(x)), gate, atol=1e-5)


def test_of_unknown_size(rng):
    model = keras.Sequential([keras.Input((None, None, 3)), SimAM()])
    for height, width in ((7, 3), (1, 5), (1, 1)):
        x = rng.normal(size=(2, height, width, 3)).astype("float32")
        wanted = keras.ops.convert_to_numpy(SimAM()(x))
        np.testing.assert_allclose(model.predict(x, verbose=0), wanted, atol=1e-6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"e_lambda": 0}, "e_lambda must be a number above 0, received 0"),
        ({"e_lambda": "1"}, "e_lambda must be a number above 0, received '1'"),
        ({"ratio": 8}, "SimAM has no option 'ratio'; it takes e_lambda"),
    ],
)
def test_refuses_options(options, message):
    with pytest.raises(ValueError, match=message):
        simam_block(keras.Input((8, 8, 16)), **options)
