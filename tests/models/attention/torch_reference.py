"""What the tests of the modules share: PyTorch as the reference, and a network with a module."""

import keras
import numpy as np
import pytest

from models import build_model

SHAPES = ((2, 7, 5, 16), (3, 4, 9, 40), (1, 6, 1, 3), (2, 1, 1, 8))


def compare_with_torch(make, reference, rng, shapes=SHAPES):
    """Outputs and gradients of a layer against its authors' formulation, channels first.

    Args:
        make: function that makes the layer.
        reference: function of the built layer and a float64 torch tensor `(batch, channels,
            height, width)` that computes what the layer should.
        rng: numpy generator.
        shapes: channels-last shapes to compare at.
    """
    torch = pytest.importorskip("torch")
    for shape in shapes:
        layer = make()
        layer.build((None, None, None, shape[-1]))
        randomise(layer, rng)
        x, direction = (rng.normal(size=shape).astype("float32") for _ in range(2))
        x_torch = torch.tensor(x.transpose(0, 3, 1, 2), dtype=torch.float64, requires_grad=True)
        wanted = reference(layer, x_torch)
        upstream = torch.tensor(direction.transpose(0, 3, 1, 2), dtype=torch.float64)
        (gradient,) = torch.autograd.grad((wanted * upstream).sum(), x_torch)
        for got, expected in (
            (keras.ops.convert_to_numpy(layer(x)), wanted),
            (input_gradient(layer, x, direction), gradient),
        ):
            expected = expected.detach().numpy().transpose(0, 2, 3, 1)
            np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-5)


def randomise(layer, rng):
    """Zeros and ones, as weights are at first, would hide a mistake; large logits would round."""
    for weight in layer.weights:
        value = rng.normal(size=weight.shape) / np.sqrt(np.prod(weight.shape[:-1]))
        weight.assign(rng.uniform(0.5, 2, weight.shape) if "variance" in weight.path else value)


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

        return np.asarray(jax.grad(lambda x: (layer(x) * direction).sum())(jax.numpy.asarray(x)))
    import torch

    x = keras.ops.convert_to_tensor(x).requires_grad_(True)
    value = (layer(x) * keras.ops.convert_to_tensor(direction)).sum()
    return torch.autograd.grad(value, x)[0].numpy()


def weights_of(layer):
    """The weights of a Keras layer as float64 tensors in the layouts of PyTorch's functions."""
    import torch

    values = [torch.tensor(weight.numpy(), dtype=torch.float64) for weight in layer.weights]
    # (height, width, in, out), (length, in, out) or (in, out), in PyTorch the other way round
    order = {4: (3, 2, 0, 1), 3: (2, 1, 0), 2: (1, 0), 1: (0,)}
    return [value.permute(order[value.ndim]) for value in values]


def batch_norm(layer, x):
    """PyTorch's batch normalisation with the weights of a Keras layer."""
    from torch.nn import functional

    gamma, beta, mean, variance = weights_of(layer)
    return functional.batch_norm(x, mean, variance, gamma, beta, eps=1e-5)


def check_in_a_network(name, place, folder, rng):
    """A network with the module at a place computes the same after it was saved and loaded."""
    model = build_model(
        "resnet_v1",
        depth=8,
        attention_module=name,
        attention_at=place,
        input_shape=(32, 32, 3),
    )
    model.save(folder / "model.keras")
    again = keras.saving.load_model(folder / "model.keras", safe_mode=True)
    x = rng.normal(size=(2, 32, 32, 3)).astype("float32")
    np.testing.assert_allclose(again.predict(x, verbose=0), model.predict(x, verbose=0), atol=1e-6)
    assert [layer.name for layer in again.layers] == [layer.name for layer in model.layers]
