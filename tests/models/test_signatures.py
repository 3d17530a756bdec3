"""The options and places read from the source, against the functions that are really imported."""

import inspect
import re
import types
import typing

import pytest

from models import architecture, build_model, list_models, signatures
from models.builder import Builder
from models.signatures import (
    Option,
    all_architecture_options,
    architecture_options,
    architecture_places,
)
from tests.processes import run_python

pytestmark = pytest.mark.once

SET_OTHERWISE = {"input_shape", "classes", "num_classes", "attention_module", "name", "common"}
STEMS = ("cifar", "imagenet")
DEEP_STEMS = (*STEMS, "deep", "tiered")  # of resnet and resnext
# what the command line had before it read the options from here: name -> (type, choices, owners)
COMMAND_LINE = {
    "depth": (int, (), {"densenet", "resnet", "resnet_v1", "resnet_v2", "resnext"}),
    # a factor or a number of channels
    "width": (None, (), {"inception_resnet_v2", "inception_v3", "resnet", "resnext"}),
    "stem": (str, STEMS, {*list_models()} - {"resnet_v1", "resnet_v2"}),
    "stride_in": (str, ("3x3", "1x1"), {"resnet", "resnext"}),
    "shortcut": (str, ("conv", "pool"), {"resnet", "resnext"}),
    "block": (str, ("basic", "bottleneck"), {"resnet_v1"}),
    "cardinality": (int, (), {"resnext"}),
    "dropout": (float, (), {"mobilenet"}),
    "dropout_rate": (float, (), {"densenet"}),
    "alpha": (float, (), {"mobilenet"}),
    "depth_multiplier": (int, (), {"mobilenet"}),
    "growth_rate": (int, (), {"densenet"}),
    "bottleneck": (bool, (), {"densenet"}),
    "compression": (float, (), {"densenet"}),
}


def without_none(annotation):
    if isinstance(annotation, types.UnionType) or typing.get_origin(annotation) is typing.Union:
        (annotation,) = set(typing.get_args(annotation)) - {type(None)}
    return annotation


@pytest.mark.parametrize("name", list_models())
def test_options_are_those_of_the_function(name):
    function = inspect.unwrap(architecture(name))
    parameters = inspect.signature(function).parameters.values()
    own = [p for p in parameters if p.name not in SET_OTHERWISE]
    found = architecture_options(name)
    assert [(o.name, o.default) for o in found.values()] == [(p.name, p.default) for p in own]
    assert list(found) == [o.name for o in found.values()]
    types_of = typing.get_type_hints(function)
    for option in found.values():
        annotation = without_none(types_of[option.name])
        choices = typing.get_args(annotation)
        assert option.choices == choices
        assert option.kind is (type(choices[0]) if choices else annotation)


def test_no_common_option_is_an_architectures_own():
    assert not {*inspect.signature(Builder).parameters} & {*all_architecture_options()}


@pytest.mark.parametrize("option", COMMAND_LINE)
def test_options_of_the_command_line(option):
    kind, choices, owners = COMMAND_LINE[option]
    pairs = all_architecture_options()[option]
    assert {name for name, _ in pairs} == owners
    for name, found in pairs:
        assert found == architecture_options(name)[option]
        deep = option == "stem" and name in ("resnet", "resnext")
        assert found.choices == (DEEP_STEMS if deep else choices)
        assert kind in (None, found.kind)


def test_options_that_two_architectures_understand_differently():
    width = dict(all_architecture_options()["width"])
    assert (width["resnet"].kind, width["resnet"].default) == (float, 1.0)
    assert (width["resnext"].kind, width["resnext"].default) == (int, None)


def test_help_is_a_short_phrase_from_the_docstring():
    for pairs in all_architecture_options().values():
        for name, option in pairs:
            assert 5 < len(option.help) < 80, option
            assert not re.search(r"[`\n%]|^(int|float|bool|string)\b|\.$", option.help), option
            docstring = " ".join(architecture(name).__doc__.replace("`", "").split())
            assert f" {option.name}: " in docstring
            assert option.help in docstring.partition(f" {option.name}: ")[2]
    assert architecture_options("mobilenet")["alpha"].help == "factor on the channels of all layers"


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.long if name == "inception_resnet_v2" else [])
        for name in list_models()
    ],
)
def test_places_are_those_that_the_network_has(name):
    options = {"depth": 20} if name in ("resnet_v1", "resnet_v2") else {}
    with pytest.raises(ValueError, match=r"attention_at of .* must be one or more of") as refused:
        build_model(name, input_shape=(32, 32, 3), attention_at="nowhere", **options)
    allowed = str(refused.value).partition("one or more of ")[2].partition(";")[0]
    assert sorted(map(repr, architecture_places(name))) == allowed.split(", ")


def test_places_of_their_own():
    assert architecture_places("mobilenet") == ("block", "stage", "head", "conv")
    assert architecture_places("inception_resnet_v2") == ("block", "stage", "head", "addition")
    assert architecture_places("resnet") == ("block", "stage", "head")


def test_reading_all_imports_nothing_heavy():
    script = (
        "import sys\n"
        "from models import signatures as s\n"
        "assert 'depth' in s.all_architecture_options()\n"
        "assert all(map(s.architecture_places, s.list_models()))\n"
        "own = {name for name in sys.modules if name.startswith('models')}\n"
        "assert own == {'models', 'models.signatures'}, own\n"
        "assert not {'keras', 'numpy', 'tensorflow', 'jax', 'torch'} & set(sys.modules)\n"
    )
    done = run_python("-c", script)
    assert done.returncode == 0, done.stderr


def test_a_file_is_parsed_once(monkeypatch):
    all_architecture_options()
    monkeypatch.setattr(signatures.ast, "parse", None)
    assert architecture_options("resnet")["depth"] == Option(
        "depth", int, (), 18, "layers with weights: 18, 34, 50, 101 or 152"
    )


def test_an_unknown_name():
    for read in (architecture_options, architecture_places):
        with pytest.raises(ValueError, match=r"'resnet_v3'\. Did you mean 'resnet_v"):
            read("resnet_v3")


def declare(monkeypatch, source):
    body = signatures.ast.parse(source).body
    monkeypatch.setattr(signatures, "_location", lambda name: ("mine", "mine"))
    monkeypatch.setattr(signatures, "_statements", lambda file: body)
    return architecture_options("mine")


def test_every_way_to_declare_an_option(monkeypatch):
    options = declare(
        monkeypatch,
        "def mine(input_shape, /, size: int = -1, *, kind: Literal['a'] | None = None, **common):\n"
        "    '''A network.\n\n"
        "    Args:\n"
        "        input_shape: tuple.\n"
        "        size: int, first words\n"
        "            and `more` at 1.5. Not this.\n"
        "        kind: string, the kind\n\n"
        "    Returns:\n"
        "        kind: not this.\n"
        "    '''\n",
    )
    assert options == {
        "size": Option("size", int, (), -1, "first words and more at 1.5"),
        "kind": Option("kind", str, ("a",), None, "the kind"),
    }


@pytest.mark.parametrize(
    "declaration",
    ["size: list = 1", "size=1", "size: int = LARGE", "size: int", "size: int | str = 1"],
)
def test_refuses_what_it_cannot_read(monkeypatch, declaration):
    source = (
        f"def mine({declaration}):\n    '''A network.\n\n    Args:\n        size: int, s.\n    '''"
    )
    with pytest.raises(ValueError, match=r"option 'size' of mine in mine\.py needs a type such as"):
        declare(monkeypatch, source)


def test_refuses_an_option_without_a_line_in_the_docstring(monkeypatch):
    with pytest.raises(ValueError, match="a line in the docstring"):
        declare(monkeypatch, "def mine(size: int = 1):\n    '''A network.'''")
