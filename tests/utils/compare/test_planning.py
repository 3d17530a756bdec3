"""Which runs a comparison has, and which of them are missing."""

import dataclasses

import pytest

from models.attention import registry
from models.attention_module import register_attention
from tests.fake_comparison import DATA, fake, settings_of
from utils.compare.planning import plan_runs, plan_variants
from utils.compare.table import base_of
from utils.system.errors import UserError
from utils.system.files import write_json

pytestmark = pytest.mark.once


def test_variants():
    def names(**options):
        return [variant.name for variant in plan_variants(settings_of(**options))]

    assert names() == ["none", "se_block"]
    assert names(attention="none,none,se_block") == ["none", "se_block"]
    assert names(ratio="4,16") == ["none", "se_block-ratio4", "se_block-ratio16"]
    assert names(attention="cbam_block", kernel_size=[3, 7], ratio=4) == [
        "cbam_block-ratio4-kernel_size3",
        "cbam_block-ratio4-kernel_size7",
    ]
    places = ["block", "stage,head"]
    assert names(attention_at=places) == ["none", "se_block", "se_block-at_stage+head"]
    assert names(attention="cbam_block", pools="avg", order="parallel", attention_at="head") == [
        "cbam_block-pools_avg-order_parallel-at_head"
    ]
    assert names(attention="cbam_block", attention_batch_norm=["true", False]) == [
        "cbam_block-batch_norm",
        "cbam_block-no_batch_norm",
    ]


def test_several_options_make_a_grid():
    """Each option goes to the modules that have it; a module with none of them is trained once."""
    settings = settings_of(
        attention="none,se_block,cbam_block,simam_block",
        ratio=[4, 16],
        descriptor=["conv", "avg,max"],
        attention_at=["block", "stage"],
    )
    options = [(v.attention, dict(v.spec.options), v.spec.at) for v in plan_variants(settings)]
    places = [("block",), ("stage",)]
    assert options == [
        ("none", {}, ("block",)),
        *(("se_block", {"ratio": ratio}, place) for ratio in (4, 16) for place in places),
        *(
            ("cbam_block", {"ratio": ratio, "descriptor": descriptor}, place)
            for ratio in (4, 16)
            for descriptor in ("conv", ("avg", "max"))
            for place in places
        ),
        *(("simam_block", {}, place) for place in places),
    ]


def test_options_of_a_module_of_ones_own(monkeypatch):
    """One that passes options on may have any; its layer says later."""
    for name in ("_REGISTRY", "_LAYERS"):
        monkeypatch.setattr(registry, name, dict(getattr(registry, name)))
    register_attention("open")(lambda x, **options: x)
    register_attention("closed")(lambda x, ratio=2, name=None: x)
    settings = settings_of(attention="open,closed", ratio=4, order="parallel")
    assert [variant.name for variant in plan_variants(settings)] == [
        "open-ratio4-order_parallel",
        "closed-ratio4",
    ]


def test_an_option_of_any_name(monkeypatch):
    for name in ("_REGISTRY", "_LAYERS"):
        monkeypatch.setattr(registry, name, dict(getattr(registry, name)))
    register_attention("mine")(lambda x, at="a", text="", name=None: x)
    (variant,) = plan_variants(settings_of(attention="mine(at='b', text='c')"))
    assert dict(variant.spec.options) == {"at": "b", "text": "c"}
    assert variant.spec.at == ("block",)


def test_settings_of_the_recipe_with_several_values(tmp_path):
    """They are compared in every combination, and each variant with none of the same settings."""
    settings = settings_of(
        attention="none,se_block", learning_rate=[0.1, 0.05], augment=[True, False], seeds=0
    )
    variants = plan_variants(settings)
    assert [variant.name for variant in variants] == [
        f"{module}-learning_rate{rate}-{augment}"
        for rate in ("0.1", "0.05")
        for augment in ("augment", "no_augment")
        for module in ("none", "se_block")
    ]
    runs = plan_runs(settings, DATA, tmp_path)
    assert [(run.settings.learning_rate, run.settings.augment) for run in runs] == [
        (rate, augment) for rate in (0.1, 0.05) for augment in (True, False) for _ in range(2)
    ]
    for none, se in zip(variants[::2], variants[1::2], strict=True):
        assert base_of(se, variants) is base_of(none, variants) is none


def test_a_single_value_of_a_setting_is_in_no_name():
    settings = settings_of(learning_rate=0.1, augment=False)
    assert [variant.name for variant in plan_variants(settings)] == ["none", "se_block"]


def test_a_grid_is_counted_before_it_is_made():
    ratios, sizes = list(range(1, 60_001)), list(range(1, 1001))
    settings = settings_of(attention="cbam_block", ratio=ratios, kernel_size=sizes)
    with pytest.raises(UserError, match="60,000,000 variants"):
        plan_variants(settings)


def test_two_variants_of_one_name_are_refused(tmp_path):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "blocks.py").write_text("def gate(x):\n    return x\n")
    modules = [f"{tmp_path}/{folder}/blocks.py:gate" for folder in ("a", "b")]
    with pytest.raises(UserError, match=r"two variants would both be called gate: .*a/blocks\.py"):
        plan_variants(settings_of(attention=["none", *modules]))
    with pytest.raises(UserError, match=r"would both be called none-learning_rate0\.123456"):
        plan_variants(settings_of(attention="none", learning_rate=[0.1234561, 0.1234562]))


def test_runs_of_a_seed_lie_together(tmp_path):
    runs = plan_runs(settings_of(seeds="3,5", ratio=4), DATA, tmp_path)
    assert [run.name for run in runs] == [
        "none-seed3",
        "se_block-ratio4-seed3",
        "none-seed5",
        "se_block-ratio4-seed5",
    ]
    none, se, *_ = [run.settings for run in runs]
    assert (none.ratio, none.seed, se.ratio, se.seed) == (None, 3, 4, 3)
    others = {"attention", "ratio"}
    assert all(se.config()[k] == v for k, v in none.config().items() if k not in others)


def test_what_is_missing(tmp_path):
    finished, begun, missing = plan_runs(settings_of(attention="none"), DATA, tmp_path)
    fake(finished)
    fake(begun)
    (begun.folder / "summary.json").unlink()
    assert (finished.is_begun(), finished.is_finished()) == (True, True)
    assert (begun.is_begun(), begun.is_finished()) == (True, False)
    assert (missing.is_begun(), missing.is_finished()) == (False, False)
    # where the data lie makes no difference to a result
    moved = dataclasses.replace(finished.settings, data_dir="elsewhere")
    assert dataclasses.replace(finished, settings=moved).is_finished()


def test_other_settings_are_refused(tmp_path):
    fake(plan_runs(settings_of(epochs=3), DATA, tmp_path)[0])
    run = plan_runs(settings_of(), DATA, tmp_path)[0]
    with pytest.raises(UserError, match="none-seed0 holds a run with other settings: epochs was 3"):
        run.is_finished()


def test_a_run_of_a_version_without_a_setting(tmp_path):
    """It has the setting's default: the run is there still, and is no other one."""
    plain, parallel = (
        plan_runs(settings_of(attention="cbam_block", seeds=0, **more), DATA, tmp_path)[0]
        for more in ({}, {"order": "parallel"})
    )
    fake(plain)
    config = plain.settings.config()
    for name in ("pools", "descriptor", "order", "attention_batch_norm"):
        assert config.pop(name) is None
    write_json(plain.folder / "config.json", config)
    assert plain.is_finished()
    with pytest.raises(
        UserError, match=r'attention was "cbam_block", is "cbam_block\(order=.parallel.\)"'
    ):
        dataclasses.replace(parallel, folder=plain.folder).is_finished()


def test_a_foreign_folder_is_refused(tmp_path):
    run = plan_runs(settings_of(), DATA, tmp_path)[0]
    run.folder.mkdir()
    (run.folder / "thesis.txt").touch()
    with pytest.raises(UserError, match="is not empty"):
        run.is_begun()
    (run.folder / "summary.json").touch()
    with pytest.raises(UserError, match=r"results without their config\.json"):
        run.is_begun()
