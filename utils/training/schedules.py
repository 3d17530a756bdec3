"""Learning rate schedules."""

import pkgutil
from typing import Any

import keras
from keras import ops
from keras.optimizers import schedules

from ..config.optimization import SCHEDULES


@keras.saving.register_keras_serializable(package="attention_zoo")
class OneCycle(schedules.LearningRateSchedule):
    """A learning rate that rises linearly to its peak, then falls linearly to zero.

    Args:
        peak: float, the highest learning rate.
        total_steps: int, steps of the whole run.
        warmup: float in (0, 1), share of the run in which it rises. Defaults to 0.2.

    Reference:

    - [Super-Convergence](https://arxiv.org/abs/1708.07120)
    """

    def __init__(self, peak: float, total_steps: int, warmup: float = 0.2) -> None:
        super().__init__()
        self.peak = peak
        self.total_steps = total_steps
        self.warmup = warmup

    def __call__(self, step: Any) -> Any:
        # at half steps, so that the first and the last step have a learning rate above 0
        progress = (ops.cast(step, "float32") + 0.5) / self.total_steps
        up, down = progress / self.warmup, (1 - progress) / (1 - self.warmup)
        return self.peak * ops.maximum(ops.minimum(up, down), 0.0)

    def get_config(self) -> dict[str, Any]:
        return {"peak": self.peak, "total_steps": self.total_steps, "warmup": self.warmup}


@keras.saving.register_keras_serializable(package="attention_zoo")
class Continued(schedules.LearningRateSchedule):
    """A schedule from one of its steps on, for an optimizer that begins there.

    Args:
        schedule: a `LearningRateSchedule`.
        first_step: int, step of `schedule` that the optimizer takes first.
    """

    def __init__(self, schedule: schedules.LearningRateSchedule, first_step: int) -> None:
        super().__init__()
        self.schedule = schedule
        self.first_step = first_step

    def __call__(self, step: Any) -> Any:
        return self.schedule(step + self.first_step)

    def get_config(self) -> dict[str, Any]:
        schedule = keras.saving.serialize_keras_object(self.schedule)
        return {"schedule": schedule, "first_step": self.first_step}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "Continued":
        schedule = keras.saving.deserialize_keras_object(config["schedule"])
        return cls(schedule, config["first_step"])


def learning_rate_schedule(
    name: str, peak: float, total_steps: int, first_step: int = 0
) -> float | schedules.LearningRateSchedule:
    """Makes a learning rate schedule.

    Args:
        name: string, one of `SCHEDULES`.
        peak: float, the highest learning rate.
        total_steps: int, steps of the whole run.
        first_step: int, step of the run that the optimizer takes first. Defaults to 0.

    Returns:
        A `keras.optimizers.schedules.LearningRateSchedule`, or `peak` itself for `"constant"`.
    """
    entry = SCHEDULES[name]
    if entry.path is None:
        return peak
    schedule = pkgutil.resolve_name(entry.path)(**entry.arguments(peak, total_steps))
    return Continued(schedule, first_step) if first_step else schedule


def learning_rate_at(schedule: float | schedules.LearningRateSchedule, step: int) -> float:
    """Returns the learning rate of one step, counted from 0.

    Args:
        schedule: what `learning_rate_schedule` returns.
        step: int.
    """
    return float(schedule(step) if callable(schedule) else schedule)
