"""The CBAM paper's ablations: each config has the rows of its table as variants, all buildable."""

import keras
import numpy as np
import pytest

from models.attention_module import SE, ChannelAttention
from tests.fake_comparison import DATA
from tests.processes import ROOT
from utils.compare.costs import costs_of
from utils.compare.planning import plan_runs, plan_variants
from utils.compare.table import base_of
from utils.config.command_line import parse_settings
from utils.config.compare_settings import CompareSettings
from utils.evaluation.networks import network_from_settings

pytestmark = pytest.mark.once

CONFIGS = ROOT / "configs" / "cbam-ablation"
AVG, MAX, BOTH = ("avg",), ("max",), ("avg", "max")
# config -> the folders' names and the modules' options, in the table's order, the base first
TABLES = {
    "channel_pools": {  # Table 1
        "none": ("none", {}),
        "channel_attention-pools_avg": ("channel_attention", {"pools": AVG}),
        "channel_attention-pools_max": ("channel_attention", {"pools": MAX}),
        "channel_attention-pools_avg+max": ("channel_attention", {"pools": BOTH}),
    },
    "spatial_descriptor": {  # Table 2
        "channel_attention": ("channel_attention", {}),
        "se_block": ("se_block", {}),
        **{
            f"cbam_block-kernel_size{kernel_size}-descriptor_{name}": (
                "cbam_block",
                {"kernel_size": kernel_size, "descriptor": descriptor},
            )
            for kernel_size in (3, 7)
            for name, descriptor in (("conv", "conv"), ("avg+max", BOTH))
        },
    },
    "order": {  # Table 3
        "se_block": ("se_block", {}),
        **{
            f"cbam_block-order_{order}": ("cbam_block", {"order": order})
            for order in ("channel_first", "spatial_first", "parallel")
        },
    },
}
# weights of the spatial gates in ResNet8's three stages: the convolution, and a learned descriptor
SPATIAL = {
    "cbam_block-kernel_size3-descriptor_conv": 3 * 9 + 16 + 32 + 64,
    "cbam_block-kernel_size3-descriptor_avg+max": 3 * 9 * 2,
    "cbam_block-kernel_size7-descriptor_conv": 3 * 49 + 16 + 32 + 64,
    "cbam_block-kernel_size7-descriptor_avg+max": 3 * 49 * 2,
}


def settings_of(name, *more):
    words = ["--config", str(CONFIGS / f"{name}.json"), *more]
    return parse_settings(CompareSettings, words, "main.py compare", "")


def test_every_table_is_a_config():
    assert {path.stem for path in CONFIGS.glob("*.json")} == set(TABLES)


@pytest.mark.parametrize("name", TABLES)
def test_variants_are_the_rows_of_the_table(name, tmp_path):
    common = settings_of(name).single_settings()
    assert (common["model"], common["depth"], common["dataset"]) == ("resnet_v1", 20, "cifar10")
    runs = plan_runs(settings_of(name, "--seeds", "0"), DATA, tmp_path)
    found = {
        run.variant.name: (run.settings.attention, run.settings.attention_options()) for run in runs
    }
    assert found == TABLES[name]
    variants = plan_variants(settings_of(name))
    assert [variant.name for variant in variants] == list(TABLES[name])
    assert base_of(variants[-1], variants).name == next(iter(TABLES[name]))


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[] if name == "order" else [pytest.mark.long]) for name in TABLES],
)
def test_networks_of_the_table(name, tmp_path):
    runs = plan_runs(settings_of(name, "--depth", "8", "--seeds", "0"), DATA, tmp_path)
    costs = costs_of(runs, DATA)
    params = {variant.name: cost[0] for variant, cost in costs.items()}
    base = params.pop(next(iter(TABLES[name])))
    mlp = sum(2 * c * (c // 8) + c // 8 + c for c in (16, 32, 64))
    more = {variant: count - base for variant, count in params.items()}
    if name == "channel_pools":
        assert set(more.values()) == {mlp}
    elif name == "spatial_descriptor":
        assert more == {"se_block": 0, **SPATIAL}
    else:
        assert set(more.values()) == {3 * 98}


def test_orders_are_different_networks(tmp_path, rng):
    """With the same weights, each order has other outputs."""
    runs = plan_runs(settings_of("order", "--depth", "8", "--seeds", "0"), DATA, tmp_path)[1:]
    networks = [network_from_settings(r.settings, r.settings.attention_spec) for r in runs]
    images = rng.normal(size=(2, 32, 32, 3)).astype("float32")
    for network in networks:
        network.set_weights(networks[0].get_weights())
    outputs = [network.predict(images, verbose=0) for network in networks]
    for one, other in ((0, 1), (0, 2), (1, 2)):
        assert np.abs(outputs[one] - outputs[other]).max() > 1e-6


def test_se_is_channel_attention_of_the_average(rng):
    """Both names of Table 1's row "AvgPool (SE)" compute the same."""
    x = keras.ops.convert_to_tensor(rng.normal(size=(2, 5, 7, 16)).astype("float32"))
    se, channel = SE(), ChannelAttention(pools="avg")
    se.build(x.shape)
    channel.build(x.shape)
    channel.set_weights(se.get_weights())
    np.testing.assert_array_equal(*map(keras.ops.convert_to_numpy, (se(x), channel(x))))
