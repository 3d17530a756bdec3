"""Trained networks for other runtimes: exported by Keras, reloaded where they run, and compared."""

import dataclasses
import importlib.util
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np

from models.fast import install
from models.private_api import all_layers
from models.saving import deep_graphs

from ..data.datasets import in_data_format
from ..runs.predictions import in_batches
from ..runs.run_folder import load_run_dataset, read_config
from ..system.backend import quiet_stderr, threads
from ..system.errors import UserError
from ..system.files import replacing, replacing_folder, write_json
from ..system.timing import ratios, time_in_turn
from .evaluate import evaluate
from .networks import load_network

TOLERANCE = 1e-4  # of probabilities
BATCHES = (1, 5)
COMPARED = 20  # test images
CALIBRATING = 200  # training images
TEST_BATCH = 100


@dataclasses.dataclass(frozen=True)
class Format:
    """A format to export to.

    Args:
        keras_name: string, what `keras.Model.export` calls it.
        target: string, its name in the run's folder.
        path: string, what Keras writes: a file in the folder `target`, or empty for `target`.
        packages: dictionary from the backends that can export to it to the packages it needs.
        reload: function from the path of what was exported to a function on a float32 batch of
            images, which gives the probabilities.
        options: function that returns the options of Keras's exporter.
    """

    keras_name: str
    target: str
    path: str
    packages: dict[str, tuple[str, ...]]
    reload: Callable
    options: Callable = dict

    @property
    def is_folder(self):
        return bool(self.path)


@dataclasses.dataclass(frozen=True)
class Exported:
    """What was written, and how it compares.

    Args:
        path: path of the file or folder.
        bytes: int, of the file, or of all files in the folder.
        difference: float, the largest between its probabilities and Keras's.
        latency: dictionary from a batch's size to its time, as a multiple of that of Keras's
            `predict`; empty if no times were taken.
        keras_accuracy, accuracy: floats, on the test images, before and after; `None` where the
            numbers are not rounded.
    """

    path: Path
    bytes: int
    difference: float
    latency: dict[int, float]
    keras_accuracy: float | None = None
    accuracy: float | None = None


def export(settings):
    """Exports the best network of a run, and compares what was written on test images.

    Writes what the format is called after, such as `best.onnx`, and `best.onnx.json` with the
    comparison: into the run's folder, after the comparison.

    Args:
        settings: an `ExportSettings`.

    Returns:
        An `Exported`.

    Raises:
        UserError: a format that the backend or what is installed cannot give, a folder that is no
            run, or a network that cannot be exported or gives other probabilities then. What was
            there before stays.
    """
    run, format = Path(settings.run), FORMATS[settings.format]
    require_possible(settings.format, settings.int8)
    config = read_config(run)
    dataset = load_run_dataset(config, settings.data_dir)
    try:
        network = in_float32(load_network(run, dataset))
    except Exception as error:  # a file from anywhere can hold any network
        raise UserError(f"{run}/best.keras cannot be exported: {error}") from error
    target = run / format.target
    if settings.int8:
        target = target.with_stem(f"{target.stem}-int8")
    with (replacing_folder if format.is_folder else replacing)(target) as temporary:
        path = temporary / format.path if format.is_folder else temporary
        try:
            options = int8_options(dataset) if settings.int8 else format.options()
            predict = _written(network, path, format, options)
            result = _compared(network, predict, dataset, settings, target)
        except UserError:
            raise
        except Exception as error:  # converters and runtimes fail in any way they like
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise UserError(f"exporting to {settings.format} failed: {reason}") from error
        result = dataclasses.replace(result, bytes=_size(temporary))
    report = {**dataclasses.asdict(result), "path": target.name}
    write_json(target.with_name(f"{target.name}.json"), report)
    return result


def require_possible(name, int8=False):
    """Refuses a format that the backend, or what is installed, cannot give.

    Args:
        name: string, one of `FORMATS`.
        int8: bool, whether it is to be in integers.

    Raises:
        UserError: says which backend or format could, or what to install.
    """
    packages, backend = FORMATS[name].packages, keras.backend.backend()
    if int8 and name != "litert":
        raise UserError(f"only --format litert can be in int8; received {name}")
    if backend not in packages:
        can = [other for other, format in FORMATS.items() if backend in format.packages]
        raise UserError(
            f"the backend {backend} cannot export to {name}; --backend {' or '.join(packages)} can"
            f" ({backend} exports to {', '.join(can) or 'nothing'})"
        )
    missing = [package for package in packages[backend] if not importlib.util.find_spec(package)]
    if missing:
        raise UserError(f"exporting to {name} needs more: pip install {' '.join(missing)}")


def in_float32(network):
    """Returns a network that computes in float32: itself, or a copy of one of mixed precision."""
    if all(layer.compute_dtype == "float32" for layer in all_layers(network)):
        return network

    def copy(layer):
        return type(layer).from_config({**layer.get_config(), "dtype": "float32"})

    with deep_graphs():
        other = keras.models.clone_model(network, clone_function=copy)
    other.set_weights(network.get_weights())
    return install(other)


def _written(network, path, format, options):
    """Exports a network and returns it as it runs in its own runtime."""
    for layer in network.layers:
        if isinstance(layer, keras.layers.Normalization):
            # tf2onnx takes tensors from outside the graph for inputs; arrays become constants
            layer.mean = keras.ops.convert_to_numpy(layer.mean)
            layer.variance = keras.ops.convert_to_numpy(layer.variance)
    image = np.zeros((1, *network.input_shape[1:]), "float32")
    with quiet_stderr(unless_failed=False), deep_graphs():
        network(image)  # Keras's ONNX exporter takes none that was never called
        network.export(str(path), format.keras_name, verbose=False, **options)
        predict = format.reload(path)
        predict(image)  # the first call prepares, and may announce it
    return predict


def _compared(network, predict, dataset, settings, target):
    images = in_data_format(dataset.x_test[:COMPARED]).astype("float32")
    difference = largest_difference(network, predict, images)
    if not difference <= (1 if settings.int8 else TOLERANCE):
        raise UserError(
            f"{target} was not written: run by itself, the exported network's probabilities differ "
            f"by {difference:.1e} from Keras's, at most {TOLERANCE:.0e} is allowed; try another "
            "--format or --backend"
        )
    result = Exported(target, 0, difference, _latency(network, predict, images, settings.rounds))
    if not settings.int8:
        return result
    probabilities = in_batches(
        lambda images: predict(in_data_format(images).astype("float32")), dataset.x_test, TEST_BATCH
    )
    return dataclasses.replace(
        result,
        keras_accuracy=evaluate(network, dataset).accuracy,
        accuracy=float(np.mean(probabilities.argmax(axis=-1) == dataset.y_test)),
    )


def largest_difference(network, predict, images):
    """Compares an exported network with Keras's, with batches of each of `BATCHES`.

    Args:
        network: Keras model.
        predict: function on a float32 batch, which gives the probabilities.
        images: float32 array `(n, height, width, channels)` of raw pixels.

    Returns:
        The largest difference of two probabilities, a float; NaN if there is any.
    """
    differences = []
    for size in BATCHES:
        expected, found = (
            in_batches(function, images, size) for function in (network.predict_on_batch, predict)
        )
        differences.append(np.abs(found - expected).max())
    return float(np.max(differences))


def _latency(network, predict, images, rounds):
    latency = {}
    for size in BATCHES if rounds else ():
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


def int8_options(dataset):
    """The options of Keras's LiteRT export for integers inside, and floats as before outside.

    Args:
        dataset: a `Dataset`; its training images show which values occur.
    """
    import tensorflow as tf

    chosen = np.random.default_rng(0).permutation(len(dataset.x_train))[:CALIBRATING]
    images = in_data_format(dataset.x_train[chosen]).astype("float32")
    ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8, tf.lite.OpsSet.TFLITE_BUILTINS]
    return {
        "optimizations": [tf.lite.Optimize.DEFAULT],
        "representative_dataset": lambda: ([image[None]] for image in images),
        "target_spec": {"supported_ops": ops},
    }


def _litert_options():
    import tensorflow as tf

    # no operations of TensorFlow's, which few builds of the runtime have
    return {"target_spec": {"supported_ops": [tf.lite.OpsSet.TFLITE_BUILTINS]}}


def _torch_options():
    import torch

    return {"dynamic_shapes": {0: torch.export.Dim("batch")}}


def _reload_savedmodel(path):
    import tensorflow as tf

    loaded = tf.saved_model.load(str(path))
    return lambda images: loaded.serve(tf.constant(images)).numpy()


def _reload_onnx(path):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads()
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda images: session.run(None, {name: images})[0]


def _reload_litert(path):
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError:  # the same in TensorFlow, which loads it when it is asked for
        import tensorflow as tf

        Interpreter = tf.lite.Interpreter
    interpreter = Interpreter(str(path), num_threads=threads())
    index = interpreter.get_input_details()[0]["index"]
    shape = None

    def predict(images):
        nonlocal shape
        if images.shape != shape:
            interpreter.resize_tensor_input(index, images.shape)
            interpreter.allocate_tensors()
            shape = images.shape
        interpreter.set_tensor(index, images)
        interpreter.invoke()
        return interpreter.get_tensor(interpreter.get_output_details()[0]["index"])

    return predict


def _reload_openvino(path):
    import openvino

    # where the processor can, OpenVINO would compute in bfloat16
    settings = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": threads()}
    compiled = openvino.Core().compile_model(path, "CPU", settings)
    return lambda images: np.array(compiled(images)[0])


def _reload_torch(path):
    import torch

    module = torch.export.load(path).module()

    def predict(images):
        with torch.no_grad():
            return keras.ops.convert_to_numpy(module(keras.ops.convert_to_tensor(images)))

    return predict


# format -> how it is exported; JAX gives SavedModels that hold XLA's code and run nowhere else
FORMATS = {
    "savedmodel": Format(
        "tf_saved_model", "best.savedmodel", ".", {"tensorflow": ()}, _reload_savedmodel
    ),
    "onnx": Format(
        "onnx",
        "best.onnx",
        "",
        {"tensorflow": ("onnx", "onnxruntime", "tf2onnx"), "torch": ("onnx", "onnxruntime")},
        _reload_onnx,
    ),
    "litert": Format(
        "litert", "best.tflite", "", {"tensorflow": ()}, _reload_litert, _litert_options
    ),
    "openvino": Format(
        "openvino",
        "best.openvino",
        "model.xml",
        {"tensorflow": ("openvino",), "torch": ("openvino",)},
        _reload_openvino,
    ),
    "torch": Format("torch", "best.pt2", "", {"torch": ()}, _reload_torch, _torch_options),
}
