"""The costs of the networks of a comparison: parameters and multiply-adds."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from ..config.settings import TrainSettings
from ..data.dataset import Dataset
from ..evaluation.counting import multiply_adds, trainable_params, without_values
from ..system.processes import call_in_process
from ..training.fine_tuning import frozen_layers
from ..training.setup import build_network
from .planning import PlannedRun, Variant

Costs = dict[Variant, tuple[int, int]]


def costs_of(runs: Sequence[PlannedRun], dataset: Dataset) -> Costs:
    """Counts parameters and multiply-adds of each variant's network.

    The networks are built in a separate process, so that this one does not occupy the accelerator
    on which the runs are trained.

    Args:
        runs: list of `PlannedRun`s.
        dataset: a `Dataset`.

    Returns:
        A dictionary from `Variant`s to pairs of ints: parameters and multiply-adds.

    Raises:
        UserError: a network cannot be built, or does not have the layers to freeze.
        RunError: the process was killed.
    """
    settings = {run.variant: run.settings for run in runs}
    # without the images, which need not be sent to the other process
    outline = dataclasses.replace(dataset, x_train=dataset.x_train[:0], x_test=dataset.x_test[:1])
    counts = call_in_process(runs[0].settings.backend, _count, list(settings.values()), outline)
    return dict(zip(settings, counts, strict=True))


def _count(settings: Sequence[TrainSettings], dataset: Dataset) -> list[tuple[int, int]]:
    channels = dataset.x_test.shape[-1]
    counts = []
    with without_values():
        for each in settings:
            network = build_network(each, dataset, np.zeros(channels), np.ones(channels))
            frozen_layers(network, each)  # fails now rather than in every run
            counts.append((trainable_params(network), multiply_adds(network)))
    return counts
