"""The state of a training: its progress, and every variable that training changes."""

import dataclasses
import math
from collections.abc import Iterable, Mapping
from typing import Any

import keras
import numpy as np
from keras import ops

from ..system.backend import random_state, restore_random_state
from ..system.backend_devices import device_parts
from ..system.errors import RunError, UserError
from .checkpoint import Checkpoint

# columns of a history: those that every run has, and those that it has together or not at all
NEEDED = frozenset({"epoch", "loss", "accuracy", "images_per_second"})
VALIDATION = frozenset({"val_loss", "val_accuracy"})


@dataclasses.dataclass
class Progress:
    """The progress of a run.

    Args:
        epoch: int, number of finished epochs. Defaults to 0.
        step: int, number of finished steps of the epoch after these. Defaults to 0.
        history: list of dictionaries, a row of `metrics.csv` for every finished epoch. Defaults to
            none.
        best_epoch: int, the epoch whose network `best.keras` holds, from 1 on. Defaults to `None`:
            no epoch is finished yet.
        seconds: float, how long the run has taken so far. Defaults to 0.
    """

    epoch: int = 0
    step: int = 0
    history: list[dict[str, float]] = dataclasses.field(default_factory=list)
    best_epoch: int | None = None
    seconds: float = 0.0

    @property
    def best(self) -> dict[str, float] | None:
        """The row of the best epoch, or `None`."""
        return None if self.best_epoch is None else self.history[self.best_epoch - 1]


def progress_from(checkpoint: Checkpoint, steps: int) -> Progress:
    """Reads the progress of a run from a checkpoint.

    Args:
        checkpoint: a `Checkpoint`.
        steps: int, steps per epoch.

    Returns:
        A `Progress`.

    Raises:
        RunError: the checkpoint does not hold a progress that a run with so many steps can have.
    """
    state = checkpoint.state
    try:
        progress = Progress(**state["progress"])
        fits = _is_possible(progress, steps)
        fits &= isinstance(state["config"], dict) and isinstance(state["environment"], dict)
        fits &= isinstance(state["data"], str)
    except (KeyError, TypeError, AttributeError, OverflowError):
        fits = False
    if not fits:
        raise RunError(f"{checkpoint.path} does not hold the progress of this run")
    return progress


def _is_possible(progress: Progress, steps: int) -> bool:
    """Whether a run with so many steps per epoch can have a progress, whatever its values are."""
    rows = progress.history
    epochs = [row["epoch"] for row in rows]
    whole = [progress.epoch, progress.step, *epochs, *([progress.best_epoch] if rows else [])]
    numbers = [progress.seconds, *(value for row in rows for value in row.values())]
    columns = {frozenset(row) for row in rows}
    return (
        all(type(number) is int for number in whole)
        and all(type(number) in (int, float) and math.isfinite(number) for number in numbers)
        and progress.epoch == len(rows)
        and epochs == list(range(1, len(rows) + 1))
        and (progress.best_epoch in epochs if rows else progress.best_epoch is None)
        and 0 <= progress.step < steps
        and progress.seconds >= 0
        and len(columns) <= 1
        and all(found >= NEEDED and len(found & VALIDATION) in (0, 2) for found in columns)
    )


def build_training_variables(model: keras.Model, classes: int) -> None:
    """Creates the variables that Keras would create in the first step: they can be restored then.

    Args:
        model: a compiled `keras.Model`.
        classes: int, number of classes.
    """
    model.optimizer.build(model.trainable_variables)
    one = ops.zeros((1,), "int32")
    model.compute_metrics(None, one, ops.zeros((1, classes)), None)
    model.reset_metrics()


def training_variables(
    model: keras.Model,
    groups: Iterable[str] = ("model", "optimizer", "metrics"),
    constant_layers: Iterable[keras.Layer] = (),
) -> dict[str, Any]:
    """Returns the variables that training changes.

    Args:
        model: a compiled `keras.Model`, after `build_training_variables`.
        groups: one or more of `"model"` (weights, statistics, states of random generators),
            `"optimizer"` (with the moving averages of the weights) and `"metrics"`. Defaults to
            all of them.
        constant_layers: layers whose variables are omitted. Defaults to none.

    Returns:
        A dictionary from names to Keras variables, or to their replicas on several devices. The
        same settings give the same order.
    """
    omitted = {id(variable) for layer in constant_layers for variable in layer.variables}
    found = {
        "model": [v for v in model.variables if id(v) not in omitted],
        "optimizer": model.optimizer.variables,
        "metrics": model.metrics_variables,
    }
    return {
        name: part
        for group in groups
        for number, variable in enumerate(found[group])
        for name, part in device_parts(f"{group}/{number}", variable).items()
    }


def values_of(variables: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Returns the values of variables, and the backend's random state.

    Args:
        variables: what `training_variables` returns.

    Returns:
        A dictionary from names to arrays.
    """
    values = {name: ops.convert_to_numpy(variable) for name, variable in variables.items()}
    return {**values, **random_state()}


def restore(variables: Mapping[str, Any], values: Mapping[str, np.ndarray]) -> None:
    """Restores the values of variables, and the backend's random state.

    Args:
        variables: what `training_variables` returns.
        values: what `values_of` returned for the same variables.

    Raises:
        UserError: names or shapes differ. Nothing is restored then.
    """
    random = {name: value for name, value in values.items() if name.startswith("random/")}
    wanted = {name: tuple(variable.shape) for name, variable in variables.items()}
    found = {name: value.shape for name, value in values.items() if name not in random}
    if wanted != found:
        misfits = sorted(name for name in wanted | found if wanted.get(name) != found.get(name))
        raise UserError(
            f"the checkpoint is of another network: {', '.join(misfits[:5])} differ (a checkpoint "
            "within an epoch also differs by the number of devices)"
        )
    for name, variable in variables.items():
        variable.assign(values[name])
    try:
        restore_random_state(random)
    except (RuntimeError, TypeError) as error:
        raise UserError(f"the checkpoint has no random state of PyTorch: {error}") from error
