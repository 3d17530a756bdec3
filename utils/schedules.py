"""Learning rates over a run, as schedules that Keras brings along."""

# share of the run in which the rate climbs to its peak before it falls along a cosine
WARMUP = {"cosine": 0.05, "one_cycle": 0.25}
# (share of the run, factor): the seed's recipe, epochs 80, 120, 160 and 180 of 200
STEPS = ((0.4, 1e-1), (0.6, 1e-2), (0.8, 1e-3), (0.9, 0.5e-3))

SCHEDULES = (*WARMUP, "step", "constant")


def learning_rate_schedule(name, peak, total_steps):
    """Makes a learning rate schedule.

    Args:
        name: `"cosine"` (a short warm-up, then a cosine to zero), `"one_cycle"` (a quarter of the
            run up, the rest down), `"step"` (divided by 10 after 40, 60 and 80 % of the run and
            by 2 after 90 %), or `"constant"`.
        peak: float, the highest learning rate.
        total_steps: int, steps of the whole run.

    Returns:
        A `keras.optimizers.schedules.LearningRateSchedule`, or `peak` itself for `"constant"`.
    """
    from keras.optimizers import schedules  # here, so that naming the schedules costs nothing

    if name == "constant":
        return peak
    if name == "step":
        # Keras still takes the old value at the boundary itself
        boundaries = [max(0, round(share * total_steps) - 1) for share, _ in STEPS]
        return schedules.PiecewiseConstantDecay(
            boundaries, [peak] + [peak * factor for _, factor in STEPS]
        )
    warmup = int(WARMUP[name] * total_steps)
    return schedules.CosineDecay(
        initial_learning_rate=0.0 if warmup else peak,
        decay_steps=max(1, total_steps - warmup),
        warmup_target=peak if warmup else None,
        warmup_steps=warmup,
    )
