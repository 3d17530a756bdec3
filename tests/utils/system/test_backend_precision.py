"""`--precision auto` takes bfloat16 where the device has units for it."""

import keras
import pytest

from utils.system import backend_precision
from utils.system.backend_precision import bfloat16_units, chosen_precision, precision_of_run

LINES = "processor\t: 0\nmodel name\t: x\nflags\t\t: fpu avx512f {}\nbogomips\t: 1\n"


@pytest.fixture
def processor(tmp_path, monkeypatch):
    """Makes this process see a processor with some flags."""

    def set_flags(flags):
        (tmp_path / "cpuinfo").write_text(LINES.format(flags))
        monkeypatch.setattr(backend_precision, "CPUINFO", tmp_path / "cpuinfo")
        monkeypatch.setattr(backend_precision, "on_accelerator", lambda: False)

    return set_flags


@pytest.mark.parametrize(
    ("flags", "units"),
    [
        ("amx_bf16 amx_tile", "AMX"),
        ("avx512_bf16", "AVX512-BF16"),
        ("avx512_bf16 amx_bf16", "AMX"),
        ("avx2", None),
        ("not_amx_bf16", None),
    ],
)
def test_processors(flags, units, processor):
    processor(flags)
    assert bfloat16_units() == units
    if keras.backend.backend() == "jax":
        expected = "float32", "on a processor, bfloat16 is for tensorflow and torch"
    elif units is None:
        expected = "float32", "the processor has no units for bfloat16"
    else:
        expected = "mixed_bfloat16", f"the processor has {units}"
    assert chosen_precision("auto") == expected


def test_not_linux(tmp_path, monkeypatch):
    monkeypatch.setattr(backend_precision, "CPUINFO", tmp_path / "none")
    assert bfloat16_units() is None


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16", "mixed_float16"])
def test_what_is_asked_for_is_taken(policy, processor):
    processor("avx2")
    assert chosen_precision(policy) == (policy, "")


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="a switch of TensorFlow's")
def test_without_the_library_that_has_the_kernels(processor, monkeypatch):
    processor("amx_bf16")
    monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", "0")
    assert chosen_precision("auto")[0] == "float32"


@pytest.mark.skipif(keras.backend.backend() == "jax", reason="gains nothing with any network")
@pytest.mark.parametrize(
    ("flags", "policy"), [("avx512_bf16", "float32"), ("amx_bf16", "mixed_bfloat16")]
)
def test_a_network_that_gains_nothing(flags, policy, processor):
    processor(flags)
    assert chosen_precision("auto", "densenet")[0] == policy
    narrow, wide = {"alpha": 0.25, "depth": None}, {"alpha": 0.5}
    found, why = chosen_precision("auto", "mobilenet", narrow)
    assert found == policy
    assert ("mobilenet with alpha 0.25" in why) == (policy == "float32")
    for gains in (("resnet_v1", narrow), ("mobilenet", wide), ("mobilenet", {"alpha": None})):
        assert chosen_precision("auto", *gains)[0] == chosen_precision("auto")[0]


@pytest.mark.parametrize(
    ("capability", "policy"),
    [
        (None, "float32"),
        (7.5, "float32"),
        (8.0, "mixed_bfloat16"),
        (float("inf"), "mixed_bfloat16"),
    ],
)
def test_accelerators(capability, policy, monkeypatch):
    monkeypatch.setattr(backend_precision, "on_accelerator", lambda: True)
    monkeypatch.setattr(backend_precision, "_compute_capability", lambda: capability)
    assert chosen_precision("auto")[0] == policy


@pytest.mark.parametrize(
    ("flags", "trained_in", "precision"),
    [
        ("amx_bf16", "float32", "float32"),
        ("avx2", "float32", "float32"),
        ("avx2", "mixed_bfloat16", "float32"),
        ("avx2", "mixed_float16", "float32"),
        ("amx_bf16", "whatever", "float32"),
    ],
)
def test_a_run_is_computed_as_it_was_trained_where_that_is_fast(
    flags, trained_in, precision, processor
):
    processor(flags)
    assert precision_of_run("auto", trained_in) == precision
    assert precision_of_run("mixed_bfloat16", trained_in) == "mixed_bfloat16"


@pytest.mark.skipif(keras.backend.backend() == "jax", reason="gains nothing on a processor")
def test_a_run_in_bfloat16_where_there_are_units(processor):
    processor("amx_bf16")
    assert precision_of_run("auto", "mixed_bfloat16") == "mixed_bfloat16"
