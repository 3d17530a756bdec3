"""A checkpoint holds everything that training changes."""

import math

import keras
import numpy as np
import pytest

from utils.runs.checkpoint import Checkpoint
from utils.runs.progress import (
    build_training_variables,
    progress_from,
    restore,
    training_variables,
    values_of,
)
from utils.system.backend import jit_compile
from utils.system.errors import RunError, UserError
from utils.training.optimizers import make_optimizer


def dropout_model(units=4):
    model = keras.Sequential(
        [
            keras.Input((3,)),
            keras.layers.Dense(units, name="dense"),
            keras.layers.BatchNormalization(name="norm"),
            keras.layers.Dropout(0.5, name="dropout"),
            keras.layers.Dense(2, name="logits"),
        ]
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    metrics = [keras.metrics.SparseCategoricalAccuracy(name="accuracy")]
    model.compile(
        make_optimizer("sgd", 0.1, ema=0.9), loss, metrics=metrics, jit_compile=jit_compile()
    )
    build_training_variables(model, 2)
    return model


def step(model, rng):
    x = rng.normal(size=(8, 3)).astype("float32")
    y = rng.integers(0, 2, 8).astype("int32")
    return model.train_on_batch(x, y)


def test_restored_training_continues_bit_for_bit():
    """Weights, statistics, random state of dropout, momentum, moving averages and metrics."""
    model = dropout_model()
    rng = np.random.default_rng(1)
    for _ in range(3):
        step(model, rng)
    kept = values_of(training_variables(model))
    kept = {name: value.copy() for name, value in kept.items()}
    batches = rng.bit_generator.state
    expected = [step(model, rng) for _ in range(3)], values_of(training_variables(model))

    other = dropout_model()
    restore(training_variables(other), kept)
    rng.bit_generator.state = batches
    found = [step(other, rng) for _ in range(3)], values_of(training_variables(other))
    np.testing.assert_array_equal(np.array(found[0]), np.array(expected[0]))
    assert found[1].keys() == expected[1].keys()
    for name, value in expected[1].items():
        np.testing.assert_array_equal(found[1][name], value, err_msg=name)


def test_constant_layers_are_omitted():
    model = dropout_model()
    everything = training_variables(model)
    less = training_variables(model, constant_layers=[model.get_layer("dense")])
    assert len(everything) - len(less) == 2
    assert not [name for name in training_variables(model, ("model",)) if "optimizer" in name]


@pytest.mark.once
def test_refuses_another_network():
    model = dropout_model()
    before = model.get_weights()
    with pytest.raises(UserError, match=r"of another network: model/0"):
        restore(training_variables(model), values_of(training_variables(dropout_model(5))))
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def row(epoch, **others):
    return {"epoch": epoch, "loss": 1.5, "accuracy": 0.5, "images_per_second": 9.0, **others}


GOOD = {
    "epoch": 2,
    "step": 3,
    "history": [row(1), row(2)],
    "best_epoch": 1,
    "seconds": 5.0,
}


REST = {"config": {}, "environment": {}, "data": "a1"}


@pytest.mark.once
@pytest.mark.parametrize(
    "change",
    [
        {"epoch": 3},
        {"epoch": "2"},
        {"step": -1},
        {"step": 10},
        {"best_epoch": 3},
        {"best_epoch": None},
        {"history": 7},
        {"history": [row(2), row(1)]},
        {"history": [{"epoch": 1}, {"epoch": 2}]},
        {"history": [row(1), row(2, loss=[1])]},
        {"history": [row(1), row(2, loss="1")]},
        {"history": [row(1), row(2, loss=math.nan)]},
        {"history": [row(1), row(2, loss=10**400)]},
        {"history": [row(1), row(2, val_loss=1.0, val_accuracy=0.5)]},
        {"history": [row(1, val_loss=1.0), row(2, val_loss=1.0)]},
        {"history": [row(1), row(True)]},
        {"history": [[1], [2]]},
        {"epoch": 2.0},
        {"epoch": 10**15},
        {"step": True},
        {"best_epoch": 1.0},
        {"seconds": "5"},
        {"seconds": math.inf},
        {"seconds": None},
        {"more": 1},
    ],
)
def test_refuses_an_impossible_progress(change):
    good = {"progress": GOOD, **REST}
    assert progress_from(Checkpoint("here", {}, good), 10).best == row(1)
    bad = {"progress": {**GOOD, **change}, **REST}
    for state in (bad, {**good, "config": None}, {"progress": GOOD}, {}):
        with pytest.raises(RunError, match="here does not hold the progress of this run"):
            progress_from(Checkpoint("here", {}, state), 10)
