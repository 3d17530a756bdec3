"""What a network costs: trainable parameters and multiply-adds."""

import contextlib
import math

import keras
from keras import layers

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
    shape = tuple(input_shape or model.inputs[0].shape[1:])
    if None in shape:
        raise ValueError(
            f"multiply-adds depend on the image's size, and the model leaves it open: {shape}"
        )
    with contextlib.ExitStack() as hooks:
        counts = [hooks.enter_context(_counting(layer)) for layer in _layers_with_kernel(model)]
        _Traced(model).compute_output_spec(keras.KerasTensor((1, *shape)))
        return sum(map(sum, counts))


class _Traced(layers.Layer):
    """Has no output shape of its own: Keras finds it by tracing `call`, at no computation."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def call(self, x):
        return self.model(x)


def _layers_with_kernel(layer):
    """The convolutions and dense layers in a layer or model, however deep, each once."""
    # the one way to reach layers inside layers; Keras has no public one
    found = {id(inner): inner for inner in layer._flatten_layers() if type(inner) in _WITH_KERNEL}
    return list(found.values())


@contextlib.contextmanager
def _counting(layer):
    """Gives a list to which every call of `layer` adds its multiply-adds."""
    counts, call = [], layer.call

    def counted(*args, **kwargs):
        y = call(*args, **kwargs)
        channels_first = getattr(layer, "data_format", "channels_last") == "channels_first"
        channels = y.shape[1 if channels_first else -1]
        counts.append(math.prod(y.shape) // channels * math.prod(layer.kernel.shape))
        return y

    layer.call = counted
    try:
        yield counts
    finally:
        layer.call = call
