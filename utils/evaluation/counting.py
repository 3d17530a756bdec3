"""Counted costs of a network: parameters, multiply-adds, memory of activations."""

import contextlib
import functools
import math
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import keras
from keras import layers

from models.private_api import all_layers

from .kernels import MULTIPLY_ADDS, PRODUCTS, multiplies_by_kernel


@functools.cache
def _say_once(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def without_values() -> contextlib.AbstractContextManager[object]:
    """A context in which networks are built without values for their weights, for counting only.

    Building them takes a third of the time, and hardly any memory.
    """
    return keras.StatelessScope(initialize_variables=False)


def trainable_params(model: keras.Model) -> int:
    """Counts the trainable parameters of a network, as papers do.

    Args:
        model: a `keras.Model`.
    """
    return sum(math.prod(weight.shape) for weight in model.trainable_weights)


def multiply_adds(
    model: keras.Model,
    input_shape: tuple[int, int, int] | None = None,
    announce: Callable[[str], object] = _say_once,
) -> int:
    """Counts the multiply-adds of a network for one image, as papers do.

    Convolutions and dense layers count, including those inside attention layers, and matrix
    products of two maps, such as queries by keys. A map times its gates, biases, normalization,
    activations and pooling do not count.

    A layer of your own counts what its method `products(input_shape)` returns: a tuple `(rows,
    terms, columns)` for each matrix product that one image takes, beside the layers inside it. A
    layer with a kernel and without this method is left out, and so are the products of queries and
    keys in Keras's own attention layers. `announce` is told.

    Args:
        model: a `keras.Model` of one input, a batch of images.
        input_shape: tuple of three ints, the shape of an image. Defaults to that of the model's
            input.
        announce: function that takes a line of text for each class of layers that is left out.
            Defaults to a line on standard error, once in a process.

    Returns:
        An int.

    Raises:
        ValueError: neither the model nor `input_shape` gives the image's size.

    Example:

    >>> multiply_adds(build_model("resnet_v1", depth=20))
    41214720
    """
    found = all_layers(model)
    counted = [layer for layer in found if _is_counted(layer)]
    total = sum(_per_call(model, counted, _multiply_adds_of, input_shape))
    for line in _left_out(found):  # after a call, which builds what was not built
        announce(line)
    return total


def _left_out(model_layers: Iterable[keras.Layer]) -> Iterator[str]:
    """Yields a line for each class of layers that multiply and are not counted."""
    found: dict[str, list[str]] = {}
    for layer in model_layers:
        if not _is_counted(layer) and (isinstance(layer, PRODUCTS) or multiplies_by_kernel(layer)):
            found.setdefault(type(layer).__name__, []).append(layer.name)
    for name, of_class in found.items():
        more = f" and {len(of_class) - 1} more of its class" if len(of_class) > 1 else ""
        yield f"not counted in multiply-adds: {min(of_class)} ({name}){more}"


def activation_bytes(model: keras.Model, input_shape: tuple[int, int, int] | None = None) -> int:
    """Estimates the memory of a network's activations for one image.

    A training step keeps activations for the gradients. The estimate is the size of all layers'
    outputs, including layers inside attention layers, and of the matrix products that a layer's
    method `products` names, such as queries by keys. It ignores what operations keep
    beside their outputs and what compilers save by fusing layers, and serves to compare networks.

    Args:
        model: a `keras.Model` of one input, a batch of images.
        input_shape: tuple of three ints, the shape of an image. Defaults to that of the model's
            input.

    Returns:
        An int, bytes.

    Raises:
        ValueError: neither the model nor `input_shape` gives the image's size.
    """
    model_layers = [
        layer
        for layer in all_layers(model, include_self=False)
        if not isinstance(layer, keras.Model)
    ]
    return sum(_per_call(model, model_layers, _bytes_of, input_shape))


def _per_call(
    model: keras.Model,
    model_layers: Iterable[keras.Layer],
    measure: Callable[[keras.Layer, Any, Any], int],
    input_shape: tuple[int, int, int] | None,
) -> list[int]:
    """Returns `measure(layer, first_input, outputs)` for every call of every one of the layers."""
    shape = tuple(input_shape or model.inputs[0].shape[1:])
    if None in shape:
        raise ValueError(
            f"the cost depends on the image's size, which the model leaves open: {shape}; give "
            "input_shape"
        )
    measured: list[int] = []
    with contextlib.ExitStack() as stack:
        for layer in model_layers:
            stack.enter_context(_measuring_calls(layer, measure, measured))
        _SymbolicCall(model).compute_output_spec(keras.KerasTensor((1, *shape)))
    return measured


class _SymbolicCall(layers.Layer):
    """Calls a model without computing: as it defines no output shape, Keras traces `call`."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def call(self, x):
        return self.model(x)


@contextlib.contextmanager
def _measuring_calls(layer, measure, measured) -> Iterator[None]:
    """A context in which every call of `layer` appends what `measure` returns to `measured`."""
    call, is_own = layer.call, "call" in vars(layer)

    def measured_call(*args, **kwargs):
        y = call(*args, **kwargs)
        x = next(iter(keras.tree.flatten((args, kwargs))), None)
        measured.append(measure(layer, x, y))
        return y

    layer.call = measured_call
    try:
        yield
    finally:
        if is_own:
            layer.call = call
        else:
            del layer.call


def _is_counted(layer):
    return _names_products(layer) or isinstance(layer, tuple(MULTIPLY_ADDS))


def _names_products(layer):
    return callable(getattr(layer, "products", None))


def _multiply_adds_of(layer, x, y):
    if _names_products(layer):
        return x.shape[0] * sum(map(math.prod, layer.products(x.shape)))
    return next(count for kind, count in MULTIPLY_ADDS.items() if isinstance(layer, kind))(
        layer, x, y
    )


def _bytes_of(layer, x, outputs):
    inner = 0
    if _names_products(layer):  # attention computes them in float32
        sums = sum(rows * columns for rows, _, columns in layer.products(x.shape))
        inner = 4 * x.shape[0] * sums
    # not that of the outputs: in symbolic calls, PyTorch computes half precision in float32
    width = {"float64": 8, "float16": 2, "bfloat16": 2}.get(layer.compute_dtype, 4)
    tensors = [y for y in keras.tree.flatten(outputs) if hasattr(y, "shape")]
    return width * sum(math.prod(y.shape) for y in tensors) + inner
