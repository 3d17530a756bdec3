"""The fast forms give the numbers, gradients, statistics and files of the plain layers."""

import keras
import numpy as np
import pytest
from keras import layers

from models.fast import disabled, install, recorded
from models.fast.keras_forms import compiled_normalization
from models.saving import load_model

OPTIONS = {
    "usual": {},
    "without gamma": {"scale": False},
    "without beta": {"center": False},
    "constants": {"momentum": 0.9, "epsilon": 1e-5},
    "frozen": {"trainable": False},
    "channels first": {"axis": 1},
}


def assert_same(fast, plain, x, tolerance):
    """Two networks after a step have the same weights (the gradients), and so the same outputs."""
    for ours, wanted in zip(fast.get_weights(), plain.get_weights(), strict=True):
        np.testing.assert_allclose(ours, wanted, rtol=tolerance, atol=tolerance)
    fast.set_weights(plain.get_weights())
    expected = plain.predict(x, verbose=0)
    for outputs in (fast.predict(x, verbose=0), fast(x)):  # in a graph, and eagerly
        outputs = keras.ops.convert_to_numpy(outputs)
        np.testing.assert_allclose(outputs, expected, rtol=tolerance, atol=tolerance)


def trained(fast, options, x, targets):
    """A network with one normalization after a step of training on `x`."""
    keras.utils.set_random_seed(0)
    image = keras.Input(x.shape[1:])
    layer = layers.BatchNormalization(gamma_initializer="random_normal", name="norm", **options)
    y = layers.Conv2D(3, 3, padding="same")(image)
    y = (install(layer) if fast else layer)(y)
    model = keras.Model(image, layers.GlobalAveragePooling2D()(y * y))
    model.compile(keras.optimizers.SGD(0.1), "mse", jit_compile=False)
    model.train_on_batch(x, targets)
    return model


@pytest.mark.once  # the fast forms are TensorFlow's
@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
@pytest.mark.parametrize("shape", [(8, 6, 5, 4), (1, 1, 1, 4), (8, 6, 5, 16)])
@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_normalization_is_the_plain_one(options, shape, policy, rng):
    keras.config.set_dtype_policy(policy)
    x = (3 + 2 * rng.normal(size=shape)).astype("float32")
    targets = rng.normal(size=(len(x), 3)).astype("float32")
    plain, fast = (trained(fast, options, x, targets) for fast in (False, True))
    # weights after a step: the gradients; the moving statistics are among them
    tolerance = 1e-5 if policy == "float32" else 1e-2
    assert_same(fast, plain, x, tolerance)


AFTER = {  # what is done to a normalized map `y` and to the map `x` before it
    "nothing": lambda x, y: y,
    "rectified": lambda x, y: layers.Activation("relu")(y),
    "residual": lambda x, y: layers.Activation("relu")(layers.Add()([x, y])),
    "added": lambda x, y: layers.Add()([y, x]),
    "used twice": lambda x, y: layers.Activation("relu")(y) - y,
    "an output": lambda x, y: (layers.Activation("relu")(y), y),
}


def normalizing_network(channels, after):
    keras.utils.set_random_seed(0)
    image = keras.Input((6, 5, 3))
    x = layers.Conv2D(channels, 3, padding="same")(image)
    y = layers.BatchNormalization(gamma_initializer="random_normal")(x + 2.0)
    outputs = [y * y for y in keras.tree.flatten(AFTER[after](x, y))]
    model = keras.Model(image, [layers.GlobalAveragePooling2D()(y) for y in outputs])
    model.compile(keras.optimizers.SGD(0.1), "mse", jit_compile=False)
    return install(model)


@pytest.mark.once
@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="the form is TensorFlow's")
@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
@pytest.mark.parametrize(
    "after",
    [
        pytest.param(after, marks=[] if after in ("rectified", "an output") else pytest.mark.long)
        for after in AFTER
    ],
)
def test_normalization_of_odd_channels_with_what_follows(after, policy, any_size, rng):
    """In float32 it is the plain one; in bfloat16 that of the rounded map, in float32."""
    keras.config.set_dtype_policy(policy)
    x = rng.normal(size=(8, 6, 5, 3)).astype("float32")
    fast = normalizing_network(12, after)
    targets = [np.zeros((8, 12), "float32")] * len(fast.outputs)
    with recorded() as used:
        fast.train_on_batch(x, targets)
    assert compiled_normalization in [form.compute for _, form in used]
    with disabled():
        plain = normalizing_network(12, after)
        plain.train_on_batch(x, targets)
        tolerance = 1e-5 if policy == "float32" else 1e-2
        assert_same(fast, plain, x, tolerance)


@pytest.mark.once
def test_channels_that_fill_a_vector_keep_the_kernel(any_size, rng):
    model = normalizing_network(16, "rectified")
    with recorded() as used:
        model.train_on_batch(rng.normal(size=(8, 6, 5, 3)), np.zeros((8, 16)))
    assert compiled_normalization not in [form.compute for _, form in used]


def trained_convolution(fast, make, x, targets, eagerly=False):
    """A network with the one convolution that `make` returns, after a step of training on `x`."""
    keras.utils.set_random_seed(0)
    layer = make()
    image = keras.Input(x.shape[1:])
    y = (install(layer) if fast else layer)(image)
    model = keras.Model(image, layers.GlobalAveragePooling2D()(y * y)[:, :3])
    model.compile(keras.optimizers.SGD(0.1), "mse", jit_compile=False, run_eagerly=eagerly)
    model.train_on_batch(x, targets)
    return model


def assert_same_convolution(make, policy, rng):
    """A network with the convolution that `make` returns trains alike with and without forms."""
    keras.config.set_dtype_policy(policy)
    x = rng.normal(size=(2, 9, 7, 8)).astype("float32")
    targets = rng.normal(size=(2, 3)).astype("float32")
    plain = trained_convolution(False, make, x, targets)
    tolerance = 1e-5 if policy == "float32" else 2e-2
    for eagerly in (False, True):
        fast = trained_convolution(True, make, x, targets, eagerly)
        assert_same(fast, plain, x, tolerance)


GROUPED = {  # groups, and the other options of the convolution
    "many of one channel": (8, {"padding": "same"}),
    "strided": (4, {"strides": 2, "padding": "valid", "use_bias": True}),
    "dilated": (4, {"dilation_rate": 2, "padding": "same", "activation": "relu"}),
    "too wide to share a convolution": (2, {"filters": 80}),
    "pairs share a convolution": (4, {"filters": 64, "kernel_size": (1, 3)}),
}


@pytest.mark.once
@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
@pytest.mark.parametrize(("groups", "options"), GROUPED.values(), ids=GROUPED)
def test_grouped_convolution_is_the_plain_one(groups, options, policy, rng):
    def make():
        return layers.Conv2D(**{"filters": 16, "kernel_size": 3, "groups": groups, **options})

    assert_same_convolution(make, policy, rng)


DEPTHWISE = {
    "usual": {"use_bias": False},
    "padded, with a bias": {"padding": "same", "bias_initializer": "random_normal"},
    "with an activation": {"activation": "relu"},
    "many outputs per channel": {"depth_multiplier": 3},
}


@pytest.mark.once
@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
@pytest.mark.parametrize("options", DEPTHWISE.values(), ids=DEPTHWISE)
def test_depthwise_convolution_is_the_plain_one(options, policy, rng):
    def make():
        return layers.DepthwiseConv2D(3, strides=2, **options)

    with recorded() as used:
        assert_same_convolution(make, policy, rng)
    # there is nothing to gain in float32
    if keras.backend.backend() == "tensorflow":
        assert bool(used) == (policy == "mixed_bfloat16")


@pytest.mark.once
def test_depthwise_convolution_of_long_strips_in_float16(rng):
    """TensorFlow's own kernel never ends on some processors."""
    x = rng.normal(size=(1, 32, 32, 4)).astype("float32")
    exact = layers.DepthwiseConv2D((1, 21), padding="same")
    exact.build(x.shape)
    half = install(layers.DepthwiseConv2D((1, 21), padding="same", dtype="mixed_float16"))
    half.build(x.shape)
    half.set_weights(exact.get_weights())
    y, expected = (keras.ops.convert_to_numpy(layer(x)) for layer in (half, exact))
    assert y.dtype == "float16"
    np.testing.assert_allclose(y, expected, atol=5e-3)


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="XLA in TensorFlow's graph")
@pytest.mark.parametrize("module", [None, "sk_block"])
def test_no_grouped_convolution_is_left_to_xla(module):
    import tensorflow as tf

    from models import build_model

    name, options = ("resnext", {"depth": 29}) if module is None else ("resnet_v1", {"depth": 8})
    model = build_model(name, attention_module=module, input_shape=(32, 32, 3), **options)
    graph = tf.function(lambda x: model(x)).get_concrete_function(tf.TensorSpec((1, 32, 32, 3)))
    compiled = [op.name for op in graph.graph.get_operations() if "PartitionedCall" in op.type]
    assert not compiled


@pytest.mark.once  # JAX compiles every operation by itself
def test_files_are_plain_keras(tmp_path, rng):
    x = rng.normal(size=(2, 6, 5, 4)).astype("float32")
    model = trained(True, {}, x, np.zeros((2, 3), "float32"))
    model.save(tmp_path / "model.keras")
    for load in (keras.saving.load_model, load_model):
        again = load(tmp_path / "model.keras")
        assert type(again.get_layer("norm")) is layers.BatchNormalization
        np.testing.assert_allclose(
            again.predict(x, verbose=0), model.predict(x, verbose=0), atol=1e-6
        )


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="TensorFlow's own kernel")
def test_the_kernel_is_in_the_graph():
    import tensorflow as tf

    from models import build_model

    model = build_model("resnet_v1", depth=8)
    graph = tf.function(lambda x: model(x, training=True)).get_concrete_function(
        tf.TensorSpec((2, 32, 32, 3))
    )
    kernels = [op for op in graph.graph.get_operations() if op.type == "FusedBatchNormV3"]
    norms = [layer for layer in model.layers if isinstance(layer, layers.BatchNormalization)]
    assert len(kernels) == len(norms)
