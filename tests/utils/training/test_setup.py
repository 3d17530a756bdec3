"""What the settings of a training set up: loss, learning rates, augmentation, checkpoints."""

import keras
import numpy as np
import pytest
from keras import ops

from tests.utils.feeding.test_sources import make_dataset
from utils.config.settings import TrainSettings
from utils.data.images.image_files import ImageFiles
from utils.feeding.sources import image_source
from utils.runs.progress import Progress
from utils.training.callbacks import Checkpointer
from utils.training.setup import cross_entropy, make_setup, unfreeze

INDICES = np.arange(8)


def settings_of(**changes):
    usual = {"depth": 8, "attention": "se_block", "batch_size": 4, "learning_rate": 0.1}
    return TrainSettings(**{**usual, "validation_split": 0.0, "precision": "float32", **changes})


def numpy_cross_entropy(targets, logits):
    log_of_sum = np.log(np.exp(logits).sum(axis=-1, keepdims=True))
    return -(targets * (logits - log_of_sum)).sum(axis=-1)


def test_label_smoothing_moves_a_part_of_the_target_to_all_classes(rng):
    labels, logits = np.array([0, 3, 1]), rng.normal(size=(3, 4)).astype("float32")
    losses = cross_entropy(4, 0.2)(ops.convert_to_tensor(labels), logits)
    expected = numpy_cross_entropy(0.8 * np.eye(4)[labels] + 0.2 / 4, logits)
    np.testing.assert_allclose(ops.convert_to_numpy(losses), expected, rtol=1e-5)


def test_the_loss_has_the_smoothing_and_the_class_weights_of_the_settings(rng):
    data = make_dataset(rng.integers(0, 256, (8, 8, 8, 3), "uint8"))
    data.y_train[:] = [0, 0, 0, 0, 0, 0, 1, 1]
    setup = make_setup(settings_of(label_smoothing=0.1, class_weights="balanced"), data)
    labels, logits = np.array([0, 1]), rng.normal(size=(2, 2)).astype("float32")
    losses = setup.model.loss(ops.convert_to_tensor(labels), logits)
    weights = np.array([8 / (2 * 6), 8 / (2 * 2)])
    expected = weights * numpy_cross_entropy(0.9 * np.eye(2)[labels] + 0.1 / 2, logits)
    np.testing.assert_allclose(ops.convert_to_numpy(losses), expected, rtol=1e-5)


def test_the_backbone_learns_at_its_own_rate():
    data = make_dataset(np.zeros((8, 8, 8, 3), "uint8"))
    model = make_setup(settings_of(backbone_rate=0.25), data).model
    paths = [variable.path for variable in model.trainable_variables]
    rates = dict(zip(paths, model.optimizer.rates, strict=True))
    new = {path for path in rates if "attention" in path or "logits" in path}
    assert {rates[path] for path in new} == {1.0}
    assert {rates[path] for path in rates.keys() - new} == {0.25}


def test_attention_learns_at_its_own_rate():
    data = make_dataset(np.zeros((8, 8, 8, 3), "uint8"))
    model = make_setup(settings_of(attention_rate=0.25), data).model
    paths = [variable.path for variable in model.trainable_variables]
    rates = dict(zip(paths, model.optimizer.rates, strict=True))
    assert {path for path, rate in rates.items() if rate == 0.25} == {
        path for path in paths if "attention" in path
    }
    assert set(rates.values()) == {0.25, 1.0}


def test_after_unfreezing_adam_begins_anew_and_the_learning_rate_goes_on(rng, tmp_path):
    data = make_dataset(rng.integers(0, 256, (8, 8, 8, 3), "uint8"))
    make_setup(settings_of(attention="none"), data).network.save(tmp_path / "first.keras")
    settings = settings_of(
        init=str(tmp_path / "first.keras"), attention="none", optimizer="adam", weight_decay=0.0,
        schedule="cosine", epochs=4, freeze="backbone", unfreeze_after=3,
    )  # fmt: skip
    setup = make_setup(settings, data)
    unfreeze(settings, setup)
    before = [ops.convert_to_numpy(v) for v in setup.model.trainable_variables]
    setup.batches.start_epoch(3, skip=0)
    inputs, labels = setup.batches[0][:2]
    setup.model.train_on_batch(inputs, labels)
    after = [ops.convert_to_numpy(v) for v in setup.model.trainable_variables]
    moved = max(np.abs(b - a).max() for a, b in zip(before, after, strict=True))
    # Adam's first step is the learning rate, whatever the gradient: after 6 of 8 steps
    expected = 0.1 * 0.5 * (1 + np.cos(np.pi * 6 / 8))
    np.testing.assert_allclose(moved, expected, rtol=1e-2)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, (0, True, 0)),
        ({"crop_padding": 3, "cutout": 5}, (3, True, 5)),
        ({"crop_padding": 3, "flip": False}, (3, False, 0)),
        ({"crop_padding": 3, "augment": False, "cutout": 5}, (0, False, 5)),
    ],
)
def test_images_in_memory_are_augmented_as_the_settings_say(changes, expected):
    source = image_source(make_dataset(np.zeros((8, 8, 8, 3), "uint8")))
    batches = source.training_batches(settings_of(**changes), INDICES)
    assert (batches.crop_padding, batches.flip, batches.cutout) == expected


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, (0.08, True, 0, 0.0, 0.0)),
        ({"crop": 0.5, "flip": False}, (0.5, False, 0, 0.0, 0.0)),
        ({"rand_augment": 9, "mixup": 0.2, "cutmix": 1.0}, (0.08, True, 9, 0.2, 1.0)),
        ({"augment": False, "mixup": 0.2}, (0.0, False, 0, 0.2, 0.0)),
    ],
)
def test_images_on_disk_are_augmented_as_the_settings_say(changes, expected, tmp_path):
    source = image_source(make_dataset(ImageFiles([tmp_path / "nowhere.png"] * 8, 16)))
    found = source.training_batches(settings_of(workers=0, **changes), INDICES).read.augmentation
    assert (found.crop, found.flip, found.rand_augment, found.mixup, found.cutmix) == expected


def test_a_checkpoint_every_so_many_minutes(tmp_path, monkeypatch):
    """With a clock of its own: after two minutes, counted from the last one that was written."""
    now = 0.0
    monkeypatch.setattr("utils.training.callbacks.time.monotonic", lambda: now)
    progress, written = Progress(), []
    checkpointer = Checkpointer(tmp_path, progress, 100, "2m", {}, received_signal=lambda: 0)
    checkpointer.set_model(keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)]))
    monkeypatch.setattr(
        "utils.training.callbacks.write_checkpoint", lambda *_: written.append(progress.step)
    )
    checkpointer.model.compile("sgd", "mse")
    for step in range(1, 9):
        now += 50.0
        progress.step = step
        checkpointer.on_train_batch_end(step)
    assert written == [3, 6]
