"""Fast forms are put into layers, taken out and turned off, and nothing else knows of them."""

import ast
import re
import types
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers

import models
from models import build_model, fast
from models.attention_module import CBAM, SE, AttentionLayer, IdentityStart
from models.fast import Form, registry
from models.private_api import all_layers
from models.surgery import add_attention
from tests.processes import run_python
from utils.config.settings import TrainSettings
from utils.evaluation.counting import activation_bytes, multiply_adds
from utils.runs.resuming import check_state, environment
from utils.system.errors import UserError

pytestmark = pytest.mark.fast_attention
tensorflow = keras.backend.backend() == "tensorflow"
only_tensorflow = pytest.mark.skipif(not tensorflow, reason="the registered forms are TensorFlow's")


def installed(model):
    return [layer.name for layer in all_layers(model) if fast.is_installed(layer)]


def own_network(rng):
    """A user's own network, and a batch to train it on."""
    image = keras.Input((8, 8, 3))
    x = layers.Conv2D(16, 3, padding="same", name="conv")(image)
    x = layers.BatchNormalization(name="norm")(x)
    x = layers.Add(name="add")([x, CBAM(batch_norm=True, name="attention")(x)])
    x = layers.Activation("relu", name="relu")(x)
    model = keras.Model(image, layers.GlobalAveragePooling2D()(x))
    model.compile("sgd", "mse", jit_compile=False)
    return model, rng.normal(size=(4, 8, 8, 3)).astype("float32"), np.zeros((4, 16), "float32")


def trained_weights(change, seed=0):
    """The weights of `own_network` after a step, and the forms that the step took."""
    keras.utils.set_random_seed(seed)
    model, x, y = own_network(np.random.default_rng(seed))
    change(model)
    with fast.recorded() as used:
        model.train_on_batch(x, y)
    return model.get_weights(), {form.compute.__name__ for _, form in used}


@pytest.fixture
def forms_of_dense(monkeypatch):
    """Two forms of `Dense` for the present backend: the first applies to vectors of 1 alone."""
    backend = keras.backend.backend()

    def of_one(layer, inputs, training=None):
        return inputs + 1 if inputs.shape[-1] == 1 else None

    def of_any(layer, inputs, training=None):
        return inputs + 2

    forms = [
        Form(layers.Dense, "call", of_one, backend=backend),
        Form(layers.Dense, "call", of_any, suits=lambda layer: layer.use_bias, backend=backend),
        Form(layers.Dense, "call", lambda layer, inputs: None, backend="another"),
    ]
    monkeypatch.setattr(registry, "FORMS", forms)
    return forms


def test_the_first_form_that_applies_is_computed(forms_of_dense):
    one, three = np.zeros((2, 1), "float32"), np.zeros((2, 3), "float32")

    def value(units, inputs, **options):
        layer = layers.Dense(units, kernel_initializer="zeros", **options)
        return float(keras.ops.max(fast.install(layer)(inputs)))

    with fast.recorded() as used:
        assert value(1, one) == value(1, one, use_bias=False) == 1
        assert value(3, three) == 2
        assert value(3, three, use_bias=False) == 0
    assert [form for _, form in used] == [forms_of_dense[n] for n in (0, 0, 1)]


def test_forms_are_for_a_class_and_for_what_inherits_its_computation(forms_of_dense, monkeypatch):
    class Renamed(layers.Dense):
        pass

    class Other(layers.Dense):
        def call(self, inputs, training=None):
            return inputs + 5

    assert not any(fast.is_installed(fast.install(layer(2))) for layer in (Renamed, Other))
    inherited = Form(
        layers.Dense,
        "call",
        forms_of_dense[1].compute,
        inherited=("call",),
        backend=keras.backend.backend(),
    )
    monkeypatch.setattr(registry, "FORMS", [inherited])
    assert fast.is_installed(fast.install(Renamed(2)))
    assert not fast.is_installed(fast.install(Other(2)))
    assert not fast.is_installed(fast.install(layers.Conv2D(2, 1)))


def test_what_a_user_has_replaced_stays(forms_of_dense):
    layer = layers.Dense(1)
    layer.call = lambda inputs: inputs + 7
    assert not fast.is_installed(fast.install(layer))
    assert float(fast.remove(layer)(np.zeros((1, 1), "float32"))[0, 0]) == 7


def test_install_and_remove_reach_every_layer(forms_of_dense):
    image = keras.Input((1,))
    inner = keras.Sequential([keras.Input((1,)), layers.Dense(1, name="a")], name="inner")
    model = keras.Model(image, layers.Dense(1, name="b")(inner(image)), name="outer")
    assert installed(model) == []
    assert fast.install(model) is model
    assert {*installed(model)} == {"a", "b"}
    assert float(model(np.zeros((1, 1), "float32"))[0, 0]) == 2
    assert fast.remove(model) is model
    assert installed(model) == []
    assert type(model.get_layer("b")).call is layers.Dense.call


def test_other_backends_have_no_forms_yet():
    model = build_model("resnet_v1", depth=8, attention_module="cbam_block")
    assert bool(installed(model)) is tensorflow


@only_tensorflow
def test_attention_in_a_users_own_network_has_its_forms(rng):
    model, *_ = own_network(rng)
    assert {*installed(model)} == {"attention", "channel", "spatial"}
    assert {*installed(fast.install(model))} == {"norm", "add", "relu", *installed(model)}


@only_tensorflow
@pytest.mark.parametrize("module", ["cbam_block", "sk_block", "bam_block"])
def test_removed_forms_come_back(module):
    model = build_model("resnet_v1", depth=8, attention_module=module)
    before = installed(model)
    assert len(before) > len([layer for layer in model.layers if fast.is_installed(layer)])
    assert installed(fast.remove(model)) == []
    assert installed(fast.install(model)) == before


@only_tensorflow
def test_turned_off_in_a_context():
    plain, used = trained_weights(lambda model: None)
    assert used == set()  # in a step of Keras, but of a small map
    with fast.for_any_size():
        _, used = trained_weights(fast.install)
        assert used == {"normalization", "cbam", "addition", "rectifier"}
        with fast.disabled(layers.Add, AttentionLayer):
            _, used = trained_weights(fast.install)
        assert used == {"normalization"}
        for change in (fast.install, lambda model: None):
            with fast.disabled(), fast.disabled(CBAM):
                weights, used = trained_weights(change)
            assert used == set()
            for ours, wanted in zip(weights, plain, strict=True):
                np.testing.assert_array_equal(ours, wanted)
        with pytest.raises(KeyError), fast.disabled():
            raise KeyError
        _, used = trained_weights(fast.install)
        assert "cbam" in used


@only_tensorflow
def test_turned_off_by_the_environment(monkeypatch):
    plain, _ = trained_weights(lambda model: None)
    assert environment()["fast_forms"] is True
    monkeypatch.setenv("ATTENTION_ZOO_FAST", "0")
    assert not fast.is_switched_on()
    assert environment()["fast_forms"] is False
    with fast.for_any_size():
        weights, used = trained_weights(fast.install)
    assert used == set()
    for ours, wanted in zip(weights, plain, strict=True):
        np.testing.assert_array_equal(ours, wanted)


def test_a_run_is_not_resumed_with_other_forms():
    settings = types.SimpleNamespace(resume="runs/a", force=False, epochs=1)
    state = {"config": {}, "data": "", "progress": {"epoch": 0}}
    config = TrainSettings(model="resnet_v1").config()
    now = {"config": config, "data": "", "environment": {"fast_forms": False}}
    for before in ({}, {"fast_forms": True}):  # older runs do not say that they had them
        message = (
            "runs/a would not continue exactly: fast_forms was true, is false; "
            "'python main.py train --resume runs/a --force' resumes it"
        )
        with pytest.raises(UserError, match=message):
            check_state(settings, {**state, "environment": before}, now)
        check_state(
            settings,
            {**state, "environment": before},
            {**now, "environment": {"fast_forms": True}},
        )


@only_tensorflow
def test_a_normalization_is_its_own_where_attention_has_no_form():
    """Attention computes a normalization before it only if nothing else uses it."""

    def step(change):
        image = keras.Input((8, 8, 16))
        norm = layers.BatchNormalization(name="norm")
        model = fast.install(keras.Model(image, SE(name="attention")(norm(image))))
        change(model)
        model.compile("sgd", "mse", jit_compile=False)
        with fast.for_any_size(), fast.recorded() as used:
            model.train_on_batch(np.zeros((2, 8, 8, 16)), np.zeros((2, 8, 8, 16)))
        return [form.compute.__name__ for _, form in used]

    assert step(lambda model: None) == ["normalization_for_attention", "channel_attention"]
    removed = step(lambda model: fast.remove(model.get_layer("attention")))
    assert removed == ["normalization"]
    with fast.disabled(AttentionLayer):
        assert step(lambda model: None) == ["normalization"]


@only_tensorflow
def test_copies_have_the_forms_of_their_originals(rng):
    for change in (lambda model: model, fast.install, fast.remove):
        model, *_ = own_network(rng)
        before = installed(change(model))
        copy = add_attention(model, "se_block", at="conv", start="standard")
        assert [name for name in installed(copy) if name != "conv_attention"] == before
    copy = add_attention(model, "se_block", at="conv")
    (start,) = (layer for layer in copy.layers if isinstance(layer, IdentityStart))
    assert fast.is_installed(start.module)


def test_counting_leaves_the_forms(rng):
    model, *_ = own_network(rng)
    for change in (lambda model: None, fast.install, fast.remove):
        change(model)
        before = [vars(layer).get("call") for layer in all_layers(model)]
        counts = multiply_adds(model), activation_bytes(model)
        assert [vars(layer).get("call") for layer in all_layers(model)] == before
        with fast.disabled():
            assert (multiply_adds(model), activation_bytes(model)) == counts


@only_tensorflow
def test_the_example_of_the_documentation(capsys):
    page = (Path(models.__file__).parents[1] / "docs" / "fast.md").read_text()
    code, output = re.search("```python\n(.*?)```\n\n```text\n(.*?)```", page, re.DOTALL).groups()
    exec(code, {})
    assert capsys.readouterr().out == output


@pytest.mark.once
def test_attention_does_not_know_of_the_fast_forms():
    paths = list((Path(models.__file__).parent / "attention").rglob("*.py"))
    assert {"base.py", "cbam.py"} <= {path.name for path in paths}
    for path in paths:
        for node in ast.walk(ast.parse(path.read_text())):
            names = [name.name for name in getattr(node, "names", [])]
            assert "fast" not in f"{getattr(node, 'module', '')}.{names}", path
    done = run_python(
        "-c",
        "import sys, models.attention.combined.cbam\nassert 'models.fast' not in sys.modules\n"
        "import models.attention_module\nassert 'models.fast' in sys.modules",
    )
    assert done.returncode == 0, done.stderr
