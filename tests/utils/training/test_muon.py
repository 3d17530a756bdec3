"""Muon against its definition in NumPy, by singular value decomposition."""

import keras
import numpy as np
import pytest
from keras import ops

from utils.training.muon import COEFFICIENTS, Muon, orthogonal
from utils.training.optimizers import make_optimizer

SHAPES = [(36, 8), (8, 36), (12, 12)]


def with_polynomial_of_singular_values(matrix, iterations):
    """The matrix whose singular values went through the polynomial one by one."""
    left, values, right = np.linalg.svd(matrix, full_matrices=False)
    values = values / np.linalg.norm(matrix)
    for _ in range(iterations):
        values = sum(c * values**power for c, power in zip(COEFFICIENTS, (1, 3, 5), strict=True))
    return left * values @ right


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("iterations", [1, 3, 5])
def test_orthogonal_changes_the_singular_values_alone(rng, shape, iterations):
    matrix = rng.normal(size=shape).astype("float32")
    found = ops.convert_to_numpy(orthogonal(ops.convert_to_tensor(matrix), iterations))
    expected = with_polynomial_of_singular_values(matrix.astype("float64"), iterations)
    np.testing.assert_allclose(found, expected, atol=1e-4)  # the small ones grow 480 times


@pytest.mark.once
@pytest.mark.parametrize("shape", SHAPES)
def test_singular_values_come_near_one(rng, shape):
    matrix = rng.normal(size=shape).astype("float32") * 1e-4
    found = ops.convert_to_numpy(orthogonal(ops.convert_to_tensor(matrix), 5))
    values = np.linalg.svd(found, compute_uv=False)
    assert 0.5 < np.median(values) < 1.3
    assert values.max() < 1.3
    assert values.max() / np.median(values) < 0.8 * np.linalg.cond(matrix)


@pytest.mark.parametrize("scale", [0.32, 0.6])
def test_three_steps_of_a_kernel_in_numpy(rng, scale):
    rate, momentum = 0.3, 0.8
    start = rng.normal(size=(3, 3, 2, 4)).astype("float32") * scale
    kernel = keras.Variable(start)
    optimizer = Muon(rate, kernel_momentum=momentum)
    optimizer.build([kernel])
    weights, mean = start.astype("float64"), 0.0
    longest = np.sqrt(2 * 4)
    lengths = [np.linalg.norm(weights)]
    for _ in range(3):
        gradient = rng.normal(size=start.shape)
        optimizer.apply([ops.convert_to_tensor(gradient.astype("float32"))])
        mean = momentum * mean + gradient
        update = (gradient + momentum * mean).reshape(-1, 4)
        update = with_polynomial_of_singular_values(update, 3).reshape(start.shape)
        before = weights
        weights = weights - rate * longest * update / np.linalg.norm(update)
        lengths.append(np.linalg.norm(weights))
        allowed = max(longest, np.linalg.norm(before))
        weights *= allowed / max(lengths[-1], allowed)
        np.testing.assert_allclose(ops.convert_to_numpy(kernel), weights, atol=2e-5)
    assert lengths[-1] > longest  # an update that is held back
    assert (lengths[0] < longest) == (scale == 0.32)


@pytest.mark.once
@pytest.mark.parametrize(("filters", "width"), [(256, 128), (320, 80), (131, 131), (128, 128)])
def test_many_filters_are_several_matrices(rng, filters, width):
    gradient = rng.normal(size=(1, 1, 20, filters)).astype("float32")
    kernel = keras.Variable(np.zeros(gradient.shape, "float32"))
    optimizer = Muon(0.1)
    optimizer.build([kernel])
    optimizer.apply([ops.convert_to_tensor(gradient)])
    parts = np.split(gradient[0, 0], filters // width, axis=1)
    update = np.hstack([with_polynomial_of_singular_values(part, 3) for part in parts])
    expected = -0.1 * np.sqrt(2 * filters) * update / np.linalg.norm(update)
    np.testing.assert_allclose(ops.convert_to_numpy(kernel)[0, 0], expected, atol=1e-5)


@pytest.mark.once
def test_other_weights_learn_as_with_sgd(rng):
    """Vectors, matrices, and the kernels of depthwise convolutions or with a single filter."""
    shapes = [(5,), (4, 3), (3, 3, 6, 1), (7, 4, 2)]
    starts = [rng.normal(size=shape).astype("float32") for shape in shapes]
    ours, theirs = ([keras.Variable(start) for start in starts] for _ in range(2))
    muon = Muon(0.05, rate_of_others=4)
    sgd = keras.optimizers.SGD(0.2, momentum=0.9, nesterov=True)
    muon.build(ours)
    sgd.build(theirs)
    for _ in range(3):
        gradients = [rng.normal(size=shape).astype("float32") for shape in shapes]
        for optimizer in (muon, sgd):
            optimizer.apply([ops.convert_to_tensor(gradient) for gradient in gradients])
    for found, expected in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(
            ops.convert_to_numpy(found), ops.convert_to_numpy(expected), rtol=1e-5
        )


def test_the_penalty_leaves_out_what_is_made_orthogonal(rng):
    """Even with a penalty far above the gradient; a matrix has it, as with SGD."""
    shapes = [(3, 3, 2, 4), (3, 3, 6, 1), (4, 3)]
    starts = [rng.normal(size=shape).astype("float32") for shape in shapes]
    gradients = [rng.normal(size=shape).astype("float32") for shape in shapes]
    found = []
    for l2 in (0.0, 100.0):
        variables = [keras.Variable(start) for start in starts]
        optimizer = make_optimizer("muon", 0.1, l2=l2)
        optimizer.build(variables)
        optimizer.apply([ops.convert_to_tensor(gradient) for gradient in gradients])
        found.append([ops.convert_to_numpy(variable) for variable in variables])
    without, penalized = found
    np.testing.assert_array_equal(without[0], penalized[0])
    for start, one, other in zip(starts[1:], without[1:], penalized[1:], strict=True):
        # the first step of Nesterov momentum 0.9, at four times the rate
        np.testing.assert_allclose(one - other, 1.9 * 0.4 * 100 * start, rtol=1e-4)


def test_zeros_are_no_division_by_zero():
    """A kernel that starts at zero learns; one without a gradient stays."""
    kernels = [keras.Variable(np.zeros((1, 1, 2, 3), "float32")) for _ in range(2)]
    optimizer = make_optimizer("muon", 0.1)
    optimizer.build(kernels)
    optimizer.apply([ops.ones((1, 1, 2, 3)), ops.zeros((1, 1, 2, 3))])
    moved, stayed = map(ops.convert_to_numpy, kernels)
    assert np.linalg.norm(moved) == pytest.approx(0.1 * np.sqrt(6), rel=1e-4)
    assert (stayed == 0).all()


def test_it_is_saved_with_its_options():
    optimizer = Muon(
        0.1, kernel_momentum=0.5, momentum=0.8, newton_schulz=4, rate_of_others=2, weight_decay=0.01
    )
    again = keras.optimizers.deserialize(keras.optimizers.serialize(optimizer))
    assert type(again) is Muon
    assert again.get_config() == optimizer.get_config()


@pytest.mark.parametrize(
    "options", [{"momentum": 0.0}, {"momentum": 1.0}, {"kernel_momentum": 1.0}]
)
def test_momentum_that_is_none(options):
    with pytest.raises(ValueError, match="momentum must be"):
        Muon(**options)
