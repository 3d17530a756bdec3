"""The names of runs: different settings, different folders; the defaults, the short name."""

import dataclasses
import itertools

import pytest

from utils.config.compare_settings import CompareSettings
from utils.config.recipes import DEFAULT_RECIPE, recipe_settings
from utils.config.settings import RecipeSettings, TrainSettings
from utils.runs.naming import LONGEST, default_comparison_dir, default_run_dir, folder_name

pytestmark = pytest.mark.once

DEFAULT = "cifar10-resnet_v1-cbam_block-start_identity-seed0"
NAMES = [
    ({}, DEFAULT),
    ({"depth": 20}, "cifar10-resnet_v1-20-cbam_block-start_identity-seed0"),
    ({"seed": 3}, "cifar10-resnet_v1-cbam_block-start_identity-seed3"),
    ({"ratio": 4}, "cifar10-resnet_v1-cbam_block-ratio4-start_identity-seed0"),
    ({"attention": "cbam_block(ratio=4)"}, "cifar10-resnet_v1-cbam_block-ratio4-seed0"),
    ({"attention_at": "head"}, "cifar10-resnet_v1-cbam_block-start_identity-at_head-seed0"),
    ({"order": "parallel"}, "cifar10-resnet_v1-cbam_block-order_parallel-start_identity-seed0"),
    ({"epochs": 3}, "cifar10-resnet_v1-cbam_block-start_identity-epochs3-seed0"),
    ({"optimizer": "adam"}, "cifar10-resnet_v1-cbam_block-start_identity-optimizer_adam-seed0"),
    ({"learning_rate": 0.05},
     "cifar10-resnet_v1-cbam_block-start_identity-learning_rate0.05-seed0"),
    ({"augment": False}, "cifar10-resnet_v1-cbam_block-start_identity-no_augment-seed0"),
    ({"attention": "none"}, "cifar10-resnet_v1-none-seed0"),
    ({"attention": "/a/b/my.py:block(x='a/b')"}, "cifar10-resnet_v1-block-x_a_b-seed0"),
    ({"model": "resnet(depth=50, stem='imagenet')"},
     "cifar10-resnet-50-stem_imagenet-cbam_block-start_identity-seed0"),
    ({"model": "/a/b/my.py:net"}, "cifar10-net-cbam_block-start_identity-seed0"),
    # no difference to what is computed
    ({"checkpoint_every": "5m", "log": ("wandb",), "workers": 3, "data_dir": "/data"}, DEFAULT),
]  # fmt: skip
# a value of every setting of the recipe that is not its default
OTHERS = {
    "attention": "se_block", "model": "resnet", "stem": "imagenet", "stride_in": "1x1",
    "shortcut": "pool", "block": "basic", "pools": "avg", "descriptor": "conv", "order": "parallel",
    "attention_at": "stage", "dataset": "digits", "corrupt": "skip", "optimizer": "adam",
    "schedule": "cosine", "backend": "jax", "precision": "mixed_bfloat16", "augment": False,
    "flip": False, "bottleneck": True, "use_bias": True, "attention_batch_norm": True,
    "init": "runs/first", "recipe": "seed", "weights": "imagenet", "freeze": "backbone",
    "freeze_until": "stem_conv", "class_weights": "balanced",
}  # fmt: skip
FRACTIONS = (
    "dropout", "dropout_rate", "alpha", "width", "compression", "crop", "mixup", "cutmix",
    "label_smoothing", "ema", "validation_split", "weight_decay", "learning_rate", "test_split",
    "backbone_rate", "attention_rate",
)  # fmt: skip
WITHOUT_EFFECT = ("run_dir", "log", "tensorboard", "checkpoint_every", "workers", "data_dir")


def usual(**settings):
    """Settings as the command line makes them: over those of the default recipe."""
    return TrainSettings(**{**recipe_settings(DEFAULT_RECIPE), **settings})


@pytest.mark.parametrize(("settings", "name"), NAMES)
def test_name(settings, name):
    found = default_run_dir(usual(**settings), "cifar10")
    assert str(found) == f"runs/{name}"


def test_every_setting_that_makes_a_difference_is_in_the_name():
    names = {default_run_dir(usual(), "cifar10")}
    fields = [f.name for f in dataclasses.fields(RecipeSettings) if f.name not in WITHOUT_EFFECT]
    for field in fields:
        settings = usual(**{field: OTHERS.get(field, 0.5 if field in FRACTIONS else 7)})
        name = default_run_dir(settings, "digits" if field == "dataset" else "cifar10")
        assert name not in names, field
        names.add(name)
    assert len(names) == len(fields) + 1


def test_photographs_are_told_apart_by_their_folder():
    settings = usual(dataset="folder", data_dir="/pictures/cats and dogs")
    name = default_run_dir(settings, "folder").name
    assert name == "folder_cats_and_dogs-mobilenet-cbam_block-start_identity-seed0"


def test_comparisons_have_the_same_rule():
    found = default_comparison_dir(
        CompareSettings(depth=20, epochs=3, **recipe_settings(DEFAULT_RECIPE)), "cifar10"
    )
    assert str(found) == "runs/cifar10-resnet_v1-20-epochs3-compare"


@pytest.mark.parametrize("word", ["x" * 400, "é" * 200, "x" * 149 + "é"])
def test_a_long_name_is_cut_and_stays_its_own(word):
    names = [folder_name([word, ending]) for ending in ("a", "b")]
    assert all(len(name.encode()) <= LONGEST for name in names)
    assert names[0] != names[1]


def test_a_name_stays_in_its_folder():
    for hostile in ("../x", "a/b", "a\\b", "a\x1bb", "", "a b"):
        name = folder_name([hostile, "c"])
        assert "/" not in name
        assert name.isprintable()
        assert not any(c in name for c in "\\ \x1b")
    assert len({folder_name(list(p)) for p in itertools.permutations("abc")}) == 6
