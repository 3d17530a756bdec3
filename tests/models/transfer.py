"""Weights from a network of `keras.applications` into ours, layer by layer."""

import keras
import numpy as np


def transfer_weights(source, target):
    """Copies all weights in the order of the layers, which both networks build alike.

    Args:
        source: a `keras.Model`.
        target: a `keras.Model` with the same layers, under other names; a classifier may be a 1x1
            convolution in one and a dense layer in the other.
    """
    give, take = ([layer for layer in model.layers if layer.weights] for model in (source, target))
    for ours, theirs in zip(take, give, strict=True):
        values = theirs.get_weights()
        shapes = [tuple(weight.shape) for weight in ours.weights]
        assert [np.size(value) for value in values] == [int(np.prod(s)) for s in shapes], (
            f"{theirs.name} does not fit {ours.name}"
        )
        ours.set_weights([np.reshape(v, s) for v, s in zip(values, shapes, strict=True)])


def randomize(model, rng, spread=0.1):
    """Gives every weight a value other than its initial one, so that none can be confused.

    Args:
        model: a `keras.Model`.
        rng: a `numpy` generator.
        spread: float, standard deviation of what is added; of the gammas and variances, of the
            distance from 1.
    """
    for weight in model.weights:
        noise = spread * rng.normal(size=weight.shape)
        positive = "variance" in weight.path or "gamma" in weight.path
        weight.assign(1 + np.abs(noise) if positive else noise + weight.numpy())


def check_same_outputs(ours, theirs, rng, spread=0.03, atol=1e-4, maps=()):
    """Compares two networks after copying random weights from one to the other.

    Args:
        ours, theirs: a `keras.Model` each.
        rng: a `numpy` generator.
        spread: float, of `randomize`: less, and nothing of the image arrives; more, and rounding
            grows from layer to layer beyond what float32 can compare.
        atol: float, absolute and relative tolerance.
        maps: pair of strings, the names of the layers, of either network, whose outputs are
            compared too.
    """
    randomize(theirs, rng, spread)
    transfer_weights(theirs, ours)
    x = rng.normal(size=(2, *ours.input_shape[1:])).astype("float32")
    results = []
    for model, name in zip((ours, theirs), maps or (None, None), strict=True):
        layers = [model.get_layer(name)] if name else []
        outputs = [*(layer.output for layer in layers), model.output]
        results.append(keras.Model(model.input, outputs)(x))
    for actual, expected in zip(*results, strict=True):
        actual, expected = map(keras.ops.convert_to_numpy, (actual, expected))
        assert np.ptp(expected, axis=0).max() > 100 * atol  # the image tells
        np.testing.assert_allclose(actual, expected, atol=atol, rtol=atol)
