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


def learning_rate_schedule(
    name: str, peak: float, total_steps: int
) -> float | schedules.LearningRateSchedule:
    """Makes a learning rate schedule.

    Args:
        name: string, one of `SCHEDULES`.
        peak: float, the highest learning rate.
        total_steps: int, steps of the whole run.

    Returns:
        A `keras.optimizers.schedules.LearningRateSchedule`, or `peak` itself for `"constant"`.
    """
    entry = SCHEDULES[name]
    if entry.path is None:
        return peak
    return pkgutil.resolve_name(entry.path)(**entry.arguments(peak, total_steps))
