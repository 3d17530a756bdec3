"""The L2 penalty against a penalty in the loss, and the learning rates against their formulas."""

import pkgutil

import keras
import numpy as np
import pytest

from utils.config.optimization import OPTIMIZERS, SCHEDULES, OptimizerEntry
from utils.training.optimizers import make_optimizer
from utils.training.schedules import OneCycle, learning_rate_at, learning_rate_schedule

RATES = {"sgd": 0.05}  # where 0.01 moves the weights too little


def trained(optimizer, regularizer, x, y):
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((4,)),
            keras.layers.Dense(8, kernel_regularizer=regularizer),
            keras.layers.Dense(3, kernel_regularizer=regularizer),
        ]
    )
    model.compile(optimizer, "mse")
    model.fit(x, y, epochs=5, batch_size=8, shuffle=False, verbose=0)
    return model.get_weights()


@pytest.mark.parametrize("name", [*OPTIMIZERS, "new"])
def test_penalty_goes_through_the_optimizer(rng, name, monkeypatch):
    """The same weights as with Keras's L2 regularizer on kernels, whose gradient is 2 * l2 * w.

    An entry is all that a further optimizer needs.
    """
    monkeypatch.setitem(OPTIMIZERS, "new", OptimizerEntry("keras.optimizers:RMSprop", 1e-3))
    x, y, rate = rng.normal(size=(32, 4)), rng.normal(size=(32, 3)), RATES.get(name, 0.01)
    plain = make_optimizer(name, rate)
    expected = trained(plain, keras.regularizers.L2(0.05), x, y)
    got = trained(make_optimizer(name, rate, l2=0.1), None, x, y)
    without = trained(make_optimizer(name, rate), None, x, y)
    for weight, wanted, other in zip(got, expected, without, strict=True):
        np.testing.assert_allclose(weight, wanted, atol=1e-5)
        assert np.abs(weight - other).max() > 1e-3


def test_sgd_is_nesterov_with_momentum():
    """Three steps of a single weight, by hand; biases do not decay."""
    rate, momentum, l2 = 0.1, 0.9, 0.5
    optimizer = make_optimizer("sgd", rate, l2)
    kernel, bias = keras.Variable([[2.0]]), keras.Variable([2.0])
    optimizer.build([kernel, bias])
    expected = np.array([2.0, 2.0])
    velocity = np.zeros(2)
    for gradient in (1.0, -0.5, 0.25):
        optimizer.apply([keras.ops.full((1, 1), gradient), keras.ops.full((1,), gradient)])
        full = gradient + np.array([l2, 0]) * expected
        velocity = momentum * velocity - rate * full
        expected = expected + momentum * velocity - rate * full
        np.testing.assert_allclose([kernel.numpy()[0, 0], bias.numpy()[0]], expected, rtol=1e-5)


def rates(name, steps=200):
    schedule = learning_rate_schedule(name, 0.4, steps)
    if name == "constant":
        return np.full(steps, schedule)
    return np.array([float(schedule(step)) for step in range(steps + 1)])


def test_step_schedule_is_the_published_one():
    """The peak times 1, 1e-1, 1e-2, 1e-3, 0.5e-3, changing at epochs 80, 120, 160, 180 of 200."""
    got = rates("step") / 0.4
    for start, end, factor in ((0, 80, 1), (80, 120, 0.1), (120, 160, 1e-2), (160, 180, 1e-3)):
        np.testing.assert_allclose(got[start:end], factor, rtol=1e-5)
    np.testing.assert_allclose(got[180:], 0.5e-3, rtol=1e-5)


@pytest.mark.once  # JAX compiles every operation by itself
def test_cosine_schedule():
    got = rates("cosine")
    np.testing.assert_allclose(got[:10], 0.4 * np.arange(10) / 10, atol=1e-6)
    progress = np.arange(191) / 190
    np.testing.assert_allclose(got[10:], 0.2 * (1 + np.cos(np.pi * progress)), atol=1e-6)


@pytest.mark.parametrize(("name", "top"), [("one_cycle", 40), ("linear_decay", 10)])
def test_schedules_of_two_lines(name, top):
    got = rates(name)[:-1]
    expected = np.interp(np.arange(200) + 0.5, [0, top, 200], [0, 0.4, 0])
    np.testing.assert_allclose(got, expected, atol=1e-6)
    assert got.argmax() in (top - 1, top)


def test_a_schedule_from_one_of_its_steps_on():
    whole, rest = (learning_rate_schedule("cosine", 0.4, 100, first) for first in (0, 30))
    assert [float(rest(step)) for step in range(70)] == [float(whole(30 + n)) for n in range(70)]
    again = type(rest).from_config(rest.get_config())
    assert learning_rate_at(again, 5) == learning_rate_at(whole, 35)
    assert learning_rate_at(learning_rate_schedule("constant", 0.4, 100, 30), 5) == 0.4


def test_one_cycle_is_saved_with_its_options():
    got = rates("one_cycle")
    again = OneCycle.from_config(OneCycle(0.4, 200).get_config())
    assert float(again(7)) == pytest.approx(got[7])


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_an_optimizer_is_that_of_keras_with_its_options(name):
    entry = OPTIMIZERS[name]
    optimizer = make_optimizer(name, 0.1, l2=0.2)
    assert isinstance(optimizer, pkgutil.resolve_name(entry.path))
    config = optimizer.get_config()
    assert {**entry.options, "l2": 0.2}.items() <= config.items()
    assert type(optimizer).from_config(config).get_config() == config


@pytest.mark.parametrize("name", SCHEDULES)
def test_a_run_of_a_single_step(name):
    schedule = learning_rate_schedule(name, 0.4, 1)
    rate = schedule if name == "constant" else float(schedule(0))
    assert 0 < rate <= 0.4 + 1e-6
