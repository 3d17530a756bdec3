"""A subclass of an attention layer takes its fast form only where it computes the same."""

import keras
import numpy as np
import pytest

from models import fast
from models.attention_module import CBAM, SE, ChannelAttention, SpatialAttention
from tests.models.fast_forms import layers_of

pytestmark = [
    pytest.mark.fast_attention,
    pytest.mark.skipif(
        keras.backend.backend() != "tensorflow", reason="the fast forms are TensorFlow's on a CPU"
    ),
]


class Inheriting(CBAM):
    """Computes what `CBAM` does."""


class Attending(CBAM):
    def attend(self, inputs, training=None):
        return 2 * inputs, {}


class Calling(CBAM):
    def call(self, inputs, training=None, return_maps=False):
        return 2 * inputs


@pytest.mark.parametrize("subclass", [Inheriting, Attending, Calling])
def test_a_subclass_that_computes_otherwise_has_no_fast_form(subclass, any_size, rng):
    image = keras.Input((4, 4, 8))
    model = keras.Model(image, subclass()(image))
    x = rng.normal(size=(2, 4, 4, 8)).astype("float32")
    with fast.recorded() as used:
        y = model.predict_on_batch(x)
    assert layers_of(used) == ({CBAM} if subclass is Inheriting else set())
    if subclass is not Inheriting:
        np.testing.assert_array_equal(y, 2 * x)


class Darker(SpatialAttention):
    def _describe(self, inputs):
        return super()._describe(inputs) - 5


def test_a_subclass_with_a_half_of_its_own_has_no_fast_form(any_size, rng):
    layer = CBAM(kernel_size=3)
    layer.spatial = Darker(3, name="spatial")
    image = keras.Input((4, 4, 8))
    model = keras.Model(image, layer(image))
    x = rng.normal(size=(2, 4, 4, 8)).astype("float32")
    with fast.recorded() as used:
        y = model.predict_on_batch(x)
    assert CBAM not in layers_of(used)
    between = keras.ops.convert_to_numpy(layer.channel(x))
    maps = np.stack([between.mean(axis=-1), between.max(axis=-1)], axis=-1) - 5
    gate = keras.ops.convert_to_numpy(keras.ops.sigmoid(layer.spatial.conv(maps)))
    np.testing.assert_allclose(y, between * gate, rtol=1e-4, atol=1e-6)


class Halving:
    def gated(self, x, *gates):
        return super().gated(x, *gates) / 2


class HalvingChannels(Halving, ChannelAttention):
    pass


class HalvingSE(Halving, SE):
    pass


class HalvingCBAM(Halving, CBAM):
    pass


@pytest.mark.parametrize("subclass", [HalvingChannels, HalvingSE, HalvingCBAM])
def test_a_subclass_with_a_product_of_its_own_has_no_fast_form(subclass, any_size, rng):
    layer = subclass()
    image = keras.Input((4, 4, 8))
    model = keras.Model(image, layer(image))
    x = rng.normal(size=(2, 4, 4, 8)).astype("float32")
    with fast.recorded() as used:
        y = model.predict_on_batch(x)
    assert not {ChannelAttention, CBAM} & layers_of(used)
    _, maps = layer(x, return_maps=True)
    expected = x * keras.ops.convert_to_numpy(maps["channel"])
    if subclass is HalvingCBAM:  # whose halves take the products, but where they are in parallel
        expected = expected * keras.ops.convert_to_numpy(maps["spatial"])
    else:
        expected = expected / 2
    np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-6)
