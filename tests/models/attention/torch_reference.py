"""A layer against its authors' formulation in PyTorch: outputs, maps and gradients."""

import keras
import numpy as np
import pytest

from models.private_api import all_layers

SHAPES = ((2, 7, 5, 16), (3, 4, 9, 40), (1, 6, 1, 3), (2, 1, 1, 8))


def compare_with_torch(make, reference, rng, shapes=SHAPES, atol=1e-5, mean=0):
    """Compares a layer with random weights with an independent computation in float64.

    Outputs, maps and the input's gradient on every backend; the weights' gradients on PyTorch.

    Args:
        make: function that makes the layer.
        reference: function of the built layer and a float64 torch tensor `(batch, channels,
            height, width)`; returns the output, or the output and a dictionary of the maps.
        rng: numpy generator.
        shapes: channels-last shapes to compare at.
        atol: float, absolute tolerance; of the weights' gradients, relative to the largest.
        mean: float, the average of the inputs.
    """
    torch = pytest.importorskip("torch")
    for shape in shapes:
        layer = make()
        layer.build((None, None, None, shape[-1]))
        randomize(layer, rng)
        x, direction = (rng.normal(size=shape).astype("float32") for _ in range(2))
        x += mean
        x_torch, upstream = (
            torch.tensor(values.transpose(0, 3, 1, 2), dtype=torch.float64)
            for values in (x, direction)
        )
        x_torch.requires_grad_()
        stated = reference(layer, x_torch)
        wanted, wanted_maps = stated if isinstance(stated, tuple) else (stated, None)
        y, maps = layer(x, return_maps=True)
        check_close(y, wanted, atol, "outputs")
        if wanted_maps is not None:
            assert set(maps) == set(wanted_maps)
            for key, value in wanted_maps.items():
                check_close(maps[key], value, atol, key)
        # on PyTorch, whose reference computes with the layer's own weights; of a single image,
        # PyTorch does not give the gradient of every kernel as Keras lays it out
        of_weights = keras.backend.backend() == "torch" and shape[0] > 1
        weights = layer.trainable_weights if of_weights else []
        # in one call: of the weights without the input, `group_norm` crashes
        slope, *slopes = torch.autograd.grad(
            (wanted * upstream).sum(), [x_torch, *(weight.value for weight in weights)]
        )
        got = input_gradient(layer, x, direction)
        check_close(got, slope, atol, "the input's gradient", rtol=1e-5)
        if weights:
            check_weight_gradients(layer, x, direction, slopes, atol)


def check_close(got, wanted, atol, what, rtol=1e-7):
    """Channels last against PyTorch's channels first."""
    wanted = to_numpy(wanted).transpose(0, 2, 3, 1)
    np.testing.assert_allclose(to_numpy(got), wanted, rtol=rtol, atol=atol, err_msg=what)


def check_weight_gradients(layer, x, direction, wanted, atol):
    """The gradients of `sum(layer(x) * direction)` with respect to the weights, on PyTorch."""
    import torch

    value = (layer(x) * keras.ops.convert_to_tensor(direction)).sum()
    slopes = torch.autograd.grad(value, [weight.value for weight in layer.trainable_weights])
    for weight, slope, expected in zip(layer.trainable_weights, slopes, wanted, strict=True):
        slope, expected = to_numpy(slope), to_numpy(expected)
        scale = 1 + np.abs(expected).max()
        np.testing.assert_allclose(slope, expected, atol=atol * scale, err_msg=weight.path)


def input_gradient(layer, x, direction):
    """The gradient of `sum(layer(x) * direction)` with respect to `x`."""
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        x = tf.convert_to_tensor(x)
        with tf.GradientTape() as tape:
            tape.watch(x)
            value = tf.reduce_sum(layer(x) * direction)
        return tape.gradient(value, x).numpy()
    if backend == "jax":
        import jax

        return np.asarray(jax.jit(jax.grad(lambda x: (layer(x) * direction).sum()))(x))
    import torch

    x = keras.ops.convert_to_tensor(x).requires_grad_(True)
    value = (layer(x) * keras.ops.convert_to_tensor(direction)).sum()
    return torch.autograd.grad(value, x)[0].numpy()


def randomize(layer, rng):
    """Zeros and ones, as weights are at first, would hide a mistake; large logits would round."""
    for part in all_layers(layer):
        # a channel of a depthwise convolution has a kernel of its own, not all channels'
        inputs = slice(2) if isinstance(part, keras.layers.DepthwiseConv2D) else slice(-1)
        for weight in part.weights:
            value = rng.normal(size=weight.shape) / np.sqrt(np.prod(weight.shape[inputs]))
            weight.assign(rng.uniform(0.5, 2, weight.shape) if "variance" in weight.path else value)


def weights_of(layer):
    """The weights of a Keras layer as float64 tensors in the layouts of PyTorch's functions.

    On the PyTorch backend their gradients reach the layer's own weights.
    """
    # (height, width, in, out), (length, in, out) or (in, out), in PyTorch the other way round
    order = {4: (3, 2, 0, 1), 3: (2, 1, 0), 2: (1, 0), 1: (0,), 0: ()}
    if isinstance(layer, keras.layers.DepthwiseConv2D):
        order[4] = (2, 3, 0, 1)
    values = [_to_float64(weight) for weight in layer.weights]
    return [value.permute(order[value.ndim]) for value in values]


def _to_float64(weight):
    import torch

    if keras.backend.backend() == "torch":
        return weight.value.double()
    return torch.tensor(weight.numpy(), dtype=torch.float64)


def batch_norm(layer, x, training=False):
    """PyTorch's batch normalization with the weights of a Keras layer."""
    from torch.nn import functional

    gamma, beta, mean, variance = weights_of(layer)
    return functional.batch_norm(x, mean, variance, gamma, beta, training, eps=1e-5)


def check_sizes(layer_class, options, rng):
    """One network takes maps of any size, also where it is compiled without knowing them."""
    layer = layer_class(**options)
    model = keras.Sequential([keras.Input((None, None, 6)), layer])
    randomize(layer, rng)
    for shape in ((2, 5, 8, 6), (2, 1, 1, 6), (2, 9, 1, 6)):
        x = rng.normal(size=shape).astype("float32")
        np.testing.assert_allclose(
            model.predict(x, verbose=0), to_numpy(layer(x)), atol=1e-5, rtol=1e-5
        )


def to_numpy(x):
    return x.detach().numpy() if hasattr(x, "detach") else keras.ops.convert_to_numpy(x)
