"""Optimizers and learning rate schedules: an entry each, and nothing else names them.

Nothing here needs Keras: an entry holds the path of a class, which `utils.training` imports.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

BATCH_SIZE = 128  # of all recipes that do not say another


@dataclasses.dataclass(frozen=True)
class OptimizerEntry:
    """An optimizer that `--optimizer` can name.

    Args:
        path: string, module and class of a `keras.optimizers.Optimizer`, such as
            `"keras.optimizers:Adam"`.
        learning_rate: float, the peak of the learning rate if none is given, for batches of
            `BATCH_SIZE`.
        options: dictionary of arguments for the class. Defaults to none.
        help: string, what `--help` adds to the name. Defaults to nothing.
        scales: bool, whether the learning rate is smaller for smaller batches, in proportion.
            Defaults to `False`.
    """

    path: str
    learning_rate: float
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    help: str = ""
    scales: bool = False


OPTIMIZERS = {
    "sgd": OptimizerEntry(
        "keras.optimizers:SGD",
        learning_rate=0.2,
        options={"momentum": 0.9, "nesterov": True},
        help="Nesterov momentum 0.9",
        scales=True,
    ),
    "adam": OptimizerEntry("keras.optimizers:Adam", learning_rate=1e-3),
    "momentum": OptimizerEntry(
        "keras.optimizers:SGD",
        learning_rate=0.1,
        options={"momentum": 0.9},
        help="SGD with momentum 0.9, as in PyTorch",
        scales=True,
    ),
    "muon": OptimizerEntry(
        "utils.training.muon:Muon",
        learning_rate=0.02,
        help="orthogonal updates of convolution kernels, Nesterov momentum 0.9 for the rest",
        scales=True,
    ),
}


def optimizer_help() -> str:
    """Returns the names of the optimizers for `--help`."""
    return ", ".join(
        f"{name} ({entry.help})" if entry.help else name for name, entry in OPTIMIZERS.items()
    )


def default_learning_rate(optimizer: str, chosen_batch: int | None = None) -> float:
    """Returns the peak of the learning rate if none is given.

    Args:
        optimizer: string, one of `OPTIMIZERS`.
        chosen_batch: int, images of a batch whose size the program has chosen, as there are few
            images. Defaults to `None`: the user gave it, or it is the usual one.
    """
    entry = OPTIMIZERS[optimizer]
    share = chosen_batch / BATCH_SIZE if chosen_batch is not None and entry.scales else 1.0
    return entry.learning_rate * share


def learning_rate_help() -> str:
    """Returns the learning rates of the optimizers for `--help`."""
    rates = (f"{entry.learning_rate:g} for {name}" for name, entry in OPTIMIZERS.items())
    return f"peak; {', '.join(rates)} if not given"


@dataclasses.dataclass(frozen=True)
class ScheduleEntry:
    """A learning rate schedule that `--schedule` can name.

    Args:
        path: string, module and class of a `keras.optimizers.schedules.LearningRateSchedule`;
            `None` for a learning rate that stays at its peak.
        arguments: function from the peak of the learning rate and the number of steps of the run to
            a dictionary of arguments for the class. Defaults to none.
    """

    path: str | None
    arguments: Callable[[float, int], Mapping[str, Any]] = lambda peak, total_steps: {}


def _cosine(peak, total_steps):
    """Linear warm-up for a twentieth of the run, then a cosine to zero."""
    warmup = total_steps // 20
    return {
        "initial_learning_rate": 0.0 if warmup else peak,
        "decay_steps": max(1, total_steps - warmup),
        "warmup_target": peak if warmup else None,
        "warmup_steps": warmup,
    }


# share of the run, and factor on the peak from there on; of the published CIFAR recipe for ResNets,
# which drops at epochs 80, 120, 160 and 180 of 200
DROPS = ((0.4, 1e-1), (0.6, 1e-2), (0.8, 1e-3), (0.9, 0.5e-3))


def _drops(peak, total_steps):
    return {
        # Keras still uses the value before a boundary in the step of the boundary itself
        "boundaries": [max(0, round(share * total_steps) - 1) for share, _ in DROPS],
        "values": [peak, *(peak * factor for _, factor in DROPS)],
    }


SCHEDULES = {
    "one_cycle": ScheduleEntry(
        "utils.training.schedules:OneCycle",
        lambda peak, total_steps: {"peak": peak, "total_steps": total_steps},
    ),
    "cosine": ScheduleEntry("keras.optimizers.schedules:CosineDecay", _cosine),
    "step": ScheduleEntry("keras.optimizers.schedules:PiecewiseConstantDecay", _drops),
    "constant": ScheduleEntry(None),
    "linear_decay": ScheduleEntry(
        "utils.training.schedules:OneCycle",
        lambda peak, total_steps: {"peak": peak, "total_steps": total_steps, "warmup": 0.05},
    ),
}
