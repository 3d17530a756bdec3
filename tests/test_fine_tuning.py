"""Fine-tuning: frozen layers, rates, class weights and an early end, also after a resumption."""

import csv
import json
import os
import shutil
import signal

import keras
import numpy as np
import pytest
from keras import ops

from main import main
from models.saving import load_model
from tests.commands import refused
from tests.image_folders import write_image_folder
from tests.run_folders import variables
from utils.training import callbacks
from utils.training.fine_tuning import balanced_weights
from utils.training.optimizers import make_optimizer
from utils.training.setup import cross_entropy

pytestmark = pytest.mark.once

SMALL = ["--batch-size", "20", "--precision", "float32"]


@pytest.fixture(scope="module")
def first(cifar10_dir, tmp_path_factory):
    """A run without attention, of depth 8."""
    run = tmp_path_factory.mktemp("first") / "first"
    train(cifar10_dir, run, "--attention", "none", "--depth", "8", "--epochs", "1")
    return run


def training(data, run, *arguments):
    """The words of a command line that trains."""
    return [*SMALL, "--data-dir", str(data), "--run-dir", str(run), *map(str, arguments)]


def train(data, run, *arguments):
    main(training(data, run, *arguments))


def config(run):
    return json.loads((run / "config.json").read_text())


def weights_of(run):
    """The weights of a run's network, by layer."""
    return {layer.name: layer.get_weights() for layer in load_model(run / "best.keras").layers}


def changed(before, after):
    """The names of the layers of both networks whose weights differ."""
    return {
        name
        for name in before.keys() & after.keys()
        if any(not np.array_equal(*pair) for pair in zip(before[name], after[name], strict=True))
    }


def test_a_frozen_backbone_stays_as_it_is(first, cifar10_dir, tmp_path, capsys):
    run = tmp_path / "run"
    start = ["--init", first, "--attention", "se_block", "--freeze", "backbone", "--epochs", "1"]
    train(cifar10_dir, run, *start)
    said = capsys.readouterr().out
    assert "recipe finetune; " in said
    before, after = weights_of(first), weights_of(run)
    assert changed(before, after) == {"logits"}  # statistics of normalizations stay, too
    network = load_model(run / "best.keras")
    assert all(layer.trainable for layer in network.layers)
    count = sum(
        np.size(weight)
        for name in ("logits", *(name for name in after if name not in before))
        for weight in after[name]
    )
    assert f"{count:,} parameters learn" in said
    # the network is that of the first run, without being told
    assert (config(run)["model"], config(run)["depth"]) == ("resnet_v1", 8)


@pytest.fixture(scope="module")
def unfrozen(first, cifar10_dir, tmp_path_factory):
    """A run of three epochs, of which the first is that of the classifier alone."""
    run = tmp_path_factory.mktemp("unfrozen") / "whole"
    train(cifar10_dir, run, *unfreezing(first))
    return run


def unfreezing(first):
    return ["--init", first, "--freeze", "backbone", "--unfreeze-after", 1, "--epochs", 3,
            "--checkpoint-every", 3, "--validation-split", 0]  # fmt: skip


def test_all_layers_learn_later(first, unfrozen):
    assert changed(weights_of(first), weights_of(unfrozen)) > {"stem_conv", "logits"}
    with open(unfrozen / "metrics.csv", newline="") as file:
        rates = [float(row["learning_rate"]) for row in csv.DictReader(file)]
    assert rates == sorted(rates, reverse=True)  # one schedule over both parts


def test_before_the_first_checkpoint_it_begins_at_the_weights_again(first, tmp_path, capsys):
    done = shutil.copytree(first, tmp_path / "done")
    run = tmp_path / "run"
    data = config(first)["data_dir"]
    train(data, run, "--init", done, "--freeze", "backbone", "--epochs", 1)
    ended = weights_of(run)
    for path in run.iterdir():  # as a kill in the first epoch leaves it
        if path.name != "config.json":
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    main(["train", "--resume", str(run)])
    assert "no checkpoint yet" in capsys.readouterr().out
    assert not changed(ended, weights_of(run))


def test_averages_of_a_network_with_frozen_layers(first, cifar10_dir, tmp_path):
    run = tmp_path / "run"
    arguments = ["--init", first, "--freeze", "backbone", "--unfreeze-after", 1, "--epochs", 2]
    train(cifar10_dir, run, *arguments, "--ema", 0.99, "--learning-rate", 1e-12)
    before, after = weights_of(first), weights_of(run)
    # weights that hardly move are their own average, also of the layers that learn later
    for name in ("stem_conv", "logits"):
        np.testing.assert_allclose(after[name][0], before[name][0], atol=1e-5)


@pytest.mark.parametrize(
    ("epoch", "step"), [(0, 5), (1, 0), pytest.param(1, 4, marks=pytest.mark.long)]
)
def test_stopped_before_at_and_after_that_it_ends_the_same(
    epoch, step, first, unfrozen, cifar10_dir, tmp_path, monkeypatch
):
    count = callbacks.CountSteps.on_train_batch_end
    count_epoch = callbacks.CountSteps.on_epoch_end

    def stop_if_there(self):
        if (self.progress.epoch, self.progress.step) == (epoch, step):
            os.kill(os.getpid(), signal.SIGTERM)

    def after_batch(self, batch, logs=None):
        count(self, batch, logs)
        stop_if_there(self)

    def after_epoch(self, number, logs=None):
        count_epoch(self, number, logs)
        stop_if_there(self)

    monkeypatch.setattr(callbacks.CountSteps, "on_train_batch_end", after_batch)
    monkeypatch.setattr(callbacks.CountSteps, "on_epoch_end", after_epoch)
    run = tmp_path / "run"
    with pytest.raises(SystemExit):
        train(cifar10_dir, run, *unfreezing(first))
    monkeypatch.undo()
    main(["train", "--resume", str(run)])
    assert variables(run) == variables(unfrozen)


def test_layers_up_to_one_are_frozen(first, cifar10_dir, tmp_path):
    run = tmp_path / "run"
    train(cifar10_dir, run, "--init", first, "--freeze-until", "stage2_block1_add", "--epochs", 1)
    names = changed(weights_of(first), weights_of(run))
    assert "stage3_block1_conv1" in names
    assert not {name for name in names if name.startswith(("stem", "stage1", "stage2"))}


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--freeze-until", "stage2_block1_ad"], "did you mean 'stage2_block1_add'"),
        (["--freeze-until", "stem_conv", "--freeze", "backbone"], "give one of them"),
        (["--unfreeze-after", "1"], "needs --freeze backbone"),
        (["--freeze", "backbone", "--unfreeze-after", "20"], "less than the 20 epochs"),
        (["--patience", "1", "--validation-split", "0"], "give a --validation-split"),
        (["--weights", "imagenet"], "both say where to begin"),
        (["--test-split", "0.3"], "test_split is for data in a folder"),
        (["--cutout", "32"], "cutout must be less than the 32 pixels of an image; received 32"),
        (["--crop-padding", "40"], "crop_padding must be less than the 32 pixels"),
    ],
)
def test_refusals(arguments, says, first, cifar10_dir, tmp_path, capsys):
    assert says in refused(
        capsys, *training(cifar10_dir, tmp_path / "run", "--init", first, *arguments)
    )
    assert not (tmp_path / "run").exists()


def test_weights_that_keras_does_not_have(cifar10_dir, tmp_path, capsys):
    assert "keras.applications has no resnet_v1" in refused(
        capsys, *training(cifar10_dir, tmp_path / "run", "--weights", "imagenet")
    )


@pytest.mark.parametrize("model", ["resnet_v1", "keras.applications/MobileNet(alpha=0.25)"])
def test_random_weights_are_not_frozen(model, cifar10_dir, tmp_path, capsys):
    frozen = ["--freeze", "backbone", "--model", model]
    assert "freeze would keep random weights; give trained ones with --init RUN" in refused(
        capsys, *training(cifar10_dir, tmp_path / "run", *frozen)
    )
    assert not (tmp_path / "run").exists()


def test_a_run_ends_without_progress(first, cifar10_dir, tmp_path):
    run = tmp_path / "run"
    still = ["--init", first, "--freeze", "backbone", "--learning-rate", "1e-12", "--epochs", 9,
             "--patience", 2]  # fmt: skip
    train(cifar10_dir, run, *still)
    rows = (run / "metrics.csv").read_text().splitlines()
    assert len(rows) == 1 + 3  # the first epoch is the best, two more are allowed
    assert json.loads((run / "summary.json").read_text())["epochs"] == 3
    summary = (run / "summary.json").read_bytes()
    main(["train", "--resume", str(run)])
    assert (
        json.loads((run / "summary.json").read_bytes())["test_accuracy"]
        == (json.loads(summary)["test_accuracy"])
    )
    assert (run / "metrics.csv").read_text().splitlines() == rows


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "muon"])
def test_every_variable_can_have_its_rate(optimizer, rng):
    values = [rng.normal(size=(3, 3, 4, 4)), rng.normal(size=(4,)), rng.normal(size=(2, 3))]
    gradients = [ops.convert_to_tensor(rng.normal(size=v.shape), "float32") for v in values]

    def moved(rates):
        weights = [keras.Variable(value, dtype="float32") for value in values]
        made = make_optimizer(optimizer, 0.01)
        made.rates = rates
        made.build(weights)
        made.apply(gradients, weights)
        return [ops.convert_to_numpy(w) - v for w, v in zip(weights, values, strict=True)]

    whole, scaled = moved(()), moved((0.5, 1.0, 0.25))
    for factor, one, other in zip((0.5, 1.0, 0.25), whole, scaled, strict=True):
        if optimizer != "muon" or one.ndim != 4:  # there a kernel keeps its norm
            np.testing.assert_allclose(other, factor * one, rtol=1e-3, atol=1e-6)
    assert np.linalg.norm(scaled[0]) < 0.6 * np.linalg.norm(whole[0])


def test_balanced_classes_count_the_same(rng):
    labels = np.array([0] * 8 + [1] * 2 + [3] * 2)
    weights = balanced_weights(labels, 4)
    np.testing.assert_allclose(weights, [12 / 24, 12 / 6, 1, 12 / 6])
    logits = rng.normal(size=(12, 4)).astype("float32")
    losses = cross_entropy(4, 0.0, weights)(ops.convert_to_tensor(labels), logits)
    each = cross_entropy(4, 0.0)(ops.convert_to_tensor(labels), logits)
    np.testing.assert_allclose(
        ops.convert_to_numpy(losses), ops.convert_to_numpy(each) * np.array(weights)[labels],
        rtol=1e-6,
    )  # fmt: skip


def test_a_folder_without_test_images_and_few_of_all(tmp_path, capsys):
    photos = write_image_folder(tmp_path / "photos")
    shutil.rmtree(photos / "test")
    data = ["--dataset", "folder", "--data-dir", photos, "--image-size", 16, "--workers", 0]
    network = ["--model", "resnet_v1", "--depth", 8, "--attention", "none", "--epochs", 1]
    arguments = [*data, *network, "--test-split", 0.25, "--class-weights", "balanced",
                 "--recipe", "plain"]  # fmt: skip
    main(["train", "--run-dir", str(tmp_path / "run"), *map(str, arguments)])
    said = capsys.readouterr().out
    assert "6 of 24 images, 25% of each class" in said
    found = config(tmp_path / "run")
    assert (found["batch_size"], found["learning_rate"]) == (8, 0.2 * 8 / 128)
    main(["evaluate", str(tmp_path / "run")])
