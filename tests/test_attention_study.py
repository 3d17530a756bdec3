"""The modules of the attention study that the library does not have."""

import keras
import numpy as np
import pytest

from models import attach_attention_module
from models.attention_module import CBAM
from models.fast import disabled, install
from models.saving import load_model, save_model
from tests.processes import ROOT

pytestmark = [
    pytest.mark.once, pytest.mark.fast_attention, pytest.mark.usefixtures("any_size")
]  # fmt: skip

FILE = ROOT / "configs" / "attention-study" / "variants.py"


def model_with(block):
    image = keras.Input((8, 7, 16))
    return install(keras.Model(image, attach_attention_module(image, f"{FILE}:{block}")))


@pytest.mark.parametrize("block", ["reflected_block", "doubled_block"])
def test_is_saved_and_loaded(block, tmp_path, rng):
    model, x = model_with(block), rng.normal(size=(2, 8, 7, 16)).astype("float32")
    for weight in model.weights:
        weight.assign(rng.normal(size=weight.shape) / 4)
    save_model(model, tmp_path / "model.keras")
    loaded = load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(loaded.predict_on_batch(x), model.predict_on_batch(x), rtol=1e-6)


def test_reflected_maps_continue_as_in_a_mirror(rng):
    model, x = model_with("reflected_block"), rng.normal(size=(2, 8, 7, 16)).astype("float32")
    np.testing.assert_allclose(model.predict_on_batch(x), x, rtol=1e-6)  # it starts at the identity
    layer = model.layers[-1]
    for weight in layer.weights:
        weight.assign(rng.normal(size=weight.shape) / 4)
    _, maps = layer(x, return_maps=True)
    gated = x * keras.ops.convert_to_numpy(maps["channel"])
    seen = np.stack([gated.mean(-1), gated.max(-1)], -1)
    seen = np.pad(seen, [(0, 0), (3, 3), (3, 3), (0, 0)], mode="reflect")
    kernel = keras.ops.convert_to_numpy(layer.spatial.conv.kernel)[..., 0]
    windows = np.lib.stride_tricks.sliding_window_view(seen, (7, 7), axis=(1, 2))
    logits = np.einsum("nhwcij,ijc->nhw", windows, kernel)
    expected = 2 / (1 + np.exp(-logits))
    np.testing.assert_allclose(
        keras.ops.convert_to_numpy(maps["spatial"])[..., 0], expected, rtol=1e-4
    )
    y = model.predict_on_batch(x)  # where CBAM itself has a fast form
    np.testing.assert_allclose(y, gated * expected[..., None], rtol=1e-4, atol=1e-6)


def test_doubled_gates_are_twice_those_of_cbam(rng):
    model, x = model_with("doubled_block"), rng.normal(size=(2, 8, 7, 16)).astype("float32")
    doubled, plain = model.layers[-1], CBAM()
    plain.build(x.shape)
    plain.set_weights(doubled.get_weights())
    with disabled(CBAM):
        _, maps = doubled(x, return_maps=True)
        _, of_cbam = plain(x, return_maps=True)
    np.testing.assert_allclose(
        keras.ops.convert_to_numpy(maps["channel"]),
        2 * keras.ops.convert_to_numpy(of_cbam["channel"]),
        rtol=1e-5,
    )
