"""Quantiles of gates against numpy, on a network whose gates are known."""

import keras
import numpy as np
import pytest
from matplotlib.image import imread

from models.attention_module import CBAM, IdentityStart, cbam_block
from utils.explain.gates import QUANTILES, gate_quantiles, gates_while_training
from utils.plots import gates as gates_plot
from utils.plots.gates import plot_gates


def network(**options):
    image = keras.Input((6, 5, 4))
    return keras.Model(image, cbam_block(image, kernel_size=3, **options))


def test_gates_that_start_at_one(rng):
    found = gate_quantiles(network(start="identity"), rng.normal(size=(3, 6, 5, 4)))
    assert found == {"channel": [1] * 5, "spatial": [1] * 5, "border": [1, 1]}
    without = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    assert gate_quantiles(without, np.zeros((1, 2))) == {}


def test_quantiles_are_those_of_the_maps(rng):
    model, images = network(), rng.normal(size=(3, 6, 5, 4)).astype("float32")
    (layer,) = (layer for layer in model.layers if isinstance(layer, CBAM))
    _, maps = layer(images, return_maps=True)
    maps = {kind: keras.ops.convert_to_numpy(gate) for kind, gate in maps.items()}
    found = gate_quantiles(model, images)
    for kind, gate in maps.items():
        np.testing.assert_allclose(found[kind], np.quantile(gate, QUANTILES), rtol=1e-5)
    spatial = maps["spatial"][..., 0]
    inside = spatial[:, 1:-1, 1:-1]
    border = (spatial.sum() - inside.sum()) / (spatial.size - inside.size)
    np.testing.assert_allclose(found["border"], [border, inside.mean()], rtol=1e-5)


def test_gates_in_training_are_those_of_the_batch_and_move_no_average(rng):
    image, images = keras.Input((6, 5, 4)), rng.normal(3, 2, (8, 6, 5, 4)).astype("float32")
    normalization, block = keras.layers.BatchNormalization(), CBAM(kernel_size=3)
    model = keras.Model(image, block(normalization(image)))
    before = normalization.get_weights()
    found = gate_quantiles(model, images, training=True)
    axes = (0, 1, 2)
    normalized = (images - images.mean(axes)) / np.sqrt(images.var(axes) + normalization.epsilon)
    _, maps = block(normalized, return_maps=True)
    for kind in ("channel", "spatial"):
        gate = keras.ops.convert_to_numpy(maps[kind])
        np.testing.assert_allclose(found[kind], np.quantile(gate, QUANTILES), rtol=1e-4)
    for value, now in zip(before, normalization.get_weights(), strict=True):
        np.testing.assert_array_equal(value, now)


@pytest.mark.once
def test_a_module_that_starts_as_the_identity_has_gates(rng):
    image, images = keras.Input((6, 5, 4)), rng.normal(size=(3, 6, 5, 4)).astype("float32")
    module = CBAM(kernel_size=3)
    found = gate_quantiles(keras.Model(image, IdentityStart(module)(image)), images)
    _, maps = module(images, return_maps=True)
    for kind in ("channel", "spatial"):
        gate = keras.ops.convert_to_numpy(maps[kind])
        np.testing.assert_allclose(found[kind], np.quantile(gate, QUANTILES), rtol=1e-5)


@pytest.mark.once
def test_the_picture(tmp_path):
    gates = {"channel": [0.1, 0.2, 0.5, 0.6, 1.0], "spatial": [0.5] * 5}
    plot_gates(
        tmp_path / "gates.png", {"none": {"0": {}}, "cbam_block": {"0": gates, "end": gates}}
    )
    assert imread(tmp_path / "gates.png").shape[:2] == (504, 1080)


@pytest.mark.once
def test_a_picture_of_many_modules(tmp_path, monkeypatch):
    """Their boxes keep to the half of the way to the next step, and no color is missing."""
    drawn, gates = [], {"channel": [0.1, 0.2, 0.5, 0.6, 1.0]}
    draw = gates_plot._draw_boxes

    def record(axes, steps, kind, times, shift, color, label):
        drawn.append((label, shift))
        draw(axes, steps, kind, times, shift, color, label)

    monkeypatch.setattr(gates_plot, "_draw_boxes", record)
    plot_gates(tmp_path / "gates.png", {f"form{n}": {"0": gates, "end": gates} for n in range(9)})
    shifts = np.array([shift for _, shift in drawn[:9]])
    assert np.abs(shifts).max() < 0.5
    assert np.diff(shifts).min() > 0
    assert shifts.mean() == pytest.approx(0)


@pytest.mark.long
def test_while_training(cifar10_dir):
    found = gates_while_training("cbam_block(start='half')", [0, 2], str(cifar10_dir), 0.1)
    assert list(found) == ["0", "2"]
    assert found["0"]["channel"] == pytest.approx([0.5] * 5)
    assert "gradient" not in found["0"]
    assert found["2"]["gradient"] > 0
