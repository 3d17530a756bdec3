"""The table of published variants that `list` prints, against figures of others and by hand."""

import json
import re

import keras
import pytest

from models import list_models
from utils.evaluation import listing as module
from utils.evaluation.listing import SIZES, listing, measure_sizes, published_variants, size_of

pytestmark = pytest.mark.once

# a line of the table -> parameters in millions, multiply-adds in 10^9, in others' words
PUBLISHED = {
    # torchvision's documentation of its weights: num_params and GFLOPS (multiply-adds there)
    "resnet --depth 18 --stem imagenet 224x224 1000": (11.69, 1.81),
    "resnet --depth 34 --stem imagenet 224x224 1000": (21.80, 3.66),
    "resnet --depth 50 --stem imagenet 224x224 1000": (25.56, 4.09),
    "resnet --depth 101 --stem imagenet 224x224 1000": (44.55, 7.80),
    "resnet --depth 152 --stem imagenet 224x224 1000": (60.19, 11.51),
    "resnext --depth 50 224x224 1000": (25.03, 4.23),
    "densenet --depth 121 224x224 1000": (7.98, 2.83),
    "densenet --depth 161 224x224 1000": (28.68, 7.73),
    "densenet --depth 169 224x224 1000": (14.15, 3.36),
    "densenet --depth 201 224x224 1000": (20.01, 4.29),
    # the CBAM paper, Tables 4 and 5
    "resnet --depth 18 --width 1.5 --stem imagenet 224x224 1000": (25.88, 3.866),
    "resnet --depth 18 --width 2.0 --stem imagenet 224x224 1000": (45.62, 6.696),
    "resnext --depth 101 224x224 1000": (44.18, None),
    "mobilenet 224x224 1000": (4.23, 0.569),
    "mobilenet --alpha 0.7 224x224 1000": (2.30, 0.283),
    # "Densely Connected Convolutional Networks", Table 2
    "densenet --depth 40 32x32 10": (1.0, None),
    "densenet --depth 100 32x32 10": (7.0, None),
    "densenet --depth 100 --growth-rate 24 32x32 10": (27.2, None),
    "densenet --depth 100 --bottleneck --compression 0.5 32x32 10": (0.8, None),
    # "Aggregated Residual Transformations for Deep Neural Networks", Table 7
    "resnext --depth 29 32x32 10": (34.4, None),
    "resnext --depth 29 --cardinality 16 32x32 10": (68.1, None),
    # "Identity Mappings in Deep Residual Networks", Table 4
    "resnet_v2 --depth 164 32x32 10": (1.7, None),
    # "Learning Transferable Architectures for Scalable Image Recognition", Table 2
    "inception_v3 299x299 1000": (23.8, 5.72),
    "inception_resnet_v2 299x299 1000": (55.8, 13.2),
}


def table():
    """Returns the printed table: `network image classes` -> its last two columns, as text."""
    _, _, rows = listing().partition("--model, options")
    found = {}
    for line in rows.splitlines()[1:]:
        network, params, multiplications = re.fullmatch(r"(.*?) +(\S+) M +(\S+) G", line).groups()
        assert " ".join(network.split()) not in found
        found[" ".join(network.split())] = params, multiplications
    return found


def is_rounded(printed, published):
    """Whether a printed number is the published one, to one unit of the coarser of the two."""
    decimals = min(len(str(number).partition(".")[2]) for number in (printed, published))
    return abs(float(printed) - published) <= 1.01 * 10**-decimals


@pytest.mark.parametrize("row", PUBLISHED)
def test_rows_say_what_others_published(row):
    printed = table()[row]
    for number, published in zip(printed, PUBLISHED[row], strict=True):
        assert published is None or is_rounded(number, published), (number, published)


def resnet20_by_hand():
    """Parameters and multiply-adds of ResNet20 for CIFAR-10, from its description alone."""
    layers = [(32, 3, 3, 16)]  # side of the output, kernel, input and output channels
    inputs = 16
    for side, channels in ((32, 16), (16, 32), (8, 64)):
        for _ in range(3):
            layers += [(side, 3, inputs, channels), (side, 3, channels, channels)]
            if inputs != channels:
                layers.append((side, 1, inputs, channels))
            inputs = channels
    weights = [kernel**2 * inputs * outputs for _, kernel, inputs, outputs in layers]
    params = sum(weights) + sum(2 * outputs for *_, outputs in layers) + 64 * 10 + 10
    sides = [side for side, *_ in layers]
    return params, sum(w * s**2 for w, s in zip(weights, sides, strict=True)) + 64 * 10


def test_a_row_is_what_one_counts_by_hand():
    params, multiplications = resnet20_by_hand()
    row = next(row for row in json.loads(SIZES.read_text()) if row["model"] == "resnet_v1")
    assert (row["params"], row["multiply_adds"]) == (params, multiplications)
    printed = f"{params / 1e6:.2f}", f"{multiplications / 1e9:.3f}"
    assert table()["resnet_v1 --depth 20 32x32 10"] == printed


def test_the_table_has_a_row_for_every_variant():
    variants = list(published_variants())
    assert {name for name, *_ in variants} == set(list_models())
    expected = []
    for name, side, classes, options in variants:
        flags = (f"--{key.replace('_', '-')} {value}" for key, value in options.items())
        words = [name, *flags, f"{side}x{side} {classes}"]
        expected.append(" ".join(words).replace("--bottleneck True", "--bottleneck"))
    assert list(table()) == expected
    kept = [(row["model"], row["options"]) for row in json.loads(SIZES.read_text())]
    assert kept == [(name, options) for name, _, _, options in variants]


@pytest.mark.parametrize("model", ["resnet_v1", "resnet_v2", "mobilenet", "densenet"])
def test_kept_sizes_are_those_of_the_networks(model):
    """The first variant of each; the others have tests against published numbers."""
    rows = json.loads(SIZES.read_text())
    index = next(i for i, (name, *_) in enumerate(published_variants()) if name == model)
    assert size_of(*list(published_variants())[index]) == rows[index]


def test_sizes_are_the_same_in_channels_first():
    last = size_of("resnet_v1", 16, 10, {"depth": 8})
    keras.config.set_image_data_format("channels_first")
    assert size_of("resnet_v1", 16, 10, {"depth": 8}) == last


def test_measuring_one_architecture_keeps_the_rows_of_the_others(tmp_path, monkeypatch):
    rows = json.loads(SIZES.read_text())
    stale = [row | {"params": 1} if row["model"] == "mobilenet" else row for row in rows]
    stale = [row for row in stale if row["options"] != {"alpha": 0.7}]
    path = tmp_path / "sizes.json"
    path.write_text(json.dumps(stale))
    monkeypatch.setattr(module, "SIZES", path)
    said = []
    measure_sizes(["mobilenet"], said.append)
    assert json.loads(path.read_text()) == rows
    assert [line.split()[0] for line in said] == ["mobilenet"] * 3


def test_lists_every_choice():
    first = listing().partition("--model, options")[0]
    lines = dict(line.split(":", 1) for line in first.splitlines() if ":" in line)
    assert lines["models"].split() == ", ".join(list_models()).split()
    assert {"cbam_block", "se_block", "none"} <= {*lines["attention"].replace(",", " ").split()}
    assert {"cifar10", "digits", "folder"} <= {*lines["datasets"].replace(",", " ").split()}
    paper = lines["train --config, on any data set"]
    assert paper.count("configs/cbam-paper/resnet50-cbam.json") == 1
    for dataset, config in (("cifar10", "cbam-ablation/order"), ("digits", "results/digits-")):
        here = lines[f"compare --config, on {dataset}"]
        assert f"configs/{config}" in here
        other = {"cifar10": "digits", "digits": "cifar10"}[dataset]
        assert f"configs/results/{other}-" not in here
