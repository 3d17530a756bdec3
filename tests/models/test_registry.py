"""Attention modules by name, as callables, and as layers."""

from functools import partial

import keras
import pytest

from models import build_model
from models.attention import registry
from models.attention.base import WEIGHT_OPTIONS
from models.attention_module import (
    CBAM,
    SE,
    attach_attention_module,
    attention_options,
    cbam_block,
    get_attention,
    list_attention,
    register_attention,
    se_block,
)
from models.private_api import operation_of


@pytest.fixture
def own_registry(monkeypatch):
    for name in ("_REGISTRY", "_LAYERS"):
        monkeypatch.setattr(registry, name, dict(getattr(registry, name)))


def layer_of(y):
    return operation_of(y)


@pytest.fixture
def x():
    return keras.Input((8, 8, 16))


def test_lists_names():
    names = list_attention()
    assert names == sorted(names)
    assert {"cbam_block", "channel_attention", "se_block", "spatial_attention"} <= set(names)


def test_by_name(x):
    layer = layer_of(attach_attention_module(x, "cbam_block", name="here", ratio=4, kernel_size=3))
    assert isinstance(layer, CBAM)
    assert (layer.name, layer.channel.ratio, layer.spatial.kernel_size) == ("here", 4, 3)
    assert layer_of(attach_attention_module(x, "se_block")).ratio == 8


@pytest.mark.parametrize("name", list_attention())
def test_options_are_those_that_the_layer_names(x, name):
    with pytest.raises(ValueError, match="it takes ") as refused:
        attach_attention_module(x, name, unheard_of=1)
    assert sorted(attention_options(name)) == sorted(
        str(refused.value).split("takes ")[1].split(", ")
    )


@pytest.mark.usefixtures("own_registry")
def test_options_of_modules_of_ones_own():
    register_attention("closed")(lambda x, ratio=2, name=None: x)
    register_attention("open")(lambda x, ratio=2, **options: x)
    register_attention("layer")(SE)
    assert attention_options("closed") == ["ratio"]
    assert attention_options("open") is None
    own = ["ratio", "use_bias", "start", "activation", "data_format", "divisor"]
    assert attention_options("layer") == [*own, *WEIGHT_OPTIONS]
    assert attention_options("none") == []
    with pytest.raises(ValueError, match="Did you mean 'cbam_block'"):
        attention_options("cbam")


@pytest.mark.parametrize("nothing", [None, "none"])
def test_none_gives_the_input_back(x, nothing):
    assert attach_attention_module(x, nothing) is x


@pytest.mark.parametrize(
    "module",
    [
        partial(se_block, ratio=2),
        SE(ratio=2),
        lambda x: se_block(x, 2),
        lambda x, name: SE(2, name=name)(x),
    ],
)
def test_any_callable_is_a_module(x, module):
    first, second = (layer_of(attach_attention_module(x, module)) for _ in range(2))
    assert first.ratio == second.ratio == 2
    assert first is not second


def test_a_layer_class_is_a_module(x):
    layer = layer_of(attach_attention_module(x, SE, name="here", ratio=2))
    assert (layer.name, layer.ratio) == ("here", 2)


@pytest.mark.once  # JAX compiles every operation by itself
@pytest.mark.usefixtures("own_registry")
def test_own_module_by_name_everywhere():
    @register_attention("half")
    def half(x, factor=0.5, name=None):
        return keras.layers.Rescaling(factor, name=name)(x)

    assert "half" in list_attention()
    assert build_model("resnet_v1", attention_module="half").get_layer("stage1_block1_attention")
    assert register_attention("half")(half) is half  # a module read again is no conflict
    with pytest.raises(ValueError, match="'half' is taken"):
        register_attention("half")(lambda x: x)
    with pytest.raises(ValueError, match="half has no option 'ratio'; it takes factor"):
        get_attention("half", ratio=4)


@pytest.mark.parametrize("name", ["", None, "none", 3])
def test_refuses_to_register(name):
    with pytest.raises(ValueError, match="needs a name"):
        register_attention(name)


@pytest.mark.parametrize(
    ("module", "options", "message"),
    [
        (
            "cbam",
            {},
            "unknown attention module 'cbam'. Did you mean 'cbam_block'. Known: .*cbam",
        ),
        ("xyz", {}, "unknown attention module 'xyz'. Known: .*cbam_block, .*se_block"),
        (7, {}, "None, a callable on a feature map or a Keras layer; received 7"),
        (None, {"ratio": 4}, "without an attention module"),
        ("se_block", {"kernel_size": 7}, "SE has no option 'kernel_size'"),
        (lambda x: x, {"ratio": 4}, "has no option 'ratio'; it takes none"),
        (lambda x: keras.layers.Flatten()(x), {}, "must return a feature map of its input's shape"),
        (lambda x: None, {}, "must return a feature map of its input's shape"),
    ],
)
def test_refuses(x, module, options, message):
    with pytest.raises(ValueError, match=message):
        attach_attention_module(x, module, **options)


def test_refuses_what_is_no_feature_map():
    with pytest.raises(ValueError, match=r"rank 4 .* received shape \(None, 16\)"):
        attach_attention_module(keras.Input((16,)), "cbam_block")
    with pytest.raises(ValueError, match=r"rank 4 .* received 'text'"):
        attach_attention_module("text", "cbam_block")


def test_blocks_are_calls_of_their_layers(x):
    layer = layer_of(cbam_block(x, 4, 3, name="here", order="parallel"))
    assert (layer.channel.ratio, layer.spatial.kernel_size, layer.order) == (4, 3, "parallel")
    with pytest.raises(ValueError, match="CBAM has no option 'size'"):
        cbam_block(x, size=3)
