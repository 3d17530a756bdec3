"""Attention put into existing models: the same outputs before and after, and what is refused."""

import keras
import numpy as np
import pytest
from keras import layers
from surgery_models import (
    assert_same_outputs,
    attended,
    attention_of,
    images,
    numpy,
    residual_scale,
    small_model,
)

from models import build_model
from models.attention_module import CBAM, CBAM_OFFICIAL, SE
from models.surgery import add_attention
from utils.system.backend import jit_compile

# network, size of the image, module, and where "auto" puts it (how often, and two of the places)
NETWORKS = [
    ("ResNet50", 64, "cbam_block", 16, {"conv2_block1_out", "conv5_block3_out"}),
    ("MobileNetV2", 64, "se_block", 10, {"block_2_add", "block_15_add"}),
    ("VGG16", 32, "cbam_block", 5, {"block1_conv2", "block5_conv3"}),
]
MORE_NETWORKS = [
    ("EfficientNetB0", 64, "cbam_block", 9, {"block2b_add", "block6d_add"}),
    ("ConvNeXtTiny", 64, "se_block", 18, set()),
    ("DenseNet121", 64, "cbam_block", 5, {"conv1_relu", "pool4_conv"}),
    # its last maps are of one pixel at this size, which have no extent to attend
    ("InceptionV3", 75, "se_block", 4, {"activation_4", "mixed2", "mixed7"}),
    ("InceptionResNetV2", 75, "se_block", 40, {"block35_1_ac", "block8_9_ac"}),
    ("MobileNet", 64, "se_block", 5, {"conv_pw_1_relu", "conv_pw_13_relu"}),
]
NETWORKS += [pytest.param(*network, marks=pytest.mark.long) for network in MORE_NETWORKS]


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
def test_the_example_of_the_docstring():
    old = keras.applications.ResNet50(weights=None, input_shape=(32, 32, 3), classes=10)
    model = add_attention(old, "cbam_block", at="conv*_block*_out", freeze="backbone", ratio=32)
    names = [layer.name for layer in model.layers if "attention" in layer.name]
    assert len(names) == 16
    assert names[0] == "conv2_block1_out_attention"
    assert len(model.trainable_weights) == 16 * 5
    assert model.get_layer(names[0]).module.channel.ratio == 32


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
        # of the authors' start, whose normalization lets no gradient through at first
        CBAM(**{**CBAM_OFFICIAL, "ratio": 2, "start": "published"}),
    ],
)
@pytest.mark.parametrize("training", [False, True])
@pytest.mark.once
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
        # a bias before a batch normalization has none by nature
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


@pytest.mark.once
def test_adding_twice(rng):
    old, x = small_model(), images(rng)
    once = add_attention(old, "se_block", at="a_out")
    twice = add_attention(once, "cbam_block", at="a_out")
    assert {"a_out_attention", "a_out_attention_1"} <= {layer.name for layer in twice.layers}
    assert_same_outputs(once, twice, x)


@pytest.mark.once
@pytest.mark.parametrize(("name", "depth"), [("resnet_v1", 8), ("resnext", 29)])
def test_own_architectures_keep_their_fast_layers(name, depth, rng):
    old = build_model(name, depth=depth, attention_module=None)
    new = add_attention(old, "se_block")
    before, after = (
        {layer.name for layer in model.layers if {"call", "convolution_op"} & vars(layer).keys()}
        for model in (old, new)
    )
    assert before == after
    assert bool(after) == (keras.backend.backend() == "tensorflow")
    assert_same_outputs(old, new, images(rng, 2, (32, 32, 3)), atol=1e-7)


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


@pytest.mark.once
@pytest.mark.parametrize("start", ["identity", "standard"])
def test_a_pattern_takes_the_settings_of_the_layer_it_follows(start):
    """It was made in float32 and channels last; the model is neither."""
    pattern = SE(2)
    keras.config.set_image_data_format("channels_first")
    keras.config.set_dtype_policy("mixed_bfloat16")
    image = keras.Input((3, 12, 10))
    old = keras.Model(image, layers.Conv2D(8, 3, name="conv")(image))
    keras.config.set_image_data_format("channels_last")
    keras.config.set_dtype_policy("float32")
    layer = add_attention(old, pattern, at="conv", start=start).get_layer("conv_attention")
    module = layer.module if start == "identity" else layer
    assert (module.data_format, module.channels) == ("channels_first", 8)
    assert module.dtype_policy.name == layer.dtype_policy.name == "mixed_bfloat16"
    assert module.ratio == 2
    assert (pattern.data_format, pattern.dtype_policy.name) == ("channels_last", "float32")


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
        (small_model, {"at": "logits"}, r"rank 4.*logits \(None, 5\)\. Choose among 'stem'"),
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
    inputs = keras.Input((4, 3))
    model = keras.Model(inputs, layers.Conv1D(2, 3, name="conv")(inputs))
    for at in ("auto", "conv"):
        with pytest.raises(ValueError, match=r"no feature map of rank 4 .* call a block"):
            add_attention(model, "se_block", at=at)
