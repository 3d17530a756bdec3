"""What a module can be called, and that all its options reach it by that name."""

import keras
import numpy as np
import pytest

from models.attention import registry
from models.attention.registry import at_identity, check_attention
from models.attention_module import (
    SE,
    AttentionSpec,
    attach_attention_module,
    register_attention,
)
from models.private_api import operation_of

pytestmark = pytest.mark.once


@pytest.fixture
def x():
    return keras.Input((8, 8, 4))


@pytest.fixture
def own(monkeypatch):
    """A registered module whose options are called as those of `AttentionSpec.parse`."""
    for name in ("_REGISTRY", "_LAYERS"):
        monkeypatch.setattr(registry, name, dict(getattr(registry, name)))

    @register_attention("own")
    def own(x, at=1.0, text="", start="published", name=None):
        factor = at if start == "published" else 1.0
        return keras.layers.Rescaling(factor, name=text or name)(x)

    return own


@pytest.mark.usefixtures("own")
@pytest.mark.parametrize(
    ("module", "options"),
    [
        ("own", {"at": 0.25, "text": "here"}),
        ("own(at=0.25, text='here')", {}),
        ("own(at=2.0)", {"at": 0.25, "text": "here"}),
        (AttentionSpec("own", (("at", 0.25), ("text", "here"))), {}),
    ],
)
def test_options_of_any_name_reach_the_module(module, options, x):
    layer = operation_of(attach_attention_module(x, module, **options))
    assert (layer.scale, layer.name) == (0.25, "here")


@pytest.mark.usefixtures("own")
def test_a_specification_with_options_of_any_name():
    spec = AttentionSpec.from_options("own(at=2)", {"at": 3, "text": "here"}, at="stage")
    assert spec == AttentionSpec("own", (("at", 3), ("text", "here")), ("stage",))
    check_attention(spec)
    started = AttentionSpec.from_options(
        "own", {**dict(spec.options), "start": "identity"}, "stage"
    )
    assert at_identity(spec) == started


@pytest.mark.parametrize("name", ["my:b", "file.py:b", "a b", "a\tb", " a", "a\n", "a(b)", "a)"])
def test_refuses_names_that_no_text_could_name(name):
    with pytest.raises(ValueError, match="without colons, parentheses and white space; received"):
        register_attention(name)


def test_only_none_is_no_attention(x):
    assert attach_attention_module(x, None) is x
    assert attach_attention_module(x, "none") is x
    for nothing in ("", " "):
        with pytest.raises(ValueError, match="must be a name"):
            attach_attention_module(x, nothing)
        with pytest.raises(ValueError, match="must be a name"):
            AttentionSpec.parse(nothing)


@pytest.mark.parametrize(
    ("module", "options", "message"),
    [
        (
            keras.layers.Dropout,
            {"foo": 1},
            "Dropout cannot be made with foo=1: .*Its options: rate,",
        ),
        (keras.layers.Dropout, {"rate": 2.0}, "Dropout cannot be made with rate=2.0: .*rate=2.0"),
        (keras.layers.Dropout, {}, "Dropout cannot be made with no options: .*rate"),
        (keras.layers.Dropout(0.5), {"foo": 1}, "Dropout cannot be made with foo=1: .*foo"),
        (SE, {"kernel_size": 7}, "^SE has no option 'kernel_size'; it takes ratio"),
        (SE(), {"ratio": 0}, "^ratio must be an integer of at least 1, received 0"),
    ],
)
def test_a_layer_that_refuses_its_options(module, options, message, x):
    with pytest.raises(ValueError, match=message):
        attach_attention_module(x, module, **options)


def test_a_layer_takes_its_options(x, rng):
    layer = operation_of(attach_attention_module(x, keras.layers.Rescaling, scale=0.5))
    values = rng.normal(size=(1, 8, 8, 4)).astype("float32")
    np.testing.assert_allclose(keras.ops.convert_to_numpy(layer(values)), 0.5 * values)
