"""How far a run is, and every variable that training changes: together, all that a run needs."""

import dataclasses

from keras import ops

from ..system.backend import random_state, restore_random_state
from ..system.backend_devices import device_parts
from ..system.errors import RunError, UserError


@dataclasses.dataclass
class Progress:
    """How far a run is.

    Args:
        epoch: int, epochs that are finished.
        step: int, steps of the next epoch that are done.
        history: list of dictionaries, a row of `metrics.csv` for every finished epoch.
        best_epoch: int, the epoch that `best.keras` is of, or `None`.
        seconds: float, how long the run took so far.
    """

    epoch: int = 0
    step: int = 0
    history: list = dataclasses.field(default_factory=list)
    best_epoch: int | None = None
    seconds: float = 0.0

    @property
    def best(self):
        """The row of the best epoch, or `None`."""
        return None if self.best_epoch is None else self.history[self.best_epoch - 1]


def progress_from(checkpoint, steps):
    """Reads a `Progress` out of a checkpoint.

    Args:
        checkpoint: a `Checkpoint`.
        steps: int, steps in an epoch.

    Raises:
        RunError: it holds none that this run could have.
    """
    state = checkpoint.state
    try:
        progress = Progress(**state["progress"])
        rows = [row["epoch"] for row in progress.history]
        fits = rows == list(range(1, progress.epoch + 1)) and 0 <= progress.step < steps
        fits &= progress.best_epoch in (rows or [None])
        fits &= isinstance(state["config"], dict) and isinstance(state["environment"], dict)
        fits &= isinstance(state["data"], str)
    except (KeyError, TypeError):
        fits = False
    if not fits:
        raise RunError(f"{checkpoint.path} does not hold the progress of this run")
    return progress


def prepare(model, classes):
    """Makes the variables that Keras would make in the first step, so that they can be restored.

    Args:
        model: a compiled `keras.Model`.
        classes: int.
    """
    model.optimizer.build(model.trainable_variables)
    one = ops.zeros((1,), "int32")
    model.compute_metrics(None, one, ops.zeros((1, classes)), None)
    model.reset_metrics()


def training_variables(model, groups=("model", "optimizer", "metrics"), constant=()):
    """The variables that training changes.

    Args:
        model: a compiled `keras.Model` that `prepare` has been called with.
        groups: which: of `"model"` (weights, statistics, random states), `"optimizer"` (its moving
            averages too), `"metrics"`.
        constant: layers whose variables are left out.

    Returns:
        A dictionary from names to Keras variables, or their parts on several devices, in the same
        order for the same settings.
    """
    left_out = {id(variable) for layer in constant for variable in layer.variables}
    found = {
        "model": [v for v in model.variables if id(v) not in left_out],
        "optimizer": model.optimizer.variables,
        "metrics": model.metrics_variables,
    }
    return {
        name: part
        for group in groups
        for number, variable in enumerate(found[group])
        for name, part in device_parts(f"{group}/{number}", variable).items()
    }


def values_of(variables):
    """Returns the values, and the backend's random state, as a dictionary from names to arrays."""
    values = {name: ops.convert_to_numpy(variable) for name, variable in variables.items()}
    return {**values, **random_state()}


def restore(variables, values):
    """Gives the variables, and the backend's random state, the values that they had.

    Args:
        variables: what `training_variables` returns.
        values: what `values_of` returned.

    Raises:
        UserError: they are not those of this network; nothing is restored then.
    """
    random = {name: value for name, value in values.items() if name.startswith("random/")}
    wanted = {name: tuple(variable.shape) for name, variable in variables.items()}
    found = {name: value.shape for name, value in values.items() if name not in random}
    if wanted != found:
        misfits = sorted(name for name in wanted | found if wanted.get(name) != found.get(name))
        raise UserError(
            "the checkpoint is not of this network: "
            f"{', '.join(misfits[:5])} differ (within an epoch, also on other devices)"
        )
    for name, variable in variables.items():
        variable.assign(values[name])
    restore_random_state(random)
