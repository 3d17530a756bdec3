"""What a network costs, counted: parameters, multiply-adds, memory of activations."""

import contextlib
import math

import keras
from keras import layers

from models.private_api import all_layers

_WITH_KERNEL = (layers.Conv1D, layers.Conv2D, layers.DepthwiseConv2D, layers.Dense)


def without_values():
    """A context in which networks are built without values for their weights, to be counted only.

    It takes a third of the time, and hardly any memory.
    """
    return keras.StatelessScope(initialize_variables=False)


def trainable_params(model):
    """Number of trainable parameters, as papers count them."""
    return sum(math.prod(weight.shape) for weight in model.trainable_weights)


def multiply_adds(model, input_shape=None):
    """Number of multiply-adds of a network for one image, as papers count them.

    Convolutions and dense layers count, those inside attention layers too; additions of biases,
    normalization, activations and pooling do not.

    Args:
        model: a `keras.Model` that takes one image.
        input_shape: tuple of three, the shape of the image. Defaults to that of the model's input.

    Returns:
        An int.

    Raises:
        ValueError: the image's size is not known.

    Example:

    >>> multiply_adds(build_model("resnet_v1", depth=20))
    41214720
    """
    model_layers = [
        layer for layer in all_layers(model, include_self=False) if type(layer) in _WITH_KERNEL
    ]
    return sum(_per_call(model, model_layers, _multiply_adds_of, input_shape))


def activation_bytes(model, input_shape=None):
    """Memory of all layers' outputs for one image, what a training step keeps for the gradients.

    Outputs of layers inside attention layers count too. What an operation keeps beside its output,
    and what a compiler saves by fusing layers, is not known here: this is an estimate to compare
    networks by.

    Args:
        model: a `keras.Model` that takes one image.
        input_shape: tuple of three, the shape of the image. Defaults to that of the model's input.

    Returns:
        An int.

    Raises:
        ValueError: the image's size is not known.
    """
    model_layers = [
        layer
        for layer in all_layers(model, include_self=False)
        if not isinstance(layer, keras.Model)
    ]
    return sum(_per_call(model, model_layers, _bytes_of, input_shape))


def _per_call(model, model_layers, measure, input_shape):
    """What `measure(layer, output)` says of every call of every one of the layers."""
    shape = tuple(input_shape or model.inputs[0].shape[1:])
    if None in shape:
        raise ValueError(
            f"the cost depends on the image's size, and the model leaves it open: {shape}"
        )
    found = []
    with contextlib.ExitStack() as hooks:
        for layer in model_layers:
            hooks.enter_context(_watched(layer, measure, found))
        _Traced(model).compute_output_spec(keras.KerasTensor((1, *shape)))
    return found


class _Traced(layers.Layer):
    """Has no output shape of its own: Keras finds it by tracing `call`, at no computation."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def call(self, x):
        return self.model(x)


@contextlib.contextmanager
def _watched(layer, measure, found):
    """Adds `measure(layer, output)` to `found` at every call of `layer`."""
    call, is_own = layer.call, "call" in vars(layer)

    def watched(*args, **kwargs):
        y = call(*args, **kwargs)
        found.append(measure(layer, y))
        return y

    layer.call = watched
    try:
        yield
    finally:
        if is_own:
            layer.call = call
        else:
            del layer.call


def _multiply_adds_of(layer, y):
    channels_first = getattr(layer, "data_format", "channels_last") == "channels_first"
    channels = y.shape[1 if channels_first else -1]
    return math.prod(y.shape) // channels * math.prod(layer.kernel.shape)


def _bytes_of(layer, outputs):
    # the layer's own word for it: PyTorch traces half precision in float32
    width = {"float64": 8, "float16": 2, "bfloat16": 2}.get(layer.compute_dtype, 4)
    tensors = [y for y in keras.tree.flatten(outputs) if hasattr(y, "shape")]
    return width * sum(math.prod(y.shape) for y in tensors)
