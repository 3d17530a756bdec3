"""What blocks do to images, against numpy, on a network whose blocks are known."""

import keras
import numpy as np
import pytest
from matplotlib.image import imread

from models.attention_module import CBAM
from utils.explain.blocks import blocks_while_training, differences_of_blocks, gates_of_blocks
from utils.plots.blocks import plot_blocks


@pytest.fixture
def images(rng):
    return rng.normal(3, 2, (8, 6, 5, 4)).astype("float32")


def normalized_network(**options):
    """A network of a batch normalization and CBAM, and both layers."""
    image = keras.Input((6, 5, 4))
    normalization, block = keras.layers.BatchNormalization(), CBAM(kernel_size=3, **options)
    return keras.Model(image, block(normalization(image))), normalization, block


def test_gates_and_differences_are_those_of_the_batch_and_move_no_average(images):
    network, normalization, block = normalized_network()
    before = normalization.get_weights()
    gates, (difference,) = (
        gates_of_blocks(network, images, training=True),
        differences_of_blocks(network, images),
    )
    axes = (0, 1, 2)
    normalized = (images - images.mean(axes)) / np.sqrt(images.var(axes) + normalization.epsilon)
    output, maps = block(normalized, return_maps=True)
    for kind in ("channel", "spatial"):
        (gate,) = gates[kind]
        np.testing.assert_allclose(gate, keras.ops.convert_to_numpy(maps[kind]), rtol=1e-4)
    spread = np.std(keras.ops.convert_to_numpy(output), axis=0)
    assert difference == pytest.approx(spread.mean(), rel=1e-4)
    for value, now in zip(before, normalization.get_weights(), strict=True):
        np.testing.assert_array_equal(value, now)


def test_a_shut_gate_leaves_no_difference(images):
    network, _, block = normalized_network(start="half")
    (spatial_kernel,) = (v for v in block.trainable_variables if v.shape[:2] == (3, 3))
    spatial_kernel.assign(keras.ops.full(spatial_kernel.shape, -1e4))
    network.layers[1].beta.assign([1.0] * 4)  # so that most of the maps' means are above zero
    shut = gates_of_blocks(network, images)["spatial"][0]
    open_network, _, _ = normalized_network(start="identity")
    assert shut.mean() < 0.1
    assert differences_of_blocks(network, images)[0] < 0.1
    assert differences_of_blocks(open_network, images)[0] > 0.5


def test_a_network_without_attention_has_no_blocks(images):
    image = keras.Input((6, 5, 4))
    network = keras.Model(image, keras.layers.ReLU()(image))
    assert gates_of_blocks(network, images) == {}
    assert differences_of_blocks(network, images) == []


@pytest.mark.long
def test_while_training(cifar10_dir):
    found = blocks_while_training(
        [0, 2],
        str(cifar10_dir),
        model="mobilenet",
        alpha=0.125,
        stem="cifar",
        attention="cbam_block(start='half')",
        validation_split=0.1,
    )
    assert list(found) == ["0", "2"]
    assert found["0"]["spatial"] == [0.5] * 13
    assert found["2"]["spatial"] != [0.5] * 13
    assert len(found["2"]["difference"]) == 13


@pytest.mark.once
def test_the_picture(tmp_path):
    step = {"spatial": [0.5, 0.1, 1.4], "difference": [0.2, 0.1, 0.0]}
    runs = {"seed 0": {"0": step, "10": step}, "seed 1": {"0": step}}
    plot_blocks(tmp_path / "blocks.png", runs)
    assert imread(tmp_path / "blocks.png").shape[:2] == (528, 1080)
