"""Attention maps of whole networks: of which layers, and that the layers multiply by them."""

import keras
import numpy as np
import pytest

from models import build_model
from models.attention_module import CBAM, IdentityStart, cbam_block, sk_block, split_block
from models.class_activation import GradCAM, grad_cam, stage_layers
from models.surgery import add_attention
from tests.models.transfer import randomize
from utils.explain.attention_maps import attention_maps

FAMILIES = {
    "resnet_v1": {"depth": 8},
    "resnet_v2": {"depth": 11},
    "resnet": {"depth": 18, "width": 0.125},
    "resnext": {"depth": 29, "cardinality": 2, "width": 4},
    "mobilenet": {"alpha": 0.125},
    "densenet": {"depth": 13},
    "inception_v3": {},
    "inception_resnet_v2": {},
}
LONG = {"inception_resnet_v2", "inception_v3", "resnext"}


def build(name, attention, **options):
    return build_model(
        name, input_shape=(32, 32, 3), classes=4, attention_module=attention, **options
    )


def input_and_output(network, layer, images):
    """The input and the output of a layer."""
    layer = network.get_layer(layer)
    return keras.Model(network.inputs, [layer.input, layer.output]).predict(images, verbose=0)


@pytest.mark.once  # JAX compiles every operation by itself
def test_maps_of_cbam_multiply_to_its_outputs(rng):
    network = build("resnet_v1", "cbam_block", depth=14)
    images = rng.normal(size=(3, 32, 32, 3)).astype("float32")
    found = attention_maps(network, images)
    assert [maps.layer for maps in found] == [f"stage{i}_block2_attention" for i in (1, 2, 3)]
    for maps in found:
        before, after = input_and_output(network, maps.layer, images)
        gates = maps.channel[:, None, None, :] * maps.spatial[..., None]
        np.testing.assert_allclose(before * gates, after, atol=1e-5)


@pytest.mark.once
def test_rows_and_columns_that_multiply(rng):
    network = build("resnet_v1", "coordinate_block", depth=8)
    randomize(network, rng, 0.5)  # at first all gates are nearly the same
    images = rng.normal(size=(2, 32, 32, 3)).astype("float32")
    maps = attention_maps(network, images)[0]
    before, after = input_and_output(network, maps.layer, images)
    assert maps.channel is None
    gates = np.divide(after, before, out=np.full_like(after, np.nan), where=before != 0)
    np.testing.assert_allclose(maps.spatial, np.nanmean(gates, axis=-1), atol=1e-5)
    assert np.ptp(maps.spatial, axis=(1, 2)).min() > 0.1
    assert np.abs(maps.spatial - maps.spatial.swapaxes(1, 2)).max() > 0.1


@pytest.mark.once
def test_channels_first(rng):
    images = rng.normal(size=(2, 32, 32, 3)).astype("float32")
    last = build("resnet_v1", "cbam_block", depth=8)
    keras.config.set_image_data_format("channels_first")
    first = build_model(
        "resnet_v1", input_shape=(3, 32, 32), classes=4, attention_module="cbam_block", depth=8
    )
    first.set_weights(last.get_weights())
    found = attention_maps(first, images.transpose(0, 3, 1, 2))
    keras.config.set_image_data_format("channels_last")
    for maps, wanted in zip(found, attention_maps(last, images), strict=True):
        assert maps.size == wanted.size
        np.testing.assert_allclose(maps.spatial, wanted.spatial, atol=1e-5)
        np.testing.assert_allclose(maps.channel, wanted.channel, atol=1e-5)


@pytest.mark.once
def test_none_and_after_surgery(rng):
    network = build("resnet_v1", None, depth=8)
    images = rng.normal(size=(2, 32, 32, 3)).astype("float32")
    assert attention_maps(network, images) == []
    attended = add_attention(network, "cbam_block", at="auto")
    assert attention_maps(attended, images)[0].spatial.shape == (2, 32, 32)


@pytest.mark.once
@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[pytest.mark.long] if n in LONG else []) for n in FAMILIES]
)
def test_every_architecture_can_be_explained(name, rng):
    network = build(name, "cbam_block", **FAMILIES[name])
    images = rng.normal(size=(2, 32, 32, 3)).astype("float32")
    cams = grad_cam(network, images, np.array([0, 3]))
    assert cams.shape == (2, 32, 32)
    assert np.isfinite(cams).all()
    maps = attention_maps(network, images)
    sizes = [m.spatial.shape[1] for m in maps]
    assert len(sizes) >= 2
    assert sizes == sorted(sizes, reverse=True)
    assert all(m.channel.shape[0] == 2 for m in maps)
    layers = stage_layers(network)
    assert [height for height, _ in layers] == sizes
    for layer in layers.values():
        cams = GradCAM(network, layer)(images, np.array([0, 3]))
        assert cams.shape == (2, 32, 32)


@pytest.mark.once
@pytest.mark.parametrize(
    ("block", "options", "names"),
    [
        (sk_block, {"branches": 3}, ["branch1", "branch2", "branch3"]),
        (split_block, {}, ["split1", "split2"]),
    ],
)
def test_branches_are_kept_by_name_and_are_no_gate(block, options, names, rng):
    image = keras.Input((6, 5, 8))
    network = keras.Model(image, block(image, **options))
    randomize(network, rng, 0.5)
    (found,) = attention_maps(network, rng.normal(size=(2, 6, 5, 8)).astype("float32"))
    assert found.channel is None
    assert found.spatial is None
    assert list(found.branches) == names
    shares = np.stack(list(found.branches.values()))
    assert shares.shape == (len(names), 2, 8)
    np.testing.assert_allclose(shares.sum(axis=0), 1, atol=1e-5)  # as the papers have it
    assert np.ptp(shares, axis=0).min() > 1e-4


@pytest.mark.once
def test_the_only_split_is_the_gate_of_the_channels(rng):
    image = keras.Input((6, 5, 8))
    network = keras.Model(image, split_block(image, radix=1))
    (found,) = attention_maps(network, rng.normal(size=(2, 6, 5, 8)).astype("float32"))
    assert found.channel.shape == (2, 8)
    assert found.branches == {}


@pytest.mark.once
def test_maps_of_one_position_are_told_apart_by_their_names(rng):
    image = keras.Input((1, 1, 8))
    network = keras.Model(image, cbam_block(image))
    pixels = rng.normal(size=(2, 1, 1, 8)).astype("float32")
    (found,) = attention_maps(network, pixels)
    assert found.channel.shape == (2, 8)
    assert found.spatial.shape == (2, 1, 1)
    gates = found.channel[:, None, None, :] * found.spatial[..., None]
    np.testing.assert_allclose(pixels * gates, network.predict(pixels, verbose=0), atol=1e-5)


@pytest.mark.once
def test_a_module_that_starts_as_the_identity_has_maps(rng):
    image = keras.Input((6, 5, 8))
    network = keras.Model(image, IdentityStart(CBAM())(image))
    (found,) = attention_maps(network, rng.normal(size=(2, 6, 5, 8)).astype("float32"))
    assert found.channel.shape == (2, 8)
