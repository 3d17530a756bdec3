"""Where else a run's results go: TensorBoard, Weights & Biases, MLflow."""

import contextlib
import importlib.util
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import keras

from ..config.settings import LOGS, TrainSettings
from ..runs.progress import Progress
from ..runs.recorder import Logs
from ..system.errors import UserError
from ..system.files import replacing

MOST_RUNS = 50_000  # that MLflow looks through in one call
PROJECT = "attention-zoo"  # of runs for which the environment names none


class RunLog(Protocol):
    """A place that takes the results of a run."""

    def log_epoch(self, row: Mapping[str, float]) -> None:
        """Takes a row of `metrics.csv`."""

    def log_summary(self, summary: Mapping[str, Any]) -> None:
        """Takes the content of `summary.json`."""


def require_logs(settings: TrainSettings) -> None:
    """Checks that what a run is to be logged with is installed.

    Args:
        settings: a `TrainSettings`.

    Raises:
        UserError: a package is missing.
    """
    for name in settings.logs:
        missing = [each for each in LOGS[name] if not importlib.util.find_spec(each)]
        if missing:
            packages = " ".join(each.replace("_", "-") for each in missing)
            raise UserError(f"--log {name} needs more packages: pip install {packages}")


@contextlib.contextmanager
def open_logs(
    settings: TrainSettings,
    run_dir: Path,
    writes: bool = True,
    announce: Callable[[str], object] = print,
) -> Iterator[list[RunLog]]:
    """A context in which a run is logged with Weights & Biases and MLflow, as the settings say.

    Where they are and what they are called is up to their own environment variables. Without any,
    Weights & Biases takes the project `attention-zoo`, and MLflow the folder `mlruns` beside the
    run's folder. A run that is resumed is logged where it was; any other is new there.

    Args:
        settings: a `TrainSettings`.
        run_dir: path of the run's folder.
        writes: bool, whether this process logs: of several hosts, one does. Defaults to `True`.
        announce: function that takes a line of text. Defaults to `print`.

    Yields:
        A list of `RunLog`s. One that fails says so once, and takes nothing more.

    Raises:
        UserError: a place does not take the run, as where nobody is logged in.
    """
    with contextlib.ExitStack() as stack:
        logs: list[RunLog] = []
        for name, opener in OPENERS.items():
            if writes and name in settings.logs:
                log = stack.enter_context(opener(settings, run_dir))
                logs.append(_UnfailingLog(name, log, announce))
        yield logs


class _UnfailingLog:
    """Passes results on to a log until it fails: a lost server must not end a training."""

    def __init__(self, name: str, log: RunLog, announce: Callable[[str], object]) -> None:
        self.name = name
        self.log: RunLog | None = log
        self.announce = announce

    def log_epoch(self, row: Mapping[str, float]) -> None:
        self._pass_on("log_epoch", row)

    def log_summary(self, summary: Mapping[str, Any]) -> None:
        self._pass_on("log_summary", summary)

    def _pass_on(self, method, values):
        if self.log is None:
            return
        try:
            getattr(self.log, method)(values)
        except Exception as error:  # of the place's own kind, or of the network
            self.log = None
            self.announce(
                f"--log {self.name} failed, and takes no more of this run: {error}; the training "
                "goes on, and metrics.csv has everything"
            )


class LogEpochs(keras.callbacks.Callback):
    """Passes every finished epoch on; it must come after the recorder, which makes the row.

    Args:
        progress: a `Progress`.
        logs: sequence of `RunLog`s.
    """

    def __init__(self, progress: Progress, logs: Sequence[RunLog]) -> None:
        super().__init__()
        self.progress = progress
        self.logs = logs

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        for log in self.logs:
            log.log_epoch(self.progress.history[-1])


class _WeightsAndBiasesRun:
    def __init__(self, run: Any) -> None:
        self.run = run

    def log_epoch(self, row: Mapping[str, float]) -> None:
        self.run.log(dict(row), step=int(row["epoch"]))

    def log_summary(self, summary: Mapping[str, Any]) -> None:
        self.run.summary.update(_numbers(summary))


@contextlib.contextmanager
def _weights_and_biases(settings: TrainSettings, run_dir: Path) -> Iterator[RunLog]:
    import wandb

    record = run_dir / "wandb-run-id.txt"
    known = record.read_text("utf-8") if settings.resume and record.exists() else None
    try:
        run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", PROJECT),
            name=run_dir.name,
            dir=run_dir,
            config=settings.config(),
            resume="allow",
            id=known,
        )
    except Exception as error:  # no account, no network
        raise UserError(f"--log wandb: {error}; WANDB_MODE=offline logs to a file") from error
    with replacing(record) as temporary:
        temporary.write_text(run.id, "utf-8")
    with run:
        yield _WeightsAndBiasesRun(run)


class _MLflowRun:
    def __init__(self, client: Any, run_id: str) -> None:
        self.client = client
        self.run_id = run_id

    def log_epoch(self, row: Mapping[str, float]) -> None:
        for name, value in row.items():
            self.client.log_metric(self.run_id, name, value, step=int(row["epoch"]))

    def log_summary(self, summary: Mapping[str, Any]) -> None:
        for name, value in _numbers(summary).items():
            self.client.log_metric(self.run_id, f"summary_{name}", value)


@contextlib.contextmanager
def _mlflow(settings: TrainSettings, run_dir: Path) -> Iterator[RunLog]:
    import mlflow

    place = os.environ.get("MLFLOW_TRACKING_URI")
    if place is None:
        place = (run_dir.resolve().parent / "mlruns").as_uri()
        os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")  # a database needs more packages
    try:
        client = mlflow.MlflowClient(place)
        run_id = _mlflow_run(client, settings, run_dir)
    except mlflow.exceptions.MlflowException as error:
        raise UserError(f"--log mlflow: {error}") from error
    status = "FAILED"
    try:
        yield _MLflowRun(client, run_id)
        status = "FINISHED"
    finally:
        with contextlib.suppress(mlflow.exceptions.MlflowException):  # a lost server
            client.set_terminated(run_id, status)


def _mlflow_run(client: Any, settings: TrainSettings, run_dir: Path) -> str:
    """The id of a new run or, for one that is resumed, of the latest that its folder had."""
    name = os.environ.get("MLFLOW_EXPERIMENT_NAME", PROJECT)
    experiment = client.get_experiment_by_name(name)
    number = experiment.experiment_id if experiment else client.create_experiment(name)
    folder = str(run_dir.resolve())
    if settings.resume:
        # not by a filter: its language cannot quote every path
        runs = client.search_runs([number], max_results=MOST_RUNS)
        found = [run for run in runs if run.data.tags.get("folder") == folder]
        if found:
            return found[0].info.run_id
    run_id = client.create_run(number, run_name=run_dir.name, tags={"folder": folder}).info.run_id
    for key, value in settings.config().items():
        client.log_param(run_id, key, value)
    return run_id


# name of `--log` -> context that opens it; TensorBoard is a callback of Keras
OPENERS = {"wandb": _weights_and_biases, "mlflow": _mlflow}


def _numbers(summary: Mapping[str, Any]) -> dict[str, float]:
    return {
        name: value
        for name, value in summary.items()
        if isinstance(value, (int, float)) and not isinstance(value, bool)
    }
