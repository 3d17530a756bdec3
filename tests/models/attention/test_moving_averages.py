"""How fast batch normalizations average, which no output at one moment tells."""

import keras
import numpy as np
import pytest

from models.attention_module import (
    BAM,
    CAA,
    GAM,
    CoordinateAttention,
    SpatialAttention,
    TripletAttention,
)
from models.private_api import all_layers

pytestmark = pytest.mark.once


@pytest.mark.parametrize(
    ("layer", "momentum"),
    [
        (BAM(), 0.9),
        (CAA(), 0.97),
        (CoordinateAttention(), 0.9),
        (GAM(), 0.9),
        (SpatialAttention(batch_norm=True), 0.99),
        (TripletAttention(), 0.99),
    ],
)
def test_momentum(layer, momentum, rng):
    """An average of equal values starts at zero: a second step adds what is left of the first."""
    x = rng.normal(size=(4, 6, 5, 16)).astype("float32")
    layer.build(x.shape)
    norms = [part for part in all_layers(layer) if type(part).__name__ == "BatchNormalization"]
    assert norms
    averages = []
    for _ in range(2):
        layer(x, training=True)
        averages.append([keras.ops.convert_to_numpy(norm.moving_mean) for norm in norms])
    for first, second in zip(*averages, strict=True):
        np.testing.assert_allclose(second, (1 + momentum) * first, rtol=1e-4, atol=1e-7)
        assert np.abs(first).max() > 0
