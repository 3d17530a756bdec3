"""Attention in its fast form gives the numbers and gradients of the plain layers."""

import functools

import keras
import numpy as np
import pytest
from keras import layers

from models import fast
from models.attention_module import (
    CBAM,
    CBAM_OFFICIAL,
    SE,
    ChannelAttention,
    attach_attention_module,
    list_attention,
)

pytestmark = [
    pytest.mark.fast_attention,
    pytest.mark.skipif(
        keras.backend.backend() != "tensorflow", reason="the fast forms are TensorFlow's on a CPU"
    ),
]

CASES = {  # options, shape of the map
    "CBAM": ({}, (9, 7, 16)),
    "authors'": ({**CBAM_OFFICIAL, "ratio": 4}, (8, 8, 12)),
}
MORE_CASES = {
    "many channels": ({}, (7, 6, 160)),
    "one pool each": ({"pools": "max", "descriptor": "avg", "use_bias": False}, (5, 6, 8)),
    "average, maximum": ({"pools": "avg", "descriptor": "max", "kernel_size": 3}, (3, 2, 5)),
    "one position": ({}, (1, 1, 1)),
    "too wide to be folded": ({"kernel_size": 5}, (2, 90, 3)),
    "maximum, average": ({"use_bias": False, "pools": ("max", "avg")}, (11, 4, 10)),
}


@pytest.fixture
def calls(monkeypatch):
    """Every map has the fast form; what the layers ask for is kept."""
    from models.fast import compiled_attention as fast_attention

    monkeypatch.setattr(fast.conditions, "LEAST_POSITIONS", 1)
    monkeypatch.setattr(fast.conditions, "LEAST_VALUES", 1)
    calls = []
    attend = fast_attention.attend

    def counted(*arguments, **options):
        calls.append(arguments)
        return attend(*arguments, **options)

    monkeypatch.setattr(fast_attention, "attend", counted)
    return calls


def network(attend, ending, shape, norm=None):
    """Attention after what makes zeros, of which several equal a maximum, or a normalization."""
    keras.utils.set_random_seed(0)
    image = keras.Input(shape)
    x = layers.Conv2D(shape[-1], 3, padding="same", activation="relu", name="before")(image)
    z = x if norm is None else layers.BatchNormalization(**norm)(x + 10.0)
    y = ENDINGS[ending](x, attend(z))
    model = keras.Model(image, layers.Dense(3)(layers.Flatten()(y)))
    model.compile(keras.optimizers.SGD(0.05), "mse", jit_compile=False)
    return fast.speed_up(model)


def rectified(x):
    return layers.Activation("relu")(x - 0.5)


ENDINGS = {  # what is done to the shortcut and the attended map
    "nonlinear": lambda x, y: y * y,
    "residual block": lambda x, y: layers.Activation("relu")(layers.Add()([-x, y])),
    "the other order": lambda x, y: layers.Activation("relu")(layers.Add()([y, -x])),
    "pre-activation": lambda x, y: rectified(layers.Add()([-x, y])),
    "no shortcut": lambda x, y: layers.Activation("relu")(y),
    "twice the same": lambda x, y: layers.Add()([y, y]),
    "two additions": lambda x, y: layers.Add()([layers.Add()([-x, y]), -x * x]),
    "three at once": lambda x, y: layers.Activation("relu")(layers.Add()([-x, y, x * x])),
    "a shortcut that is broadcast": lambda x, y: layers.Activation("relu")(
        layers.Add()([y, -layers.GlobalAveragePooling2D(keepdims=True)(x)])
    ),
    "the map is used again": lambda x, y: layers.Add()([-x, y]) * y,
}


def assert_same_step(attend, ending, shape, monkeypatch, rng, **options):
    """A step and a prediction in the fast form are those in the plain one."""
    x = rng.normal(size=(5, *shape)).astype("float32")
    targets = rng.normal(size=(5, 3)).astype("float32")
    quick = network(attend, ending, shape, **options)
    quick.train_on_batch(x, targets)
    outputs = quick.predict_on_batch(x)
    monkeypatch.setattr(fast.conditions, "LEAST_VALUES", 10**9)
    plain = network(attend, ending, shape, **options)
    start = [weight.copy() for weight in plain.get_weights()]
    plain.train_on_batch(x, targets)
    for ours, wanted, before in zip(
        quick.get_weights(), plain.get_weights(), start, strict=True
    ):  # the step taken is the gradient
        scale = max(np.abs(wanted - before).max(), 1e-3)
        np.testing.assert_allclose(ours, wanted, rtol=1e-6, atol=1e-4 * scale)
    plain.set_weights(quick.get_weights())
    np.testing.assert_allclose(outputs, plain.predict_on_batch(x), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("options", "shape"),
    [
        *(pytest.param(*case, id=name) for name, case in CASES.items()),
        *(pytest.param(*c, id=name, marks=pytest.mark.long) for name, c in MORE_CASES.items()),
    ],
)
def test_numbers_are_the_plain_layers(options, shape, calls, monkeypatch, rng):
    assert_same_step(lambda x: CBAM(**options)(x), "nonlinear", shape, monkeypatch, rng)
    assert calls


@pytest.mark.parametrize("module", list_attention())
def test_every_module_in_a_residual_block(module, calls, monkeypatch, rng):
    attend = functools.partial(attach_attention_module, attention_module=module)
    assert_same_step(attend, "residual block", (8, 6, 8), monkeypatch, rng)


@pytest.mark.parametrize("module", ["cbam_block", "se_block", "simam_block"])
@pytest.mark.parametrize("ending", ENDINGS)
def test_what_follows_is_joined_or_not(ending, module, calls, monkeypatch, rng):
    attend = functools.partial(attach_attention_module, attention_module=module)
    assert_same_step(attend, ending, (6, 5, 8), monkeypatch, rng)


def some_zero(shape, dtype=None):
    """Scales of either sign, and none: all values are a maximum then."""
    return np.resize(np.float32([0.5, 0.0, -2.0]), shape)


NORMS = {
    "scales of either sign": {"gamma_initializer": some_zero, "beta_initializer": "random_normal"},
    "without gamma": {"scale": False, "epsilon": 1e-5},
    "without beta": {"center": False, "momentum": 0.9},
    "frozen": {"trainable": False},
}


@pytest.mark.parametrize(
    "attend",
    [
        pytest.param(lambda x: SE()(x), id="SE"),
        pytest.param(lambda x: ChannelAttention(pools=("max", "avg"))(x), id="maximum first"),
        pytest.param(lambda x: CBAM(ratio=4)(x), id="CBAM"),
        pytest.param(lambda x: CBAM(pools="max", batch_norm=True)(x), id="normalized inside"),
    ],
)
@pytest.mark.parametrize("norm", NORMS.values(), ids=NORMS)
def test_a_normalisation_before_is_joined(norm, attend, calls, monkeypatch, rng):
    sources = []
    source_of = fast.source_of
    monkeypatch.setattr(fast, "source_of", lambda x: sources.append(source_of(x)) or sources[-1])
    assert_same_step(attend, "residual block", (6, 9, 8), monkeypatch, rng, norm=norm)
    joined = [type(source).__name__ for source in sources]
    assert joined == ["Stored" if "trainable" in norm else "Normalized", "Stored"]


@pytest.mark.parametrize("module", ["cbam_block", "se_block", "eca_block"])
def test_a_residual_block_ends_in_one_pass(module, monkeypatch, rng):
    from models import build_model
    from models.fast import compiled_attention as fast_attention

    ends = []
    end = fast_attention._end
    monkeypatch.setattr(fast_attention, "_end", lambda *of: ends.append(of[2:]) or end(*of))
    model = build_model("resnet_v1", depth=8, attention_module=module)
    model.predict_on_batch(np.zeros((2, 32, 32, 3)))
    joined = [shortcuts for shortcuts, rectified in ends if rectified]
    assert [len(shortcuts) for shortcuts in joined] == [1, 1, 1]


@pytest.mark.parametrize(
    "options",
    [
        {"order": "parallel"},
        {"descriptor": "conv"},
        {"pools": ("avg", "lse")},
        {"dtype": "mixed_bfloat16"},
        {"data_format": "channels_first"},
    ],
)
def test_what_has_no_fast_form_runs_the_plain_one(options, calls, rng):
    model = network(lambda x: CBAM(**options)(x), "nonlinear", (8, 8, 8))
    x = rng.normal(size=(2, 8, 8, 8)).astype("float32")
    assert np.isfinite(model.train_on_batch(x, np.zeros((2, 3))))
    assert not calls


def test_a_subclass_that_attends_otherwise_is_heard(calls, rng):
    class Ignored(CBAM):
        def attend(self, inputs, training=None):
            return 2 * inputs, {}

    model = network(lambda x: Ignored()(x), "nonlinear", (4, 4, 8))
    model.predict_on_batch(rng.normal(size=(2, 4, 4, 8)).astype("float32"))
    assert not calls


@pytest.mark.parametrize("normalized", [False, True])
def test_gradients_twice_and_of_gradients(normalized, calls, monkeypatch, rng):
    """As a train step with two losses, or a penalty on the gradient, asks for them."""
    import tensorflow as tf

    x = tf.constant(rng.normal(size=(2, 6, 5, 8)).astype("float32"))
    found = []
    for applies in (True, False):
        monkeypatch.setattr(fast.conditions, "in_a_step_of_keras", lambda applies=applies: applies)
        keras.utils.set_random_seed(0)
        layer, norm = CBAM(), fast.speed_up(layers.BatchNormalization())
        norm.call.only_attention_follows = True
        layer.build(x.shape)
        with tf.GradientTape(persistent=True) as outer:
            outer.watch(x)
            with tf.GradientTape(persistent=True) as tape:
                tape.watch(x)
                y = layer(norm(x, training=True) if normalized else x)
                losses = [tf.reduce_sum(tf.sin(y)), tf.reduce_sum(y**2)]
            slopes = [tape.gradient(loss, x) for loss in losses]
            penalty = tf.reduce_sum(slopes[0] ** 2)
        found.append([*slopes, outer.gradient(penalty, x)])
    assert [type(source).__name__ for source, *_ in calls] == [
        "Normalized" if normalized else "Stored"
    ]
    for ours, wanted in zip(*found, strict=True):
        np.testing.assert_allclose(ours, wanted, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("size", [3, 7, 11])
@pytest.mark.parametrize("shape", [(1, 1, 2), (4, 3, 1), (9, 16, 2), (2, 90, 3)])
def test_folded_convolution_is_the_convolution(shape, size, rng):
    from models.fast.compiled_attention import convolve

    maps = rng.normal(size=(2, *shape)).astype("float32")
    kernel = rng.normal(size=(size, size, shape[-1], 1)).astype("float32")
    wanted = keras.ops.conv(maps, kernel, padding="same")
    np.testing.assert_allclose(convolve(maps, kernel), wanted, rtol=1e-5, atol=1e-4)


def test_a_callers_own_graph_is_plain(calls, rng):
    import tensorflow as tf

    layer = CBAM()
    tf.function(layer)(tf.zeros((2, 8, 8, 8)))
    layer(tf.zeros((2, 8, 8, 8)))
    assert not calls
