"""Attention in its fast form gives the numbers and gradients of the plain layers."""

import contextlib
import functools

import keras
import numpy as np
import pytest
from keras import layers

from models import build_model, fast
from models.attention_module import (
    CBAM,
    CBAM_OFFICIAL,
    SE,
    AttentionLayer,
    ChannelAttention,
    attach_attention_module,
    list_attention,
)
from tests.models.fast_forms import layers_of

pytestmark = [
    pytest.mark.fast_attention,
    pytest.mark.skipif(
        keras.backend.backend() != "tensorflow", reason="the fast forms are TensorFlow's on a CPU"
    ),
]

CASES = {  # options, shape of the map
    "CBAM": ({}, (9, 7, 16)),
    "authors'": ({**CBAM_OFFICIAL, "ratio": 4, "start": "published"}, (8, 8, 12)),
}
MORE_CASES = {
    "many channels": ({}, (7, 6, 160)),
    "one pool each": ({"pools": "max", "descriptor": "avg", "use_bias": False}, (5, 6, 8)),
    "average, maximum": ({"pools": "avg", "descriptor": "max", "kernel_size": 3}, (3, 2, 5)),
    "one position": ({}, (1, 1, 1)),
    "too wide to be folded": ({"kernel_size": 5}, (2, 90, 3)),
    "maximum, average": ({"use_bias": False, "pools": ("max", "avg")}, (11, 4, 10)),
}


LONG = pytest.mark.long
# one of each kind of gate: of channels, positions, rows and columns, and values, and none
ALWAYS = (
    "cbam_block", "se_block", "eca_block", "sse_block", "coordinate_block", "simam_block",
    "non_local_block",
)  # fmt: skip
MODULES = [
    pytest.param(name, marks=[] if name in ALWAYS else pytest.mark.long)
    for name in list_attention()
]


def network(attend, ending, shape, norm=None):
    """Attention after what makes zeros, of which several equal a maximum, or a normalization."""
    keras.utils.set_random_seed(0)
    image = keras.Input(shape)
    x = layers.Conv2D(shape[-1], 3, padding="same", activation="relu", name="before")(image)
    z = x if norm is None else layers.BatchNormalization(**norm)(x + 10.0)
    y = ENDINGS[ending](x, attend(z))
    model = keras.Model(image, layers.Dense(3)(layers.Flatten()(y)))
    model.compile(keras.optimizers.SGD(0.05), "mse", jit_compile=False)
    return fast.install(model)


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


def check_same_step(attend, ending, shape, rng, **options):
    """A step and a prediction in the fast form are those in the plain one.

    Returns:
        The fast forms that the step and the prediction took, as `fast.recorded` gives them.
    """
    x = rng.normal(size=(5, *shape)).astype("float32")
    targets = rng.normal(size=(5, 3)).astype("float32")
    quick = network(attend, ending, shape, **options)
    with fast.recorded() as used:
        quick.train_on_batch(x, targets)
        outputs = quick.predict_on_batch(x)
    with fast.disabled(AttentionLayer), fast.recorded() as used_by_plain:
        plain = network(attend, ending, shape, **options)
        start = [weight.copy() for weight in plain.get_weights()]
        plain.train_on_batch(x, targets)
        after_step = plain.get_weights()
        plain.set_weights(quick.get_weights())
        wanted_outputs = plain.predict_on_batch(x)
    assert layers_of(used_by_plain) <= {layers.BatchNormalization, layers.Conv2D}
    for ours, wanted, before in zip(
        quick.get_weights(), after_step, start, strict=True
    ):  # the step taken is the gradient
        scale = max(np.abs(wanted - before).max(), 1e-3)
        np.testing.assert_allclose(ours, wanted, rtol=1e-6, atol=1e-4 * scale)
    np.testing.assert_allclose(outputs, wanted_outputs, rtol=1e-5, atol=1e-5)
    return used


@pytest.mark.parametrize(
    ("options", "shape"),
    [
        *(pytest.param(*case, id=name) for name, case in CASES.items()),
        *(pytest.param(*c, id=name, marks=pytest.mark.long) for name, c in MORE_CASES.items()),
    ],
)
def test_numbers_are_the_plain_layers(options, shape, any_size, rng):
    used = check_same_step(lambda x: CBAM(**options)(x), "nonlinear", shape, rng)
    assert layers_of(used) == {CBAM}


@pytest.mark.parametrize("batch_norm", [False, True])
def test_gates_up_to_two(batch_norm, any_size, rng):
    """Their start is identity; here they have moved away from it."""

    def attend(x):
        layer = CBAM(batch_norm=batch_norm, start="identity")
        y = layer(x)
        numbers = np.random.default_rng(0)
        layer.set_weights([w + 0.3 * numbers.random(w.shape) for w in layer.get_weights()])
        return y

    used = check_same_step(attend, "residual block", (8, 6, 8), rng, norm={})
    assert CBAM in layers_of(used)


OTHERS = ("se_block", "simam_block")


@pytest.mark.parametrize("module", MODULES)
def test_every_module_in_a_residual_block(module, any_size, rng):
    attend = functools.partial(attach_attention_module, attention_module=module)
    check_same_step(attend, "residual block", (8, 6, 8), rng)


@pytest.mark.parametrize(
    "module", ["cbam_block", *(pytest.param(n, marks=pytest.mark.long) for n in OTHERS)]
)
@pytest.mark.parametrize("ending", ENDINGS)
def test_what_follows_is_fused_or_not(ending, module, any_size, rng):
    attend = functools.partial(attach_attention_module, attention_module=module)
    check_same_step(attend, ending, (6, 5, 8), rng)


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
def test_a_normalization_before_is_fused(norm, attend, any_size, rng):
    used = check_same_step(attend, "residual block", (6, 9, 8), rng, norm=norm)
    forms = [form.compute.__name__ for _, form in used if form.layer is layers.BatchNormalization]
    in_training = "normalization" if "trainable" in norm else "normalization_for_attention"
    assert forms == [in_training, "normalization"]


@pytest.fixture
def policy(request):
    keras.config.set_dtype_policy(request.param)
    yield request.param
    keras.config.set_dtype_policy("float32")


def rounded_to_bfloat16(x):
    return (x.astype("float32").view("uint32") & 0xFFFF0000).view("float32")


def residual_block(attend, shape, norm):
    """A residual block on the image itself, which is the same map in every precision."""
    keras.utils.set_random_seed(0)
    image = keras.Input(shape)
    x = layers.Activation("linear")(image)  # casts the image to the precision of the computation
    y = x if norm is None else layers.BatchNormalization(**norm)(x)
    y = layers.Activation("relu")(layers.Add()([x, attend(y)]))
    y = layers.Dense(3, dtype="float32")(layers.Flatten(dtype="float32")(y))
    model = keras.Model(image, y)
    model.compile(keras.optimizers.SGD(0.05), "mse", jit_compile=False)
    return fast.install(model)


def step_of(build, x, targets, start=None):
    """Returns a block's weights, its outputs, and its weights after a step."""
    model = build()
    if start is not None:
        model.set_weights(start)
    start = model.get_weights()
    outputs = model.predict_on_batch(x)
    model.train_on_batch(x, targets)
    return start, outputs, model.get_weights()


def check_bfloat16(module, norm, rng):
    """A step in bfloat16 is that in float32, but for the rounding of maps to 8 bits.

    Rounding may cost what it costs the plain form: a gate's own convolutions may multiply it.
    """
    x = rounded_to_bfloat16(rng.normal(size=(5, 8, 6, 8)))
    targets = rng.normal(size=(5, 3)).astype("float32")
    attend = functools.partial(attach_attention_module, attention_module=module)
    build = functools.partial(residual_block, attend, x.shape[1:], norm)
    with fast.disabled():
        start, wanted, right = step_of(build, x, targets)
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        with fast.disabled():
            _, rounded, slow = step_of(build, x, targets, start)
        with fast.recorded() as used:
            _, found, ours = step_of(build, x, targets, start)
    finally:
        keras.config.set_dtype_policy("float32")
    if module in ("cbam_block", "se_block", "eca_block"):
        assert layers.Add in layers_of(used)
    np.testing.assert_allclose(
        found, wanted, rtol=2**-7, atol=max(2**-6, 2 * np.abs(rounded - wanted).max())
    )
    for fast_one, slow_one, plain, before in zip(ours, slow, right, start, strict=True):
        error, cost, step = (
            np.linalg.norm(np.ravel(a))
            for a in (fast_one - plain, slow_one - plain, plain - before)
        )
        # the constant is for a bias before a normalization, which makes no step at all
        assert error <= max(0.02 * step + 3e-4, 2 * cost)


@pytest.mark.parametrize("module", MODULES)
def test_in_bfloat16_it_is_the_plain_form_in_float32(module, any_size, rng):
    check_bfloat16(module, None, rng)


@pytest.mark.parametrize("module", ["cbam_block", "se_block"])
@pytest.mark.parametrize("norm", [{}, {"gamma_initializer": some_zero}], ids=["ones", "any sign"])
def test_in_bfloat16_with_a_normalization_before(norm, module, any_size, rng):
    check_bfloat16(module, norm, rng)


@pytest.mark.parametrize("module", ["cbam_block", "se_block", "eca_block"])
@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"], indirect=True)
def test_a_residual_block_ends_in_one_pass(policy, module):
    model = build_model("resnet_v1", depth=8, attention_module=module)
    with fast.recorded() as used:
        model.predict_on_batch(np.zeros((2, 32, 32, 3)))
    ends = [layer.name for layer, form in used if form.layer in (layers.Add, layers.Activation)]
    blocks = [f"stage{stage}_block1" for stage in (1, 2, 3)]
    assert ends == [f"{block}_{end}" for block in blocks for end in ("add", "relu")]


@pytest.mark.parametrize(
    "options",
    [
        {"order": "parallel"},
        {"descriptor": "conv"},
        {"pools": ("avg", "lse")},
        {"dtype": "mixed_float16"},
        {"data_format": "channels_first"},
    ],
)
def test_what_has_no_fast_form_runs_the_plain_one(options, any_size, rng):
    model = network(lambda x: CBAM(**options)(x), "nonlinear", (8, 8, 8))
    x = rng.normal(size=(2, 8, 8, 8)).astype("float32")
    with fast.recorded() as used:
        assert np.isfinite(model.train_on_batch(x, np.zeros((2, 3))))
    assert CBAM not in layers_of(used)


@pytest.mark.parametrize("changed", ["int8", "lora"])
@pytest.mark.parametrize("layer_class", [SE, CBAM])
def test_integers_and_adapters_run_the_plain_form(layer_class, changed, any_size, rng):
    model = network(lambda x: layer_class()(x), "nonlinear", (8, 8, 8))
    x = rng.normal(size=(2, 8, 8, 8)).astype("float32")
    layer = next(layer for layer in model.layers if isinstance(layer, layer_class))
    dense = getattr(layer, "channel", layer).reduce
    if changed == "int8":
        dense.quantize("int8")
    else:
        dense.enable_lora(2)
    with fast.recorded() as used:
        y = model.predict_on_batch(x)
    assert layer_class not in layers_of(used)
    with fast.disabled():
        np.testing.assert_allclose(y, keras.ops.convert_to_numpy(model(x)), rtol=1e-5)


@pytest.mark.parametrize("normalized", [False, pytest.param(True, marks=pytest.mark.long)])
def test_gradients_twice_and_of_gradients(normalized, any_size, rng):
    """As a train step with two losses, or a penalty on the gradient, asks for them."""
    import tensorflow as tf

    class Differentiated(keras.Model):
        def train_step(self, data):
            x, *_ = data
            with tf.GradientTape(persistent=True) as outer:
                outer.watch(x)
                with tf.GradientTape(persistent=True) as tape:
                    tape.watch(x)
                    y = self(x, training=True)
                    losses = [tf.reduce_sum(tf.sin(y)), tf.reduce_sum(y**2)]
                gradients = [tape.gradient(loss, x) for loss in losses]
                penalty = tf.reduce_sum(gradients[0] ** 2)
            return {"sin": gradients[0], "y": gradients[1], "both": outer.gradient(penalty, x)}

    x = rng.normal(size=(2, 6, 5, 8)).astype("float32")
    found, used = [], []
    for off in ([], [AttentionLayer]):
        keras.utils.set_random_seed(0)
        image = keras.Input(x.shape[1:])
        z = layers.BatchNormalization()(image) if normalized else image
        model = fast.install(Differentiated(image, CBAM()(z)))
        model.compile("sgd", "mse", jit_compile=False)
        with fast.disabled(*off) if off else contextlib.nullcontext(), fast.recorded() as record:
            found.append(model.train_on_batch(x, x, return_dict=True))
        used.append({form.compute.__name__ for _, form in record})
    assert used[0] == ({"cbam", "normalization_for_attention"} if normalized else {"cbam"})
    assert used[1] == ({"normalization"} if normalized else set())
    for name, gradient in found[0].items():
        np.testing.assert_allclose(gradient, found[1][name], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("size", [3, 7, 11])
@pytest.mark.parametrize("shape", [(1, 1, 2), (4, 3, 1), (9, 16, 2), (2, 90, 3)])
def test_folded_convolution_is_the_convolution(shape, size, rng):
    from models.fast.compiled_attention import convolve

    maps = rng.normal(size=(2, *shape)).astype("float32")
    kernel = rng.normal(size=(size, size, shape[-1], 1)).astype("float32")
    wanted = keras.ops.conv(maps, kernel, padding="same")
    np.testing.assert_allclose(convolve(maps, kernel), wanted, rtol=1e-5, atol=1e-4)


def test_a_callers_own_graph_is_plain(any_size):
    import tensorflow as tf

    layer = CBAM()
    with fast.recorded() as used:
        tf.function(layer)(tf.zeros((2, 8, 8, 8)))
        layer(tf.zeros((2, 8, 8, 8)))
    assert not used


class Gradients(keras.Model):
    """A model of two outputs whose training step measures the gradient of the second by the first.

    Nothing is trained.
    """

    def train_step(self, data):
        import tensorflow as tf

        with tf.GradientTape() as tape:
            inner, last = self(data[0], training=True)
            total = keras.ops.sum(last)
        return {"norm": tf.norm(tape.gradient(total, inner))}


@pytest.mark.parametrize("inner", ["norm", "attention", "add"])
@pytest.mark.parametrize(
    "module", ["cbam_block", *(pytest.param(m, marks=LONG) for m in ("se_block", "eca_block"))]
)
def test_gradients_by_what_a_model_returns(module, inner, any_size, rng):
    def measured():
        keras.utils.set_random_seed(0)
        image = keras.Input((8, 8, 12))
        norm = layers.BatchNormalization(name="norm")(layers.Conv2D(12, 3, padding="same")(image))
        attended = attach_attention_module(norm, module)
        added = layers.Add(name="add")([image, attended])
        tensors = {"norm": norm, "attention": attended, "add": added}
        last = layers.Activation("relu")(added)
        fast.install(keras.Model(image, last))  # which returns none of the others
        model = fast.install(Gradients(image, [tensors[inner], last * last]))
        model.compile(jit_compile=False)
        return model.train_on_batch(x, x, return_dict=True)["norm"]

    x = rng.normal(size=(4, 8, 8, 12)).astype("float32")
    with fast.disabled():
        expected = measured()
    assert expected > 0
    np.testing.assert_allclose(measured(), expected, rtol=1e-4)
