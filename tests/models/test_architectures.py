"""The battery that every architecture passes, with every kind of attention, at every place."""

from functools import partial

import keras
import numpy as np
import pytest

from models import architecture, build_model, list_models
from models.attention_module import CBAM_OFFICIAL, cbam_block
from models.resnet_v1 import resnet_v1
from models.resnet_v2 import resnet_v2
from tests.models.small_networks import CHANNELS, SMALL, build, last_of, places_of, stages_of
from tests.models.transfer import randomize
from utils.system.backend import jit_compile

# too long in training for this battery, and how many images the others of the big ones train on
BUILD_ONLY = {"inception_resnet_v2"}
IMAGES = {"inception_v3": 4}
# long to build many times
LONG_TO_BUILD = {
    "resnet bottleneck", "resnext", "inception_v3", "inception_resnet_v2", "densenet imagenet",
    "mobilenet imagenet",
}  # fmt: skip
SHORT = [
    pytest.param(variant, marks=[pytest.mark.long] if variant in LONG_TO_BUILD else [])
    for variant in SMALL
]
ON_EVERY_BACKEND = {"resnet_v1"}  # is trained; all are on TensorFlow


def se_params(channels):
    hidden = max(1, channels // 8)
    return 2 * channels * hidden + hidden + channels


def scale(x):
    """A user's own module, with one weight."""
    return keras.layers.Conv2D(x.shape[-1], 1, groups=x.shape[-1], use_bias=False)(x)


# module -> (what to pass, its parameters for so many channels)
MODULES = {
    "se": ("se_block", se_params),
    "cbam": (cbam_block, lambda channels: se_params(channels) + 98),
    "own": (scale, lambda channels: channels),
}


def trainable(model):
    return sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)


@pytest.mark.once
def test_every_architecture_is_here():
    assert {variant.split()[0] for variant in SMALL} == set(list_models())


@pytest.mark.once
@pytest.mark.parametrize("variant", SHORT)
@pytest.mark.usefixtures("without_values")
def test_attention_in_blocks(variant):
    base = build(variant)
    names = {layer.name for layer in base.layers}
    for module, (attention, params) in MODULES.items():
        model = build(variant, attention_module=attention)
        assert trainable(model) - trainable(base) == sum(map(params, CHANNELS[variant]))
        # the same layers under the same names, and attention layers beside them
        new = {layer.name for layer in model.layers} - names
        assert names <= {layer.name for layer in model.layers}
        assert len(new) == len(CHANNELS[variant])
        if module != "own":
            assert f"{places_of(variant)[0].format(3)}_attention" in new


@pytest.mark.once
@pytest.mark.parametrize("variant", SHORT)
@pytest.mark.usefixtures("without_values")
def test_attention_at_other_places(variant):
    base = build(variant)
    channels, last = CHANNELS[variant], [last_of(variant)]
    _, between = stages_of(variant)
    _, stage_place, is_block = places_of(variant)
    cases = {
        "stage": between,
        "head": last,
        ("block", "head"): channels + last,
        ("block", "stage", "head"): channels + ([] if is_block else between) + last,
    }
    for place, sites in cases.items():
        model = build(variant, attention_module="se_block", attention_at=place)
        assert trainable(model) - trainable(base) == sum(map(se_params, sites))
    assert model.get_layer("head_add").input[0] is model.get_layer("head_attention").input
    assert model.get_layer(f"{stage_place.format(1)}_attention")


def training_marks(variant):
    if variant in ON_EVERY_BACKEND:
        return []
    # the small ResNets are trained every time; other families build, attend and save there too
    others = variant not in ("resnet_v1", "resnet_v2")
    return [pytest.mark.once, *([pytest.mark.long] if others else [])]


@pytest.mark.parametrize(
    "variant",
    [
        pytest.param(variant, marks=training_marks(variant))
        for variant in SMALL
        if variant not in BUILD_ONLY
    ],
)
def test_trains_saves_and_loads(variant, tmp_path, rng):
    """A finite forward pass, a gradient to every weight, and the same outputs after loading."""
    images = IMAGES.get(variant, 16)
    model = build(variant, attention_module="cbam_block")
    x = rng.normal(size=(images, 32, 32, 3)).astype("float32")
    before = [weight.numpy() for weight in model.trainable_weights]
    model.compile(
        keras.optimizers.SGD(0.1), "sparse_categorical_crossentropy", jit_compile=jit_compile()
    )
    model.fit(x, rng.integers(0, 4, images), batch_size=images, epochs=1, verbose=0)
    for weight, old in zip(model.trainable_weights, before, strict=True):
        assert np.isfinite(weight.numpy()).all()
        # a hidden layer of one unit can be dead for a whole batch
        if "reduce" not in weight.path and "expand" not in weight.path:
            assert np.abs(weight.numpy() - old).max() > 0, f"no gradient reaches {weight.path}"
    model.save(tmp_path / "model.keras")
    y = model.predict(x, verbose=0)
    assert y.shape == (images, 4)
    np.testing.assert_allclose(y.sum(axis=-1), 1, atol=1e-5)
    again = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    np.testing.assert_allclose(again.predict(x, verbose=0), y, atol=1e-6)
    named = build(variant, attention_module="cbam_block", weights=tmp_path / "model.keras")
    for weight, wanted in zip(named.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(weight, wanted)


@pytest.mark.once
@pytest.mark.parametrize("variant", SHORT)
def test_any_size(variant, rng):
    model = build(variant, input_shape=(None, None, 3), attention_module="cbam_block")
    for height, width in ((32, 32), (33, 47)):
        x = rng.normal(size=(1, height, width, 3)).astype("float32")
        assert np.isfinite(keras.ops.convert_to_numpy(model(x))).all()


@pytest.mark.once
@pytest.mark.parametrize("variant", SHORT)
@pytest.mark.usefixtures("without_values")
def test_ends(variant):
    last = last_of(variant)
    features = build(variant, include_top=False)
    assert features.output_shape[-1] == last
    assert len(features.output_shape) == 4
    for pooling in ("avg", "max"):
        assert build(variant, include_top=False, pooling=pooling).output_shape == (None, last)
    logits = build(variant, classifier_activation=None)
    assert logits.layers[-1].name == "logits"
    assert build(variant, name="mine").name == "mine"
    stages = build(variant, features_only=True)
    assert list(stages.output) == [f"stage{i}" for i in range(1, len(stages.output) + 1)]
    assert [x.shape[-1] for x in stages.output.values()] == stages_of(variant)[0]


@pytest.mark.once
@pytest.mark.parametrize("variant", SHORT)
@pytest.mark.usefixtures("without_values")
def test_builds_upon_a_tensor(variant):
    image = keras.Input((32, 32, 3))
    model = build(variant, input_tensor=keras.layers.Rescaling(1 / 255, name="scale")(image))
    assert model.input is image
    assert model.get_layer("scale")
    nested = keras.Sequential([image, build(variant)])
    assert nested.output_shape == (None, 4)


@pytest.mark.once
@pytest.mark.parametrize("variant", SHORT)
@pytest.mark.usefixtures("without_values")
def test_channels_first(variant):
    last = build(variant, attention_module="cbam_block")
    keras.config.set_image_data_format("channels_first")
    first = build(variant, attention_module="cbam_block", input_shape=(3, 32, 32))
    assert [w.shape for w in first.weights] == [w.shape for w in last.weights]


FAMILIES = {variant.split()[0]: variant for variant in reversed(SMALL)}.values()
# of random weights: less, and nothing of the image arrives
SPREADS = {"mobilenet": 0.3, "densenet": 0.2, "inception_v3": 0.05}


@pytest.mark.once
@pytest.mark.parametrize("variant", [case for case in SHORT if case.values[0] in FAMILIES])
def test_channels_first_computes_the_same(variant, rng):
    options = {"attention_module": "cbam_block", "classifier_activation": None}
    last = build(variant, **options)
    randomize(last, rng, SPREADS.get(variant, 0.03))
    x = rng.normal(size=(2, 32, 32, 3)).astype("float32")
    expected = keras.ops.convert_to_numpy(last(x))
    keras.config.set_image_data_format("channels_first")
    first = build(variant, input_shape=(3, 32, 32), **options)
    first.set_weights(last.get_weights())
    outputs = keras.ops.convert_to_numpy(first(x.transpose(0, 3, 1, 2)))
    scale = np.ptp(expected, axis=0).max()  # what the image changes
    assert scale > 1e-4
    np.testing.assert_allclose(outputs, expected, rtol=0, atol=1e-3 * scale)


@pytest.mark.once
@pytest.mark.parametrize("variant", SHORT)
@pytest.mark.usefixtures("without_values")
def test_mixed_precision_classifies_in_float32(variant):
    keras.config.set_dtype_policy("mixed_bfloat16")
    model = build(variant, attention_module="cbam_block")
    stem = next(layer for layer in model.layers if layer.name.startswith("stem_conv"))
    assert stem.compute_dtype == "bfloat16"
    attention = model.get_layer(f"{places_of(variant)[0].format(2)}_attention")
    assert attention.compute_dtype == "bfloat16"
    assert model.output.dtype == "float32"
    assert model.get_layer("logits").compute_dtype == "float32"


@pytest.mark.once
@pytest.mark.parametrize(
    ("build", "depth", "published"),
    [
        # "Deep Residual Learning for Image Recognition", Table 6
        (resnet_v1, 20, 0.27),
        (resnet_v1, 32, 0.46),
        (resnet_v1, 44, 0.66),
        (resnet_v1, 56, 0.85),
        (resnet_v1, 110, 1.7),
        # "Identity Mappings in Deep Residual Networks", Table 4
        (resnet_v2, 164, 1.7),
    ],
)
@pytest.mark.usefixtures("without_values")
def test_parameters_of_the_resnet_papers(build, depth, published):
    model = build(depth=depth)
    # the papers' shortcuts have no parameters where the map changes size (option A)
    shortcuts = [layer for layer in model.layers if "_shortcut_" in layer.name]
    if build is resnet_v1:
        published_layers = trainable(model) - sum(map(trainable, shortcuts))
    else:
        published_layers = trainable(model)
    digits = 2 if published < 1 else 1
    assert round(published_layers / 1e6, digits) == published


@pytest.mark.once
@pytest.mark.long
@pytest.mark.usefixtures("without_values")
def test_depth_of_a_thousand_layers():
    model = resnet_v2(depth=1001, attention_module="se_block")
    names = [layer.name for layer in model.layers]
    assert len([name for name in names if name.endswith("_attention")]) == 333
    weighted = [layer for layer in model.layers if isinstance(layer, keras.layers.Conv2D)]
    weighted = [layer for layer in weighted if "shortcut" not in layer.name]
    assert len(weighted) + 1 == 1001  # and the classifier
    assert resnet_v1(depth=1001).get_layer("stage3_block111_conv3")


@pytest.mark.once
@pytest.mark.usefixtures("without_values")
def test_resnet_v1_block_by_depth():
    assert "stage1_block1_conv3" not in [layer.name for layer in resnet_v1(depth=164).layers]
    assert resnet_v1(depth=164, block="bottleneck").get_layer("stage1_block18_conv3")
    assert resnet_v1(depth=29).get_layer("stage1_block3_conv3")
    assert resnet_v1(num_classes=10, classes=7).output_shape == (None, 7)


@pytest.mark.once
@pytest.mark.usefixtures("without_values")
def test_stride_in():
    in_3x3 = build("resnet bottleneck")
    in_1x1 = build("resnet bottleneck", stride_in="1x1")
    assert in_3x3.get_layer("stage2_block1_conv2").strides == (2, 2)
    assert in_1x1.get_layer("stage2_block1_conv1").strides == (2, 2)
    assert in_1x1.get_layer("stage2_block1_conv2").strides == (1, 1)


@pytest.mark.once
@pytest.mark.parametrize("name", ["resnet bottleneck", "resnext"])
@pytest.mark.usefixtures("without_values")
def test_deep_stem_and_pooled_shortcuts(name):
    model = build(name, stem="tiered", shortcut="pool")
    convolutions = [model.get_layer(f"stem_conv{number}") for number in (1, 2, 3)]
    assert [layer.filters for layer in convolutions] == [24, 32, 64]
    assert [layer.strides for layer in convolutions] == [(2, 2), (1, 1), (1, 1)]
    assert model.get_layer("stage2_block1_pool").pool_size == (2, 2)
    assert model.get_layer("stage2_block1_pooled_conv").strides == (1, 1)
    names = [layer.name for layer in model.layers]
    assert "stage1_block1_pool" not in names
    assert "stage1_block1_pooled_conv" in names


@pytest.mark.once
@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("resnet_v1", {"depth": 21}, "6n.2 or 9n.2 .*nearest are 20, 26, 29; received depth=21"),
        ("resnet_v1", {"depth": 22, "block": "bottleneck"}, "9n.2 .*nearest are 20, 29"),
        ("resnet_v1", {"depth": -4}, "nearest are 8, 11, 14, 20"),
        ("resnet_v1", {"depth": "20"}, "received depth='20'"),
        ("resnet_v1", {"block": "wide"}, "block must be one of basic, bottleneck or None"),
        ("resnet_v2", {"depth": 21}, "nearest are 20, 29"),
        ("resnet", {"depth": 20}, "18, 34, 50, 101, 152, received 20"),
        ("resnet", {"stem": "large"}, "stem must be one of .cifar., .imagenet."),
        ("resnet", {"shortcut": "none"}, "shortcut must be one of .conv., .pool."),
        ("resnet", {"stride_in": "5x5"}, "stride_in must be one of .3x3., .1x1."),
        ("resnet", {"width": 0}, "width must be a number above 0"),
        ("resnet", {"alpha": 1}, "resnet has no option 'alpha'; it takes input_shape, depth"),
        ("resnet50", {}, "unknown model 'resnet50'. Did you mean 'resnet'. Known: .*resnet, "),
        ("resnet", {"attention_at": "nowhere"}, "'block', 'head', 'stage'; received"),
        ("resnet", {"attention_at": "head", "features_only": True}, "'block', 'stage'; received"),
        ("resnet", {"attention_module": "xyz"}, "unknown attention module 'xyz'"),
        ("resnet", {"pooling": "sum"}, "pooling must be one of None, .avg., .max., received .sum."),
        ("resnet", {"input_tensor": 3}, "input_tensor must be a Keras tensor, received 3"),
        ("resnet", {"classes": 0}, "classes must be an integer of at least 1"),
        ("resnet", {"input_shape": (32, 32)}, "input_shape must be three positive sizes"),
        ("resnet", {"input_shape": (32, 32, None)}, "input_shape must be three positive sizes"),
        (
            "resnet",
            {"weights": "imagenet"},
            "keras.applications has no resnet with these options",
        ),
    ],
)
def test_refuses(name, options, message):
    with pytest.raises(ValueError, match=message):
        build_model(name, **options)


def test_refuses_weights_that_do_not_fit(tmp_path):
    build("resnet_v1").save(tmp_path / "model.keras")
    with pytest.raises(ValueError, match=r"stage1_block1_attention \[\(16, 2\)"):
        build("resnet_v1", attention_module="se_block", weights=tmp_path / "model.keras")
    with pytest.raises(ValueError, match="logits"):
        build("resnet_v1", classes=5, weights=tmp_path / "model.keras")
    (tmp_path / "text.keras").write_text("no model")
    with pytest.raises(ValueError, match=r"text\.keras"):
        build("resnet_v1", weights=tmp_path / "text.keras")


@pytest.mark.once
def test_signature_shows_every_option():
    import inspect

    for name in list_models():
        options = inspect.signature(architecture(name)).parameters
        assert {"include_top", "weights", "attention_module", "attention_at"} <= set(options)
        assert "common" not in options


def test_official_cbam_in_a_network():
    model = build("resnet_v1", attention_module=partial(cbam_block, **CBAM_OFFICIAL))
    assert model.get_layer("stage1_block1_attention").spatial.batch_norm
