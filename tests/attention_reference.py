"""What the tests of single attention modules share: a reference in PyTorch, places in a network."""

import keras
import numpy as np
import pytest

from models import build_model
from models.saving import load_model


def randomise(layer, rng):
    """Gives every weight of a built layer a value that no other weight has."""
    for weight in layer.weights:
        positive = "variance" in weight.path
        weight.assign(rng.uniform(0.5, 2, weight.shape) if positive else rng.normal(
            0, 0.5, weight.shape))  # fmt: skip


def check_against(layer, reference, x, rng, atol=1e-5):
    """Compares a layer with random weights with the authors' formulation in plain PyTorch.

    Outputs on every backend; gradients of the input and of all weights on PyTorch only.

    Args:
        layer: a layer, channels last.
        reference: function of a dictionary of the layer's weights, such as `"conv1/kernel"`, as
            PyTorch tensors, and of the input, channels first; returns the output, channels first,
            and the maps.
        x: array, channels last.
        rng: numpy generator.
        atol: float, absolute tolerance; of gradients, relative to the largest and tenfold.
    """
    torch = pytest.importorskip("torch")
    layer.build(x.shape)
    randomise(layer, rng)
    names = [weight.path.split("/", 1)[1] for weight in layer.weights]
    state = {
        name: torch.tensor(weight.numpy(), requires_grad=weight.trainable)
        for name, weight in zip(names, layer.weights, strict=True)
    }
    given = torch.tensor(x, dtype=torch.float32, requires_grad=True)
    wanted, wanted_maps = reference(state, given.permute(0, 3, 1, 2))
    wanted = wanted.permute(0, 2, 3, 1)
    y, maps = layer(x.astype("float32"), return_maps=True)
    np.testing.assert_allclose(to_numpy(y), to_numpy(wanted), atol=atol)
    assert set(maps) == set(wanted_maps)
    for key, value in wanted_maps.items():
        np.testing.assert_allclose(
            to_numpy(maps[key]), to_numpy(value.permute(0, 2, 3, 1)), atol=atol, err_msg=key
        )
    if keras.backend.backend() != "torch":
        return
    direction = torch.tensor(rng.normal(size=x.shape), dtype=torch.float32)
    learned = [key for key, value in state.items() if value.requires_grad]
    wanted_slopes = torch.autograd.grad(
        (wanted * direction).sum(), [given, *(state[key] for key in learned)], allow_unused=True
    )
    ours = torch.tensor(x, dtype=torch.float32, requires_grad=True)
    slopes = torch.autograd.grad(
        (layer(ours) * direction).sum(),
        [ours, *(weight.value for weight in layer.trainable_weights)],
        allow_unused=True,
    )
    for key, slope, wanted_slope in zip(["x", *learned], slopes, wanted_slopes, strict=True):
        largest = 1 + float(wanted_slope.abs().max())
        np.testing.assert_allclose(
            to_numpy(slope), to_numpy(wanted_slope), atol=10 * atol * largest, err_msg=key
        )


def batch_norm(state, name, x, training=False):
    """PyTorch's normalisation with the weights of the layer's normalisation called `name`."""
    import torch

    mean, variance = (
        state[f"{name}/moving_{kind}"].detach().clone() for kind in ("mean", "variance")
    )
    gamma, beta = state[f"{name}/gamma"], state[f"{name}/beta"]
    return torch.nn.functional.batch_norm(x, mean, variance, gamma, beta, training, eps=1e-5)


def conv_kernel(state, name):
    """The kernel of the layer's convolution called `name`, as PyTorch orders it."""
    return state[f"{name}/kernel"].permute(3, 2, 0, 1)


def to_numpy(x):
    return x.detach().numpy() if hasattr(x, "detach") else keras.ops.convert_to_numpy(x)


def check_sizes(layer_class, options, rng):
    """One network takes maps of any size, also where it is compiled without knowing them."""
    layer = layer_class(**options)
    model = keras.Sequential([keras.Input((None, None, 6)), layer])
    randomise(layer, rng)
    for shape in ((2, 5, 8, 6), (2, 1, 1, 6), (2, 9, 1, 6)):
        x = rng.normal(size=shape).astype("float32")
        np.testing.assert_allclose(
            model.predict(x, verbose=0), to_numpy(layer(x)), atol=1e-5, rtol=1e-5
        )


def check_placements(name, layer_class, tmp_path, rng):
    """The block by its name in every place of a network, trained, saved and loaded."""
    options = {"depth": 8, "input_shape": (32, 32, 3), "classes": 4}
    for place in ("block", "stage", "head"):
        model = build_model("resnet_v1", **options, attention_module=name, attention_at=place)
        placed = [layer for layer in model.layers if isinstance(layer, layer_class)]
        assert len(placed) == {"block": 3, "stage": 2, "head": 1}[place]
        for layer in placed:
            randomise(layer, rng)
        x = rng.normal(size=(2, 32, 32, 3)).astype("float32")
        path = tmp_path / f"{place}.keras"
        model.save(path)
        expected = model.predict(x, verbose=0)
        assert np.isfinite(expected).all()
        np.testing.assert_allclose(load_model(path).predict(x, verbose=0), expected, atol=1e-6)
