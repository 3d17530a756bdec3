"""Text that names a module with options, read as Python reads a call, and modules of one's own."""

import ast
import hashlib
import subprocess
import sys
from functools import partial
from pathlib import Path

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models import AttentionSpec, attach_attention_module, build_model, cbam_block, get_attention
from models.private_api import operation_of
from models.specification import (
    format_specification,
    load_reference,
    parse_specification,
    reference_checksum,
)
from models.surgery import add_attention
from tests.fuzz.cases import cases

pytestmark = pytest.mark.once

OWN = """
import keras

def halve(x, factor=0.5, name=None):
    return keras.layers.Rescaling(factor, name=name)(x)

nothing = 5
"""
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.floats(-10, 10),
    lambda values: st.lists(values, max_size=3).map(tuple),
    max_leaves=5,
)
NAMES = st.from_regex("[a-z_][a-z0-9_]{0,8}", fullmatch=True).filter(
    lambda name: name.isidentifier() and not __import__("keyword").iskeyword(name)
)


@pytest.fixture
def own(tmp_path):
    path = tmp_path / "my_modules.py"
    path.write_text(OWN)
    return path


@cases(100)
@given(NAMES, st.dictionaries(NAMES, VALUES, max_size=4))
def test_what_is_written_is_read_back(name, options):
    text = format_specification(name, options)
    assert parse_specification(text) == (name, options)
    call = ast.parse(text, mode="eval").body  # it is Python, and means the same there
    assert (call.func.id if options else call.id) == name


@pytest.mark.parametrize(
    ("text", "name", "options"),
    [
        ("cbam_block", "cbam_block", {}),
        (" cbam_block ( ratio = 4 ) ", "cbam_block", {"ratio": 4}),
        ("a(b=['x', 'y'], c=-1.5)", "a", {"b": ("x", "y"), "c": -1.5}),
        ("a(b='(,)')", "a", {"b": "(,)"}),
        ("my folder/my.py:block(x=None)", "my folder/my.py:block", {"x": None}),
        ("a()", "a", {}),
    ],
)
def test_reads(text, name, options):
    assert parse_specification(text) == (name, options)


@pytest.mark.parametrize(
    "text",
    ["", "a(", "a)", "a(4)", "a(**{})", "a(*[])", "a(b=f())", "a(b=c)", "a(b=1)(c=2)", "(b=1)",
     "a(b=1) + a(c=2)", "a(b=__import__('os'))", "a(b=" + "[" * 500 + "]" * 500 + ")",
     "a(b=1, b=2)", "a(b=lambda: 1)", "a" * 3000, "a(b=1); c"],
)  # fmt: skip
def test_refuses_what_is_no_name_with_literals(text):
    with pytest.raises(ValueError, match=r"must be a name|twice"):
        parse_specification(text)


CODE = "__import__('pathlib').Path('ran').touch()"


@pytest.mark.parametrize(
    "text",
    [
        f"cbam_block(ratio={CODE})",
        f"cbam_block(ratio=4) or {CODE}",
        f"cbam_block(ratio=4)\n{CODE}",
        f"cbam_block(ratio=[{CODE} for _ in '1'])",
        f"cbam_block(order=f'{{{CODE}}}')",
        f"cbam_block(ratio=(lambda: {CODE})())",
        f"cbam_block(ratio:={CODE})",
        "cbam_block(ratio=9**9**9)",
        "cbam_block(ratio=" + "-" * 1900 + "1)",
    ],
)
def test_code_in_text_does_not_run(text, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match="must be a name, or a name with options"):
        parse_specification(text)
    assert not list(tmp_path.iterdir())


def test_own_code_runs_only_when_it_is_loaded(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(f"{CODE}\ndef block(x):\n    return x\n")
    name, _ = parse_specification("mine.py:block(ratio=2)")
    reference_checksum(name)
    assert not (tmp_path / "ran").exists()
    assert load_reference(name)(7) == 7
    assert (tmp_path / "ran").exists()


def test_every_entry_takes_the_same_text():
    text = "cbam_block(ratio=4, order='parallel')"
    x = keras.Input((8, 8, 8))
    expected = operation_of(cbam_block(x, ratio=4, order="parallel")).get_config()
    options = {key: expected[key] for key in ("ratio", "order", "kernel_size")}
    assert options == {"ratio": 4, "order": "parallel", "kernel_size": 7}
    found = [attach_attention_module(x, text), get_attention(AttentionSpec.parse(text))(x)]
    for y in found:
        config = operation_of(y).get_config()
        assert {key: config[key] for key in options} == options
    networks = [
        build_model("resnet_v1", depth=8, attention_module=module)
        for module in (
            text,
            AttentionSpec.parse(text),
            partial(cbam_block, ratio=4, order="parallel"),
        )
    ]  # fmt: skip
    layers = [network.get_layer("stage1_block1_attention") for network in networks]
    configs = [{**layer.get_config(), "name": "", "dtype": ""} for layer in layers]
    assert configs[0] == configs[1] == configs[2]
    backbone = keras.Model(x, keras.layers.Conv2D(8, 3, name="conv")(x))
    layer = add_attention(backbone, text, at="conv", start="standard").get_layer("conv_attention")
    assert (layer.order, layer.channel.ratio) == ("parallel", 4)


def test_keyword_options_stand_over_the_text():
    y = attach_attention_module(keras.Input((8, 8, 8)), "se_block(ratio=4)", ratio=2)
    assert operation_of(y).ratio == 2


@pytest.mark.parametrize("none", ["none", "None", None])
def test_no_module_takes_no_options(none):
    with pytest.raises(ValueError, match="without an attention module nothing takes ratio"):
        AttentionSpec.parse(none, ratio=4)


def test_spec_says_where_attention_goes():
    spec = AttentionSpec.parse("se_block", at=("stage", "head"))
    names = [
        layer.name for layer in build_model("resnet_v1", depth=8, attention_module=spec).layers
    ]
    assert [name for name in names if name.endswith("attention")] == [
        "stage1_attention", "stage2_attention", "head_attention",
    ]  # fmt: skip


def test_specs_are_equal_whatever_the_order_of_their_options():
    one = AttentionSpec.parse("cbam_block(order='parallel', ratio=4)")
    other = AttentionSpec.parse("cbam_block(ratio=4)", order="parallel")
    assert one == other
    assert hash(one) == hash(other)
    assert str(one) == "cbam_block(ratio=4, order='parallel')"
    assert AttentionSpec.parse(str(one)) == one
    assert AttentionSpec.parse(None) == AttentionSpec.parse("none") == AttentionSpec()


def test_own_module_by_its_file(own, rng):
    network = build_model(
        "resnet_v1", depth=8, attention_module=f"{own}:halve(factor=0.25)", classes=3
    )
    layer = network.get_layer("stage1_block1_attention")
    x = rng.normal(size=(1, 4, 4, 16)).astype("float32")
    np.testing.assert_allclose(layer(x), 0.25 * x)
    assert load_reference(f"{own}:halve") is load_reference(f"{own.parent}/./my_modules.py:halve")
    assert reference_checksum(f"{own}:halve") == hashlib.sha256(OWN.encode()).hexdigest()


def test_own_module_by_its_package(own, monkeypatch):
    (own.parent / "my_package").mkdir()
    own.rename(own.parent / "my_package" / "blocks.py")
    monkeypatch.chdir(own.parent)
    monkeypatch.setattr(sys, "path", [*sys.path])
    assert get_attention("my_package.blocks:halve")(keras.Input((8, 8, 4))).shape == (None, 8, 8, 4)
    assert reference_checksum("my_package.blocks:halve") == hashlib.sha256(OWN.encode()).hexdigest()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("{folder}/nowhere.py:halve", "there is no file .*nowhere.py"),
        ("{folder}/my_modules.py:other", "has no function or class 'other'; it has halve"),
        ("{folder}/my_modules.py", "names a file and no block in it; write '.*my_modules.py:BLOCK"),
        ("{folder}/my_modules.py:nothing", "has no function or class 'nothing'"),
        ("{folder}/broken.py:halve", "cannot be imported: ZeroDivisionError: division by zero"),
        ("no.such.module:halve", "cannot be imported: ModuleNotFoundError"),
    ],
)
def test_refuses_what_is_not_there(own, name, message):
    (own.parent / "broken.py").write_text("1 / 0")
    with pytest.raises(ValueError, match=message):
        get_attention(name.format(folder=own.parent))


def test_needs_no_keras():
    code = "import sys, models.attention.specification; sys.exit('keras' in sys.modules)"
    assert (
        subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[2]).returncode == 0
    )
