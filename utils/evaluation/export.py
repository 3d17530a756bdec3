"""The command `export`: Keras exports a network, its own runtime reloads it, both are compared."""

import dataclasses
import importlib.util
from pathlib import Path
from typing import Any

import keras
import numpy as np

from models.graphs import deep_graphs
from models.precision import in_precision
from models.private_api import all_layers

from ..config.command_settings import ExportSettings
from ..data.data_format import in_data_format
from ..data.dataset import Dataset
from ..runs.predictions import in_batches
from ..runs.run_folder import load_run_dataset, read_config
from ..system.backend import quiet_stderr
from ..system.errors import UserError
from ..system.export_formats import EXPORT_FORMATS, INT8_FORMATS, ExportFormat, Predict
from ..system.files import replacing, replacing_folder, write_json
from ..system.timing import ratios, time_in_turn
from .evaluate import evaluate
from .networks import load_network

TOLERANCE = 1e-4  # of probabilities
BATCH_SIZES = (1, 5)  # of the comparison
COMPARED_IMAGES = 20  # of the test set
CALIBRATION_IMAGES = 200  # of the training set
TEST_BATCH_SIZE = 100


@dataclasses.dataclass(frozen=True)
class Exported:
    """An exported network, compared with the Keras model.

    Args:
        path: path of the file or folder.
        bytes: int, size of the file, or of all files in the folder.
        difference: float, the largest absolute difference between its probabilities and those of
            Keras.
        latency: dictionary from batch sizes to the time for a batch, as a multiple of the time of
            `predict_on_batch` in Keras; empty if nothing was timed.
        keras_accuracy: float, the test accuracy of the Keras model. Defaults to `None`: it is only
            computed for `int8`.
        accuracy: float, the test accuracy of the exported network, likewise.
    """

    path: Path
    bytes: int
    difference: float
    latency: dict[int, float]
    keras_accuracy: float | None = None
    accuracy: float | None = None


def export(settings: ExportSettings) -> Exported:
    """Exports the best network of a run, and compares it with Keras on test images.

    Writes a file or folder such as `best.onnx`, and the comparison such as `best.onnx.json`, into
    the run's folder.

    Args:
        settings: an `ExportSettings`.

    Returns:
        An `Exported`.

    Raises:
        UserError: the backend or the installed packages do not support the format, the folder is
            not that of a run, the network cannot be exported, or the exported network gives other
            probabilities. The run's folder is unchanged then.
    """
    run, format = Path(settings.run), EXPORT_FORMATS[settings.format]
    check_available(settings.format, settings.int8)
    config = read_config(run)
    dataset = load_run_dataset(run, config, settings.data_dir)
    try:
        network = in_precision(load_network(run, dataset), "float32")
    except Exception as error:  # the file can hold any network, which can raise any error
        raise UserError(f"{run}/best.keras cannot be exported: {error}") from error
    target = run / format.target
    if settings.int8:
        target = target.with_stem(f"{target.stem}-int8")
    with (replacing_folder if format.is_folder else replacing)(target) as temporary:
        path = temporary / format.file if format.is_folder else temporary
        try:
            predict = _export_and_reload(network, path, format, _options(format, settings, dataset))
            result = _compare(network, predict, dataset, settings, target)
        except UserError:
            raise
        except Exception as error:  # converters and runtimes can raise any error
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise UserError(f"exporting to {settings.format} failed: {reason}") from error
        result = dataclasses.replace(result, bytes=_size(temporary))
    report = {**dataclasses.asdict(result), "path": target.name}
    write_json(target.with_name(f"{target.name}.json"), report)
    return result


def check_available(name: str, int8: bool = False) -> None:
    """Checks that the backend and the installed packages can export to a format.

    Args:
        name: string, one of `EXPORT_FORMATS`.
        int8: bool, whether to export in 8-bit integers. Defaults to `False`.

    Raises:
        UserError: they cannot. The message says which backend or format can, or what to install.
    """
    packages, backend = EXPORT_FORMATS[name].packages, keras.backend.backend()
    if int8 and name not in INT8_FORMATS:
        formats = " or ".join(INT8_FORMATS)
        raise UserError(f"--int8 is for --format {formats} only; received {name}")
    if backend not in packages:
        can = [other for other, format in EXPORT_FORMATS.items() if backend in format.packages]
        raise UserError(
            f"the backend {backend} cannot export to {name}; --backend {' or '.join(packages)} can"
            f" ({backend} exports to {', '.join(can) or 'nothing'})"
        )
    missing = [package for package in packages[backend] if not importlib.util.find_spec(package)]
    if missing:
        raise UserError(
            f"exporting to {name} needs {', '.join(missing)}: pip install {' '.join(missing)}"
        )


def _options(format: ExportFormat, settings: ExportSettings, dataset: Dataset) -> dict[str, Any]:
    """Returns the options of Keras's exporter."""
    if not (settings.int8 and format.int8_options):
        return format.options()
    chosen = np.random.default_rng(0).permutation(len(dataset.x_train))[:CALIBRATION_IMAGES]
    return format.int8_options(_as_inputs(dataset.x_train[chosen]))


def _as_inputs(images):
    """Returns images `(n, height, width, channels)` as a network takes them."""
    return in_data_format(images).astype("float32")


def _export_and_reload(
    network: keras.Model, path: Path, format: ExportFormat, options: dict[str, Any]
) -> Predict:
    """Exports a network; returns the function that its own runtime computes."""
    for layer in all_layers(network):  # in models inside it, too
        if isinstance(layer, keras.layers.Normalization):
            # as tensors, tf2onnx would make them inputs of the graph; as arrays they are constants
            layer.mean = keras.ops.convert_to_numpy(layer.mean)
            layer.variance = keras.ops.convert_to_numpy(layer.variance)
    image = np.zeros((1, *network.input_shape[1:]), "float32")
    # Keras traces it without `training`, and by default its random layers are in training
    inputs = keras.Input(network.input_shape[1:])
    network = keras.Model(inputs, network(inputs, training=False))
    with quiet_stderr(show_on_error=False), deep_graphs():
        network(image)  # Keras exports no network to ONNX that was never called
        network.export(str(path), format.keras_name, verbose=False, **options)
        predict = format.reload(path)
        predict(image)  # the first call may compile, and print messages about it
    return predict


def _compare(
    network: keras.Model, predict: Predict, dataset: Dataset, settings: ExportSettings, target: Path
) -> Exported:
    images = _as_inputs(dataset.x_test[:COMPARED_IMAGES])
    difference = largest_difference(network, predict, images)
    limit = "1" if settings.int8 else f"{TOLERANCE:.0e}"
    if not difference <= float(limit):  # not `>`: NaN is refused too
        why = "some are not numbers" if np.isnan(difference) else f"at most {limit} is allowed"
        raise UserError(
            f"{target} was not written: in its own runtime, the network's probabilities differ by "
            f"{difference:.1e} from Keras's; {why}; try another --format or --backend"
        )
    result = Exported(target, 0, difference, _latency(network, predict, images, settings.rounds))
    if not settings.int8:
        return result
    probabilities = in_batches(
        lambda images: predict(_as_inputs(images)), dataset.x_test, TEST_BATCH_SIZE
    )
    return dataclasses.replace(
        result,
        keras_accuracy=evaluate(network, dataset).accuracy,
        accuracy=float(np.mean(probabilities.argmax(axis=-1) == dataset.y_test)),
    )


def largest_difference(network: keras.Model, predict: Predict, images: np.ndarray) -> float:
    """Compares an exported network with Keras, in batches of each of `BATCH_SIZES`.

    Args:
        network: a `keras.Model`.
        predict: function from a float32 batch to probabilities.
        images: float32 array of raw pixels, `(n, height, width, channels)` or as
            `image_data_format` has it.

    Returns:
        The largest absolute difference of two probabilities, a float; NaN if any of them is NaN.
    """
    differences = []
    for size in BATCH_SIZES:
        expected, found = (
            in_batches(function, images, size) for function in (network.predict_on_batch, predict)
        )
        differences.append(np.abs(found - expected).max())
    return float(np.max(differences))


def _latency(network, predict, images, rounds):
    latency = {}
    for size in BATCH_SIZES if rounds else ():
        batch = images[:size]
        contestants = {
            "keras": lambda batch=batch: network.predict_on_batch(batch),
            "exported": lambda batch=batch: predict(batch),
        }
        latency[size] = ratios(time_in_turn(contestants, rounds), "keras")["exported"]
    return latency


def _size(path):
    files = [path] if path.is_file() else [p for p in path.rglob("*") if p.is_file()]
    return sum(file.stat().st_size for file in files)
