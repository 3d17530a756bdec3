"""Export formats: an entry each, with the function that reloads it in its own runtime.

Nothing here needs Keras or a runtime before a function is called, so that `--help` answers at once.
"""

import dataclasses
from collections.abc import Callable
from os import PathLike
from typing import Any

import numpy as np

from .backend import threads

Predict = Callable[[np.ndarray], np.ndarray]


@dataclasses.dataclass(frozen=True)
class ExportFormat:
    """A format that `--format` can name.

    Args:
        keras_name: string, the name of the format in `keras.Model.export`.
        target: string, the name of the file or folder in the run's folder.
        packages: dictionary from the backends that can export to the format to the packages that
            this needs beside the backend.
        reload: function from the path of the exported file to a function that its runtime computes,
            from a float32 batch of images to probabilities.
        file: string, what Keras exports to in the folder `target`: a file, or `"."` for the folder
            itself. Defaults to empty: `target` is a file.
        options: function that returns options for `keras.Model.export`. Defaults to none.
        int8_options: function that returns these options for 8-bit integers, from a float32 array
            of images to calibrate on. Defaults to `None`: the format has no such form.
    """

    keras_name: str
    target: str
    packages: dict[str, tuple[str, ...]]
    reload: Callable[[PathLike[str]], Predict]
    file: str = ""
    options: Callable[[], dict[str, Any]] = dict
    int8_options: Callable[[np.ndarray], dict[str, Any]] | None = None

    @property
    def is_folder(self) -> bool:
        """Whether `target` is a folder."""
        return bool(self.file)


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


def _litert_options():
    import tensorflow as tf

    # without TensorFlow's own operations, which few builds of the runtime have
    return {"target_spec": {"supported_ops": [tf.lite.OpsSet.TFLITE_BUILTINS]}}


def _litert_int8_options(images):
    import tensorflow as tf

    ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8, tf.lite.OpsSet.TFLITE_BUILTINS]
    return {
        "optimizations": [tf.lite.Optimize.DEFAULT],
        "representative_dataset": lambda: ([image[None]] for image in images),
        "target_spec": {"supported_ops": ops},
    }


def _reload_litert(path):
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError:  # TensorFlow has the same interpreter, an attribute that it loads on demand
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

    # by default OpenVINO computes in bfloat16 on processors that can
    settings = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": threads()}
    compiled = openvino.Core().compile_model(path, "CPU", settings)
    return lambda images: np.array(compiled(images)[0])


def _torch_options():
    import torch

    return {"dynamic_shapes": {0: torch.export.Dim("batch")}}


def _reload_torch(path):
    import keras
    import torch

    module = torch.export.load(path).module()

    def predict(images):
        with torch.no_grad():
            return keras.ops.convert_to_numpy(module(keras.ops.convert_to_tensor(images)))

    return predict


EXPORT_FORMATS = {
    # not on JAX: its SavedModels hold code of XLA, which runs nowhere else
    "savedmodel": ExportFormat(
        "tf_saved_model", "best.savedmodel", {"tensorflow": ()}, _reload_savedmodel, file="."
    ),
    "onnx": ExportFormat(
        "onnx",
        "best.onnx",
        {"tensorflow": ("onnx", "onnxruntime", "tf2onnx"), "torch": ("onnx", "onnxruntime")},
        _reload_onnx,
    ),
    "litert": ExportFormat(
        "litert",
        "best.tflite",
        {"tensorflow": ()},
        _reload_litert,
        options=_litert_options,
        int8_options=_litert_int8_options,
    ),
    "openvino": ExportFormat(
        "openvino",
        "best.openvino",
        {"tensorflow": ("openvino",), "torch": ("openvino",)},
        _reload_openvino,
        file="model.xml",
    ),
    "torch": ExportFormat(
        "torch", "best.pt2", {"torch": ()}, _reload_torch, options=_torch_options
    ),
}
INT8_FORMATS = [name for name, format in EXPORT_FORMATS.items() if format.int8_options]
