"""The costs of attention modules, compared with the network without."""

import csv
import dataclasses
import io
import json

import keras
import pytest

from main import main
from models import build_model
from models.attention.catalog import CATALOG
from models.attention_module import attach_attention_module, list_attention
from utils.config.command_settings import ProfileSettings
from utils.evaluation import module_costs
from utils.evaluation.counting import multiply_adds, trainable_params
from utils.evaluation.module_costs import COSTS, SIZES, module_cost_table
from utils.evaluation.profiling import Cost, cost_table, profile
from utils.plots import costs as pictures
from utils.system.errors import UserError

OWN_NETWORK = """
import keras
from models.builder import Builder, takes_common_options


class Mixing(keras.layers.Layer):
    def build(self, input_shape):
        self.matrix = self.add_weight(shape=(4, 4))

    def call(self, x):
        return keras.ops.matmul(x, self.matrix)


@takes_common_options
def mine(input_shape=None, name="mine", **common):
    net = Builder(input_shape, name=name, **common)
    x = Mixing(name="mixed")(keras.layers.Conv2D(4, 1)(net.input))
    return net.model(net.attend(x, "stage1_block1"))
"""


@pytest.mark.once  # JAX compiles every operation by itself
def test_profile_of_modules():
    settings = ProfileSettings(depth=8, attention="cbam_block,se_block", ratio=4, rounds=0)
    costs = profile(settings)
    assert list(costs) == ["none", "cbam_block(ratio=4)", "se_block(ratio=4)"]
    base, cbam, se = costs["none"], costs["cbam_block(ratio=4)"], costs["se_block(ratio=4)"]
    assert se.latency is se.training_step is None
    assert base.params == trainable_params(build_model("resnet_v1", depth=8))
    gates = sum(2 * c * (c // 4) + c // 4 + c + 98 for c in (16, 32, 64))
    assert cbam.params - base.params == gates
    assert cbam.multiply_adds > base.multiply_adds
    assert cbam.activation_bytes > base.activation_bytes
    assert [line.split()[0] for line in cost_table(costs).splitlines()[1:-1]] == list(costs)


@pytest.mark.once
def test_csv_on_standard_output_has_costs_alone(capsys):
    main(["profile", "--depth", "8", "--rounds", "0", "--attention", "se_block", "--format", "csv",
          "--input-size", "16"])  # fmt: skip
    said = capsys.readouterr()
    rows = list(csv.DictReader(io.StringIO(said.out)))
    assert [row["module"] for row in rows] == ["none", "se_block"]
    shape = (16, 16, 3)
    model = build_model("resnet_v1", depth=8, input_shape=shape, attention_module="se_block")
    assert int(rows[1]["params"]) == trainable_params(model)
    assert int(rows[1]["multiply_adds"]) == multiply_adds(model)
    assert rows[1]["latency"] == ""  # not timed
    assert "images of 16x16x3" in said.err


@pytest.mark.once
def test_the_size_of_the_image_in_channels_first():
    settings = ProfileSettings(depth=8, attention="se_block", rounds=0, input_size=16)
    last = profile(settings, lambda line: None)
    keras.config.set_image_data_format("channels_first")
    said = []
    assert profile(settings, said.append) == last
    assert said == ["resnet_v1_8, images of 3x16x16"]


@pytest.mark.once
def test_what_a_profile_cannot_count_is_said_once(tmp_path, monkeypatch):
    """A network of a user's own, with a layer that nobody knows, is profiled all the same."""
    (tmp_path / "mine.py").write_text(OWN_NETWORK)
    settings = ProfileSettings(
        model=f"{tmp_path / 'mine.py'}:mine", attention="se_block", rounds=0, input_size=8
    )
    said = []
    costs = profile(settings, said.append)
    assert costs["none"].multiply_adds == 8 * 8 * 3 * 4 + 4 * 10
    assert said[1:] == ["not counted in multiply-adds: mixed (Mixing)"]


@pytest.mark.once
def test_profile_times_in_turn(capsys):
    costs = profile(ProfileSettings(depth=8, attention="se_block", rounds=1, batch_size=2))
    assert costs["none"].latency == costs["none"].training_step == 1
    assert costs["se_block"].latency > 0
    assert costs["se_block"].training_step > 0


def test_profile_refuses_what_a_module_cannot_take():
    with pytest.raises(UserError, match="plot shows what modules add to none; name one"):
        profile(ProfileSettings(depth=8, attention="none", plot="costs.png"))
    with pytest.raises(UserError, match="no option 'kernel_size'"):
        profile(ProfileSettings(depth=8, attention="se_block", kernel_size=3))
    with pytest.raises(UserError, match="name the modules with --attention"):
        profile(ProfileSettings(depth=8, ratio=4))
    with pytest.raises(UserError, match="unknown attention module 'xyz'"):
        profile(ProfileSettings(attention="xyz"))


@pytest.mark.once
def test_profile_draws_the_costs(tmp_path, capsys):
    file = tmp_path / "costs.svg"
    main(["profile", "--depth", "8", "--rounds", "0", "--attention", "se_block", "cbam_block",
          "simam_block", "--plot", str(file)])  # fmt: skip
    said = capsys.readouterr().out
    assert said.startswith("resnet_v1_8, images of 32x32x3\n")
    assert "channels, then positions (combined, 2018)" in said
    assert "<svg" in file.read_text()


@pytest.mark.once
def test_a_picture_of_two_modules_has_ticks(monkeypatch):
    saved = []
    monkeypatch.setattr(pictures, "save_figure", lambda figure, path: saved.append(figure))
    none = Cost(272_474, 40_810_000, 1_400_000, 1.0, 1.0)
    se = dataclasses.replace(none, params=276_884, training_step=1.05)
    cbam = dataclasses.replace(none, params=277_766, training_step=1.46)
    pictures.plot_costs("unused.png", {"none": none, "se_block": se, "cbam_block": cbam})
    axes = saved[0].axes[0]
    low, high = axes.get_xlim()
    assert sum(low <= tick <= high for tick in axes.get_xticks()) >= 2


@pytest.mark.parametrize(
    ("plot", "says"), [("costs.jpg", "must end in .png, .pdf, .svg"), ("no/costs.png", "no folder")]
)
def test_a_picture_that_cannot_be_written(plot, says, capsys):
    with pytest.raises(SystemExit) as stop:
        main(["profile", "--depth", "8", "--plot", plot])
    assert stop.value.code == 2
    assert says in capsys.readouterr().err


@pytest.mark.once
def test_kept_costs_are_those_of_the_modules():
    kept = json.loads(COSTS.read_text())
    assert sorted(kept) == [name for name in list_attention() if name in CATALOG]
    for name in ("se_block", "cbam_block", "ema_block"):
        for row, shape in zip(kept[name], SIZES, strict=True):
            image = keras.Input(shape)
            model = keras.Model(image, attach_attention_module(image, name))
            assert row["params"] == trainable_params(model)
            assert row["multiply_adds"] == multiply_adds(model)
    table = module_cost_table()
    assert all(name in table for name in CATALOG)


@pytest.mark.once
def test_measuring_modules(tmp_path, monkeypatch):
    monkeypatch.setattr(module_costs, "COSTS", tmp_path / "costs.json")
    monkeypatch.setattr(module_costs, "SIZES", ((8, 8, 16),))
    monkeypatch.setattr(module_costs, "list_attention", lambda: ["se_block", "simam_block"])
    module_costs.measure_module_costs(rounds=1, announce=lambda line: None)
    measured = json.loads((tmp_path / "costs.json").read_text())
    assert measured["simam_block"][0]["params"] == 0
    assert measured["se_block"][0]["time"] > 0
    module_costs.measure_module_costs(["grn_block"], rounds=1, announce=lambda line: None)
    again = json.loads((tmp_path / "costs.json").read_text())
    assert list(again) == ["grn_block", "se_block", "simam_block"]
    assert again.items() >= measured.items()
