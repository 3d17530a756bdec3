"""Learning rates over a run."""

import keras
from keras import ops
from keras.optimizers import schedules

# (share of the run, factor on the peak): the seed's recipe, epochs 80, 120, 160 and 180 of 200
STEPS = ((0.4, 1e-1), (0.6, 1e-2), (0.8, 1e-3), (0.9, 0.5e-3))


@keras.saving.register_keras_serializable(package="attention_zoo")
class OneCycle(schedules.LearningRateSchedule):
    """Up along a straight line to the peak, down along another to zero.

    Args:
        peak: float, the highest learning rate.
        total_steps: int, steps of the whole run.
        warmup: float in (0, 1), share of the run on the way up. Defaults to 0.2.

    Reference:

    - [Super-Convergence](https://arxiv.org/abs/1708.07120)
    """

    def __init__(self, peak, total_steps, warmup=0.2):
        super().__init__()
        self.peak = peak
        self.total_steps = total_steps
        self.warmup = warmup

    def __call__(self, step):
        # half a step on, so that the first and the last step move the weights too
        progress = (ops.cast(step, "float32") + 0.5) / self.total_steps
        up, down = progress / self.warmup, (1 - progress) / (1 - self.warmup)
        return self.peak * ops.maximum(ops.minimum(up, down), 0.0)

    def get_config(self):
        return {"peak": self.peak, "total_steps": self.total_steps, "warmup": self.warmup}


def _cosine(peak, total_steps):
    warmup = total_steps // 20
    return schedules.CosineDecay(
        initial_learning_rate=0.0 if warmup else peak,
        decay_steps=max(1, total_steps - warmup),
        warmup_target=peak if warmup else None,
        warmup_steps=warmup,
    )


def _step(peak, total_steps):
    # Keras still takes the old value at the boundary itself
    boundaries = [max(0, round(share * total_steps) - 1) for share, _ in STEPS]
    return schedules.PiecewiseConstantDecay(
        boundaries, [peak] + [peak * factor for _, factor in STEPS]
    )


_SCHEDULES = {
    "one_cycle": OneCycle,
    "cosine": _cosine,
    "step": _step,
    "constant": lambda peak, total_steps: peak,
}


def learning_rate_schedule(name, peak, total_steps):
    """Makes a learning rate schedule.

    Args:
        name: `"one_cycle"` (up for a fifth of the run, then down to zero), `"cosine"` (up for a
            twentieth, then a cosine to zero), `"step"` (divided by 10 after 40, 60 and 80 % of the
            run, and by 2 after 90 %), or `"constant"`.
        peak: float, the highest learning rate.
        total_steps: int, steps of the whole run.

    Returns:
        A `keras.optimizers.schedules.LearningRateSchedule`, or `peak` itself for `"constant"`.
    """
    return _SCHEDULES[name](peak, total_steps)
