"""What a network costs: parameters, multiply-adds, memory of activations, and time."""

import contextlib
import dataclasses
import math

import keras
import numpy as np
from keras import layers
from tqdm import tqdm

from models import build_model
from models.attention_module import get_attention, list_attention

from .backend import jit_compile
from .errors import UserError
from .timing import ratios, time_in_turn

_WITH_KERNEL = (layers.Conv1D, layers.Conv2D, layers.DepthwiseConv2D, layers.Dense)


def trainable_params(model):
    """Number of trainable parameters, as papers count them."""
    return sum(math.prod(weight.shape) for weight in model.trainable_weights)


def multiply_adds(model, input_shape=None):
    """Number of multiply-adds of a network for one image, as papers count them.

    Convolutions and dense layers count, those inside attention layers too; additions of biases,
    normalisation, activations and pooling do not.

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
    model_layers = [layer for layer in _all_layers(model) if type(layer) in _WITH_KERNEL]
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
    model_layers = [layer for layer in _all_layers(model) if not isinstance(layer, keras.Model)]
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


def _all_layers(model):
    """The layers in a model, however deep, each once; Keras has no public way inside layers."""
    return list({id(layer): layer for layer in model._flatten_layers(include_self=False)}.values())


@contextlib.contextmanager
def _watched(layer, measure, found):
    """Adds `measure(layer, output)` to `found` at every call of `layer`."""
    call = layer.call

    def watched(*args, **kwargs):
        y = call(*args, **kwargs)
        found.append(measure(layer, y))
        return y

    layer.call = watched
    try:
        yield
    finally:
        layer.call = call


def _multiply_adds_of(layer, y):
    channels_first = getattr(layer, "data_format", "channels_last") == "channels_first"
    channels = y.shape[1 if channels_first else -1]
    return math.prod(y.shape) // channels * math.prod(layer.kernel.shape)


def _bytes_of(layer, outputs):
    # the layer's own word for it: PyTorch traces half precision in float32
    width = {"float64": 8, "float16": 2, "bfloat16": 2}.get(layer.compute_dtype, 4)
    tensors = [y for y in keras.tree.flatten(outputs) if hasattr(y, "shape")]
    return width * sum(math.prod(y.shape) for y in tensors)


@dataclasses.dataclass
class Cost:
    """What one network costs; the times are multiples of the network without attention."""

    params: int
    multiply_adds: int
    activation_bytes: int
    latency: float | None = None
    training_step: float | None = None


def profile(settings):
    """Compares the costs of a network with each of several attention modules.

    Args:
        settings: a `ProfileSettings`.

    Returns:
        A dictionary from the modules' names, `"none"` first, to their `Cost`.

    Raises:
        UserError: an unknown module, or an option that a module or the architecture cannot take.
    """
    names = settings.attention or tuple(list_attention())
    names = ("none", *(name for name in names if name != "none"))
    networks = {name: _network(settings, name) for name in names}
    costs = {
        name: Cost(trainable_params(network), multiply_adds(network), activation_bytes(network))
        for name, network in networks.items()
    }
    if settings.rounds:
        rng = np.random.default_rng(0)
        images = rng.normal(size=(settings.batch_size, *networks["none"].input_shape[1:]))
        images = images.astype("float32")
        labels = rng.integers(0, settings.classes, settings.batch_size)
        latency = _timed(settings, networks, lambda m: lambda: m.predict_on_batch(images))
        step = _timed(settings, networks, lambda m: lambda: m.train_on_batch(images, labels))
        for name, cost in costs.items():
            cost.latency, cost.training_step = latency[name], step[name]
    return costs


def _timed(settings, networks, contestant):
    runs = {name: contestant(network) for name, network in networks.items()}
    return ratios(time_in_turn(runs, settings.rounds, tqdm), "none")


def _network(settings, name):
    shape = {}
    if settings.input_size is not None:
        shape["input_shape"] = (settings.input_size, settings.input_size, 3)
    options = {}
    if settings.attention and name != "none":  # modules chosen, and options for them
        options = {"ratio": settings.ratio, "kernel_size": settings.kernel_size}
    try:
        network = build_model(
            settings.model,
            **shape,
            classes=settings.classes,
            attention_module=get_attention(name, **options),
            attention_at=settings.attention_at,
            **settings.architecture_options(),
        )
    except ValueError as error:
        raise UserError(str(error)) from error
    network.compile("sgd", "sparse_categorical_crossentropy", jit_compile=jit_compile())
    return network


def cost_table(costs):
    """Returns the costs as aligned lines of text, one per network.

    Args:
        costs: what `profile` returns.
    """
    lines = ["module                 parameters   multiply-adds   activations   latency   training"]
    for name, cost in costs.items():
        times = [cost.latency, cost.training_step]
        latency, step = ("-" if t is None else f"{t:.2f} x" for t in times)
        lines.append(
            f"{name:<20}{cost.params:>13,}{cost.multiply_adds / 1e6:>14.2f} M"
            f"{cost.activation_bytes / 2**20:>11.2f} MB{latency:>10}{step:>11}"
        )
    return "\n".join(lines)
