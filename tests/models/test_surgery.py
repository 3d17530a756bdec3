"""Attention put into existing models: the same outputs before and after, and what is refused."""

import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers, ops

from models import build_model
from models.attention_module import CBAM, CBAM_OFFICIAL, SE
from models.saving import load_model
from models.surgery import add_attention
from utils.backend import jit_compile

BACKEND = keras.backend.backend()

# network, size of the image, module, and where "auto" puts it (how often, and two of the places)
NETWORKS = [
    ("ResNet50", 64, "cbam_block", 16, {"conv2_block1_out", "conv5_block3_out"}),
    ("MobileNetV2", 64, "se_block", 10, {"block_2_add", "block_15_add"}),
    ("EfficientNetB0", 64, "cbam_block", 9, {"block2b_add", "block6d_add"}),
    ("ConvNeXtTiny", 64, "se_block", 18, set()),
    ("DenseNet121", 64, "cbam_block", 5, {"conv1_relu", "pool4_conv"}),
    # its last maps are of one pixel at this size, which have no extent to attend
    ("InceptionV3", 75, "se_block", 4, {"activation_4", "mixed2", "mixed7"}),
    pytest.param(
        "InceptionResNetV2",
        75,
        "se_block",
        40,
        {"block35_1_ac", "block8_9_ac"},
        marks=pytest.mark.long,
    ),
    ("MobileNet", 64, "se_block", 5, {"conv_pw_1_relu", "conv_pw_13_relu"}),
    ("VGG16", 32, "cbam_block", 5, {"block1_conv2", "block5_conv3"}),
]


def numpy(x):
    return ops.convert_to_numpy(ops.cast(x, "float32"))


def assert_same_outputs(old, new, x, atol=1e-6, **options):
    wanted, got = (keras.tree.flatten(model(x, **options)) for model in (old, new))
    for a, b in zip(wanted, got, strict=True):
        assert np.std(numpy(a)) > 100 * atol, "a constant output would hide everything"
        np.testing.assert_allclose(numpy(b), numpy(a), atol=atol, rtol=1e-6)


def attention_of(model):
    found = [layer for layer in model._flatten_layers() if "_attention" in layer.name]
    assert found
    return found


def attended(model):
    return {layer.name.split("_attention")[0] for layer in attention_of(model)}


def small_model(channels=8, name="small"):
    """Two residual blocks on a stem, with batch normalisation and a classifier."""
    x = inputs = keras.Input((12, 10, 3), name="image")
    x = layers.Conv2D(channels, 3, padding="same", name="stem")(x)
    for block in ("a", "b"):
        y = layers.Conv2D(channels, 3, padding="same", name=f"{block}_conv")(x)
        y = layers.BatchNormalization(name=f"{block}_norm")(y)
        x = layers.Add(name=f"{block}_add")([x, y])
        x = layers.ReLU(name=f"{block}_out")(x)
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    return keras.Model(inputs, layers.Dense(5, name="logits")(x), name=name)


def images(rng, count=4, size=(12, 10, 3)):
    return rng.normal(size=(count, *size)).astype("float32")


@pytest.mark.once
@pytest.mark.parametrize(("name", "size", "module", "count", "places"), NETWORKS)
def test_networks_of_keras_applications(name, size, module, count, places, rng):
    network = getattr(keras.applications, name)
    options = {"include_top": False} if name == "DenseNet121" else {"classifier_activation": None}
    old = network(weights=None, input_shape=(size, size, 3), **options)
    weights = [weight.numpy() for weight in old.weights]
    new = add_attention(old, module)
    assert len(attention_of(new)) >= count
    assert places <= attended(new)
    outermost = [layer for layer in new.layers if layer.name.endswith("_attention")]
    assert len(outermost) == count
    for layer in old.layers:
        for before, after in zip(layer.weights, new.get_layer(layer.name).weights, strict=True):
            assert before is not after
            np.testing.assert_array_equal(before.numpy(), after.numpy())
    x = rng.uniform(0, 255, (2, size, size, 3)).astype("float32")
    wanted, got = numpy(old(x)), numpy(new(x))
    scale = np.abs(wanted).max()
    np.testing.assert_allclose(got / scale, wanted / scale, atol=1e-6)
    for weight, before in zip(old.weights, weights, strict=True):
        np.testing.assert_array_equal(weight.numpy(), before)


@pytest.mark.once
def test_the_example_of_the_docstring(rng):
    old = keras.applications.ResNet50(weights=None, input_shape=(32, 32, 3), classes=10)
    model = add_attention(old, "cbam_block", at="conv*_block*_out", freeze="backbone", ratio=32)
    names = [layer.name for layer in model.layers if "attention" in layer.name]
    assert len(names) == 16
    assert names[0] == "conv2_block1_out_attention"
    assert len(model.trainable_weights) == 16 * 5
    assert model.get_layer(names[0]).module.channel.ratio == 32


def residual_scale(x, name=None):
    """A user's own module: several layers, of which none bears the name, no gate."""
    y = layers.Conv2D(x.shape[-1], 1)(x)
    y = layers.BatchNormalization()(y)
    return layers.Add()([x, layers.Conv2D(x.shape[-1], 3, padding="same", activation="tanh")(y)])


def gradients(model, x):
    """Of a loss by all trainable weights, one plain step of descent at rate 1 after another."""
    before = [weight.numpy() for weight in model.trainable_weights]
    model.compile(keras.optimizers.SGD(1.0), "mse", jit_compile=jit_compile())
    model.train_on_batch(x, np.ones(model.output_shape[1:])[None].repeat(len(x), 0))
    after = [weight.numpy() for weight in model.trainable_weights]
    return [old - new for old, new in zip(before, after, strict=True)]


@pytest.mark.parametrize(
    "module",
    [
        pytest.param("se_block", marks=pytest.mark.once),
        pytest.param("cbam_block", marks=pytest.mark.once),
        residual_scale,
        pytest.param(SE, marks=pytest.mark.once),
        CBAM(**{**CBAM_OFFICIAL, "ratio": 2}),
    ],
)
@pytest.mark.parametrize("training", [False, True])
def test_identity_start(module, training, rng):
    """The outputs are the old ones, and every attention weight has a gradient at once."""
    options = {"ratio": 2} if isinstance(module, str) or module is SE else {}
    old, x = small_model(), images(rng, 16)
    new = add_attention(old, module, at="*_out", **options)
    assert_same_outputs(old, new, x, training=training)
    new = add_attention(old, module, at="*_out", freeze="backbone", **options)
    before = numpy(new(x))
    steps = gradients(new, x)
    names = [weight.path for weight in new.trainable_weights]
    assert all("_attention" in name for name in names)
    for name, step in zip(names, steps, strict=True):
        assert np.isfinite(step).all()
        # a bias before a batch normalisation has none by nature
        assert np.abs(step).max() > 0 or ("bias" in name and module is residual_scale), name
    assert np.abs(numpy(new(x)) - before).max() > 1e-4
    assert_same_outputs(old, small_copy(old), x)


def small_copy(model):
    copy = keras.models.clone_model(model)
    copy.set_weights(model.get_weights())
    return copy


@pytest.mark.once
def test_gradient_is_the_modules_own(rng):
    """The first step is that of the module on its own, not of a scaled one."""
    x = images(rng, 8, (6, 5, 8))
    inputs = keras.Input((6, 5, 8))
    old = keras.Model(inputs, layers.Activation("linear", name="here")(inputs))
    new = add_attention(old, CBAM, at="here", ratio=2)
    module = new.get_layer("here_attention").module
    alone = keras.models.clone_model(keras.Model(inputs, CBAM(2, name="cbam")(inputs)))
    alone.set_weights(module.get_weights())
    shift = numpy(new(x)) - numpy(alone(x))  # so that the loss has the same derivative
    new.compile(keras.optimizers.SGD(1.0), "mse", jit_compile=jit_compile())
    alone.compile(keras.optimizers.SGD(1.0), "mse", jit_compile=jit_compile())
    before = module.get_weights()
    new.train_on_batch(x, np.zeros_like(x))
    alone.train_on_batch(x, -shift)
    for old_value, ours, theirs in zip(
        before, module.get_weights(), alone.get_weights(), strict=True
    ):
        np.testing.assert_allclose(ours - old_value, theirs - old_value, atol=1e-6)


@pytest.mark.once
def test_standard_start_is_the_module_as_published(rng):
    old, x = small_model(), images(rng)
    new = add_attention(old, "se_block", at="a_out", start="standard", ratio=2)
    layer = new.get_layer("a_out_attention")
    assert type(layer) is SE
    seen = keras.Model(new.inputs, [layer.input, layer.output])
    before, after = seen(x)
    assert np.abs(numpy(before) - numpy(after)).max() > 0.01
    np.testing.assert_allclose(numpy(after), numpy(layer(before)), atol=1e-6)
    own = add_attention(old, residual_scale, at="*_out", start="standard")
    assert isinstance(own.get_layer("b_out_attention"), keras.Model)


@pytest.mark.once
def test_frozen_backbone_stays(rng):
    old, x = small_model(), images(rng, 8)
    new = add_attention(old, "cbam_block", freeze="backbone", ratio=2)
    assert old.get_layer("stem").trainable
    new.compile("adam", "mse", jit_compile=jit_compile())
    before = {w.path: w.numpy() for w in new.weights}
    new.fit(x, np.ones((8, 5)), epochs=2, verbose=0)
    moved = {w.path for w in new.weights if np.abs(w.numpy() - before[w.path]).max() > 0}
    assert moved == {w.path for w in new.trainable_weights}
    assert all("_attention" in path for path in moved)


@pytest.mark.once
def test_frozen_layers_stay_frozen():
    old = small_model()
    old.get_layer("a_conv").trainable = False
    new = add_attention(old, "se_block")
    assert not new.get_layer("a_conv").trainable
    assert new.get_layer("b_conv").trainable


def complicated_model():
    """Nested models, two inputs and outputs in dictionaries, layers that are called repeatedly."""
    inner_in = keras.Input((12, 10, 6))
    conv = layers.Conv2D(6, 3, padding="same", name="twice")
    y = conv(conv(inner_in))
    inner = keras.Model(inner_in, [y, layers.GlobalMaxPooling2D()(y)], name="inner")
    chain = keras.Sequential(
        [keras.Input((12, 10, 6)), layers.Conv2D(4, 1, name="in_chain"), layers.ReLU()],
        name="chain",
    )
    image = keras.Input((12, 10, 3), name="image")
    numbers = keras.Input((4,), name="numbers")
    relu = layers.ReLU(name="relu")
    x = relu(layers.Conv2D(6, 3, padding="same", name="stem")(image))
    first, pooled = inner(x)
    second, _ = inner(ops.tanh(first), training=False)
    x = relu(chain(second + first))
    side = layers.Dense(6, name="side")(numbers)
    vector = layers.Concatenate(name="join")([layers.GlobalAveragePooling2D()(x), side, pooled])
    outputs = {"map": x, "class": layers.Dense(3, name="class")(vector)}
    return keras.Model({"image": image, "numbers": numbers}, outputs, name="complicated")


@pytest.mark.once
@pytest.mark.parametrize(
    ("at", "count"),
    [
        ("twice", 1),  # one layer, two calls, in a model of two calls
        ("inner/twice", 1),
        (["relu", "chain"], 3),  # two calls without weights; a model as a layer
        (lambda layer: layer.name == "in_chain", 1),
        ("add", 1),  # a function of keras.ops
        ("auto", 1),
    ],
)
def test_complicated_graphs(at, count, rng):
    old = complicated_model()
    x = {"image": images(rng), "numbers": rng.normal(size=(4, 4)).astype("float32")}
    new = add_attention(old, "cbam_block", at=at, ratio=2)
    assert set(new.output) == {"map", "class"}
    outermost = [layer for layer in attention_of(new) if type(layer).__name__ == "IdentityStart"]
    assert len(outermost) == count
    assert_same_outputs(old, new, x)
    standard = add_attention(old, "cbam_block", at=at, ratio=2, start="standard")
    assert np.abs(numpy(standard(x)["class"]) - numpy(old(x)["class"])).max() > 1e-4
    old_weights = sum(np.prod(w.shape) for w in old.weights)
    attention = [layer for layer in standard._flatten_layers() if type(layer) is CBAM]
    assert standard.count_params() == old_weights + sum(a.count_params() for a in attention)


@pytest.mark.once
def test_sequential_is_converted(rng):
    old = keras.Sequential(
        [
            keras.Input((12, 10, 3)),
            layers.Conv2D(8, 3, name="one"),
            layers.MaxPooling2D(name="pool"),
            layers.Conv2D(8, 3, name="two"),
            layers.GlobalAveragePooling2D(),
        ]
    )
    new = add_attention(old, "se_block")
    assert attended(new) == {"one", "two"} | {"module"} & attended(new)
    assert not isinstance(new, keras.Sequential)
    assert_same_outputs(old, new, images(rng))


@pytest.mark.once
@pytest.mark.parametrize("start", ["identity", "standard"])
def test_images_of_any_size(start, rng):
    x = image = keras.Input((None, None, 3))
    for name in ("first", "second"):
        x = layers.Conv2D(8, 3, strides=2, padding="same", activation="relu", name=name)(x)
    old = keras.Model(image, layers.GlobalAveragePooling2D()(x))
    new = add_attention(old, "cbam_block", at=["first", "second"], start=start)
    assert new.input_shape == (None, None, None, 3)
    for size in ((12, 10, 3), (7, 33, 3), (1, 1, 3)):
        x = images(rng, size=size)
        got = new.predict(x, verbose=0)  # compiled, for sizes that it does not know
        if start == "identity":
            np.testing.assert_allclose(got, old.predict(x, verbose=0), atol=1e-6)
        else:
            np.testing.assert_allclose(got, numpy(new(x)), atol=1e-6)


@pytest.mark.once
def test_adding_twice(rng):
    old, x = small_model(), images(rng)
    once = add_attention(old, "se_block", at="a_out")
    twice = add_attention(once, "cbam_block", at="a_out")
    assert {"a_out_attention", "a_out_attention_1"} <= {layer.name for layer in twice.layers}
    assert_same_outputs(once, twice, x)


@pytest.mark.once
def test_own_architectures_keep_their_fast_layers(rng):
    old = build_model("resnet_v1", depth=8, attention_module=None)
    new = add_attention(old, "se_block")
    norms = [layer for layer in new.layers if isinstance(layer, layers.BatchNormalization)]
    assert all("call" in vars(layer) for layer in norms) == (BACKEND == "tensorflow")
    assert_same_outputs(old, new, images(rng, 2, (32, 32, 3)), atol=1e-7)


@pytest.mark.once
def test_state_beyond_weights_is_kept(rng):
    """Statistics and trained values, an adapted normalisation, a function that has no config."""
    inputs = keras.Input((12, 10, 3))
    norm = layers.Normalization()
    norm.adapt(rng.normal(3, 5, (20, 12, 10, 3)))
    x = layers.Lambda(lambda x: 2 * x)(norm(inputs))
    old = keras.Model(inputs, layers.BatchNormalization(name="here")(layers.Conv2D(4, 3)(x)))
    old.compile("adam", "mse", jit_compile=jit_compile())
    old.fit(images(rng, 8), np.ones((8, 10, 8, 4)), verbose=0)
    assert_same_outputs(old, add_attention(old, "se_block", at="here"), images(rng))


@pytest.mark.once
@pytest.mark.parametrize("start", ["identity", pytest.param("standard", marks=pytest.mark.long)])
def test_loads_in_a_fresh_process(start, tmp_path, rng):
    """Safe mode, trained a step, shared layers, and modules of several layers."""
    x = {"image": images(rng), "numbers": rng.normal(size=(4, 4)).astype("float32")}
    np.savez(tmp_path / "x.npz", **x)
    number = 0
    for number, module in enumerate((CBAM(2), residual_scale)):
        model = add_attention(complicated_model(), module, at=["twice", "relu"], start=start)
        model.compile("adam", {"class": "mse", "relu_attention_1": None})
        for weight in model.trainable_weights:
            weight.assign(weight + 0.1 * rng.normal(size=weight.shape))
        model.save(tmp_path / f"{number}.keras")
        again = load_model(tmp_path / f"{number}.keras")
        assert len(again.trainable_weights) == len(model.trainable_weights)
        np.savez(tmp_path / f"{number}.npz", **{k: numpy(v) for k, v in model(x).items()})
    script = (
        "import sys, numpy as np, keras, models.attention_module\n"
        "x = dict(np.load(sys.argv[1] + '/x.npz'))\n"
        f"for number in range({number + 1}):\n"
        "    model = keras.saving.load_model(f'{sys.argv[1]}/{number}.keras', safe_mode=True)\n"
        "    wanted = np.load(f'{sys.argv[1]}/{number}.npz')\n"
        "    for key, value in model.predict(x, verbose=0).items():\n"
        "        np.testing.assert_allclose(value, wanted[key], atol=1e-5)\n"
        "print('all the same')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[2],
        check=False,
    )
    assert done.stdout.strip() == "all the same", done.stderr


@pytest.mark.skipif(BACKEND != "tensorflow", reason="a SavedModel is TensorFlow's")
def test_exports(tmp_path, rng):
    tf = pytest.importorskip("tensorflow")
    model, x = add_attention(small_model(), "cbam_block", ratio=2), images(rng)
    model.export(tmp_path / "model", verbose=False)
    loaded = tf.saved_model.load(str(tmp_path / "model"))
    np.testing.assert_allclose(numpy(loaded.serve(x)), numpy(model(x)), atol=1e-6)


@pytest.mark.once
@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_mixed_precision(policy, rng):
    """Attention takes the policy of the layer it follows, whatever the present one is."""
    keras.config.set_dtype_policy(policy)
    old, x = small_model(), images(rng)
    keras.config.set_dtype_policy("float32")
    for module in ("cbam_block", residual_scale):
        new = add_attention(old, module, at="*_out")
        module = new.get_layer("a_out_attention").module
        assert module.compute_dtype == policy.removeprefix("mixed_")
        assert {weight.dtype for weight in module.weights} == {"float32"}
        assert_same_outputs(old, new, x)
        assert new.get_layer("a_out_attention").output.dtype == policy.removeprefix("mixed_")
        assert max(np.abs(step).max() for step in gradients(new, x)) > 0
    assert keras.config.dtype_policy().name == "float32"


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__()
        self.conv = layers.Conv2D(4, 3)

    def call(self, x):
        return self.conv(x)


@pytest.mark.once
@pytest.mark.parametrize(
    ("model", "options", "message"),
    [
        (Subclassed, {}, r"subclassed model \(Subclassed\).*keras.Model\(x, model.call\(x\)\)"),
        (lambda: keras.Sequential([layers.Conv2D(4, 3)]), {}, "does not know its input yet"),
        (lambda: "model", {}, "needs a Functional or Sequential model, received 'model'"),
        (small_model, {"at": "conv*"}, r"no layer is called 'conv\*'.*The model has 'stem'"),
        (small_model, {"at": ["a_out", "b_outt"]}, "'b_outt'. Did you mean 'b_out'"),
        (small_model, {"at": "image"}, "its inputs cannot be attended"),
        (small_model, {"at": []}, "at must be 'auto', a pattern"),
        (small_model, {"at": 3}, "received 3"),
        (small_model, {"at": lambda layer: False}, "no layer satisfies at="),
        (small_model, {"at": "logits"}, r"rank 4.*logits \(None, 5\)"),
        (small_model, {"at": "*"}, r"pool \(None, 8\); logits \(None, 5\).*Choose among 'stem'"),
        (small_model, {"start": "zero"}, "start must be one of 'identity', 'standard'"),
        (small_model, {"freeze": True}, "freeze must be one of None, 'backbone'"),
        (small_model, {"ratio": 0}, "ratio must be an integer of at least 1"),
        (small_model, {"reduction": 4}, "no option 'reduction'"),
        (small_model, {"attention_module": None}, "needs an attention module, received None"),
        (small_model, {"attention_module": "no_block"}, "unknown attention module 'no_block'"),
        (small_model, {"attention_module": lambda x: x}, "returned its input"),
    ],
)
def test_refuses(model, options, message):
    with pytest.raises(ValueError, match=message):
        add_attention(model(), **{"attention_module": "se_block", "at": "a_out", **options})


@pytest.mark.once
def test_auto_refuses_a_network_without_feature_maps():
    inputs = keras.Input((4,))
    with pytest.raises(ValueError, match="neither residual blocks nor stages"):
        add_attention(keras.Model(inputs, layers.Dense(2)(inputs)), "se_block")


@keras.saving.register_keras_serializable(package="tests")
class Forgetful(layers.Conv2D):
    def get_config(self):
        return {"name": self.name, "filters": 1, "kernel_size": 1}


@pytest.mark.once
def test_refuses_a_layer_that_forgets_its_arguments():
    inputs = keras.Input((6, 6, 3))
    old = keras.Model(inputs, Forgetful(4, 3, name="here")(inputs))
    with pytest.raises(ValueError, match=r"'here' \(Forgetful\) cannot be copied"):
        add_attention(old, "se_block", at="here")
