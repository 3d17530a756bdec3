"""The results of a finished run: its accuracy, its errors, its history, its speed."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from ..data.dataset import Dataset
from ..runs.predictions import PREDICTIONS, read_predictions
from ..runs.run_folder import read_metrics, read_summary
from ..system.errors import UserError
from ..system.terminal import shell_word
from .planning import PlannedRun


@dataclasses.dataclass(frozen=True)
class Result:
    """The results of a finished run.

    Args:
        run: a `PlannedRun`.
        hits: boolean array, which test images are classified correctly.
        confusion: int array `(classes, classes)`, rows the true class, columns the predicted one.
        history: list of dictionaries, the row of `metrics.csv` of every epoch.
        images_per_second: float.
    """

    run: PlannedRun
    hits: np.ndarray
    confusion: np.ndarray
    history: list[dict[str, float]]
    images_per_second: float

    @property
    def accuracy(self) -> float:
        return float(self.hits.mean())

    @property
    def curve(self) -> list[float]:
        """The accuracy of every epoch on the validation split, or without one in training."""
        return [row[_curve_column(self.run)] for row in self.history]


def _curve_column(run: PlannedRun) -> str:
    return "val_accuracy" if run.settings.validation_split else "accuracy"


def require_same_data(runs: Sequence[PlannedRun], dataset: Dataset) -> None:
    """Refuses runs that were trained on other images, as far as their summaries say on which.

    Args:
        runs: list of finished `PlannedRun`s.
        dataset: a `Dataset`.

    Raises:
        UserError: a run was trained on other images.
    """
    fingerprint = None
    for run in runs:
        recorded = read_summary(run.folder).get("data")
        if recorded is None:
            continue
        fingerprint = fingerprint or dataset.fingerprint()
        if recorded != fingerprint:
            raise UserError(
                f"{run.folder} was trained on other images than these of {dataset.name}; give the "
                "folder of its images as --data-dir, or another --run-dir"
            )


def read_result(run: PlannedRun, dataset: Dataset) -> Result:
    """Reads the results of a finished run from its folder.

    Args:
        run: a `PlannedRun`.
        dataset: the `Dataset` that it was trained on.

    Returns:
        A `Result`.

    Raises:
        UserError: a file is missing or damaged, or the run was evaluated on other test images.
    """
    predictions = read_predictions(run.folder)
    if not predictions.are_of(dataset):
        place = run.settings.data_dir  # maybe another than that of the training
        words = f" --data-dir {shell_word(place)}" if place else ""
        raise UserError(
            f"{run.folder} was evaluated on other test images than {dataset.name}'s; remove its "
            f"{PREDICTIONS}, then 'python main.py evaluate {shell_word(run.folder)}{words}' writes "
            "it again"
        )
    speed = read_summary(run.folder).get("images_per_second")
    if not isinstance(speed, (int, float)) or speed <= 0:
        raise UserError(f"{run.folder}/summary.json has no images_per_second; remove that folder")
    history = read_metrics(run.folder)
    columns = (_curve_column(run), "accuracy", "loss", "epoch")
    missing = [column for column in columns if column not in history[0]]
    epochs = run.settings.epochs
    ended_early = run.settings.patience is not None and len(history) < epochs
    if missing or not (len(history) == epochs or ended_early):
        lacking = missing[0] if missing else f"row for each of {epochs} epochs"
        raise UserError(f"{run.folder}/metrics.csv has no {lacking}; remove that folder")
    return Result(run, predictions.correct, predictions.confusion, history, float(speed))
