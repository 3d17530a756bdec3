"""Models of Keras as architectures: those of `keras.applications`, and saved files."""

import inspect

import keras
import numpy as np
import pytest
from keras import layers, ops

from models import build_model
from models.attention_module import list_attention
from models.precision import precision_of
from models.preprocessing import ReverseChannels, preprocessing_layers
from models.saving import load_model, save_model

SMALL = "keras.applications/MobileNetV2(alpha=0.35)"
SHAPE = (32, 32, 3)
PREPROCESSING = [
    name
    for name, module in vars(keras.applications).items()
    if inspect.ismodule(module) and hasattr(module, "preprocess_input")
]

pytestmark = pytest.mark.skipif(
    keras.config.image_data_format() == "channels_first", reason="the files are channels last"
)


numpy = keras.ops.convert_to_numpy


@pytest.fixture
def images(rng):
    return rng.integers(0, 256, (3, *SHAPE)).astype("float32")


def classifier(activation=None, classes=4, name="scores"):
    """A small network of somebody else's, with names of its own."""
    image = keras.Input(SHAPE)
    x = layers.Rescaling(1 / 255)(image)
    x = layers.Conv2D(8, 3, 2, padding="same", activation="relu", name="first")(x)
    x = layers.Conv2D(8, 3, 2, padding="same", activation="relu", name="second")(x)
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(image, layers.Dense(classes, activation=activation, name=name)(x))


def saved(model, folder):
    save_model(model, folder / "network.keras")
    return str(folder / "network.keras")


@pytest.mark.once
@pytest.mark.parametrize("name", PREPROCESSING)
def test_preprocessing_layers_compute_what_the_function_does(name, images):
    function = getattr(keras.applications, name).preprocess_input
    x = images
    for layer in preprocessing_layers(function):
        x = layer(x)
    np.testing.assert_allclose(numpy(x), function(images.copy()), rtol=1e-5, atol=1e-4)


def test_preprocessing_of_another_kind_is_refused():
    with pytest.raises(ValueError, match="mixes the channels"):
        preprocessing_layers(lambda x, data_format: x @ np.ones((3, 3), "float32"))


@pytest.mark.once
def test_reversed_channels_stay_those_of_their_image_format(images, tmp_path):
    path = saved(keras.Sequential([keras.Input(SHAPE), ReverseChannels()]), tmp_path)
    keras.config.set_image_data_format("channels_first")
    np.testing.assert_array_equal(numpy(load_model(path)(images)), images[..., ::-1])
    first = ReverseChannels()
    keras.config.set_image_data_format("channels_last")
    np.testing.assert_array_equal(numpy(first(images)), images[:, ::-1])
    # files of earlier versions do not say it
    old = {name: value for name, value in first.get_config().items() if name != "data_format"}
    np.testing.assert_array_equal(
        numpy(ReverseChannels.from_config(old)(images)), images[..., ::-1]
    )
    with pytest.raises(ValueError, match="data_format must be one of 'channels_last', 'channels_f"):
        ReverseChannels(data_format="first")


@pytest.mark.once
def test_a_network_of_keras_computes_what_keras_computes(images):
    ours = build_model(SMALL, input_shape=SHAPE, classes=5)
    theirs = keras.applications.MobileNetV2(
        alpha=0.35, input_shape=SHAPE, include_top=False, pooling="avg", weights=None
    )
    *weights, kernel, bias = ours.get_weights()
    theirs.set_weights(weights)
    features = theirs(keras.applications.mobilenet_v2.preprocess_input(images.copy()))
    expected = ops.softmax(ops.matmul(features, kernel) + bias)
    np.testing.assert_allclose(numpy(ours(images)), numpy(expected), atol=1e-6)
    assert ours.input_shape == (None, *SHAPE)
    assert ours.output_shape == (None, 5)


@pytest.mark.once
def test_gray_images_have_three_equal_colors(rng):
    gray = build_model("keras.applications/VGG16", input_shape=(32, 32, 1), classes=3)
    color = build_model("keras.applications/VGG16", input_shape=(32, 32, 3), classes=3)
    color.set_weights(gray.get_weights())
    images = rng.integers(0, 256, (2, 32, 32, 1)).astype("float32")
    np.testing.assert_allclose(
        numpy(gray(images)),
        numpy(color(images.repeat(3, axis=-1))),
        atol=1e-6,
    )


@pytest.mark.once
def test_attention_is_where_add_attention_puts_it():
    network = build_model(SMALL, input_shape=SHAPE, attention_module="eca_block")
    names = [layer.name for layer in network.layers if layer.name.endswith("_attention")]
    assert names[0] == "block_2_add_attention"
    named = build_model(
        SMALL, input_shape=SHAPE, attention_module="eca_block", attention_at="block_1_project_BN"
    )
    assert [layer.name for layer in named.layers if "attention" in layer.name] == [
        "block_1_project_BN_attention"
    ]


@pytest.mark.once
def test_a_hidden_layer_at_the_end_gives_features(tmp_path, images):
    source = classifier()
    embedded = keras.layers.Dense(6, activation="relu", name="embed")(source.layers[-2].output)
    path = saved(keras.Model(source.inputs, embedded), tmp_path)
    network = build_model(path, input_shape=SHAPE, classes=4)
    features = keras.Model(network.inputs, network.get_layer("logits").input)
    expected = keras.Model(source.inputs, embedded)(images)
    np.testing.assert_allclose(numpy(features(images)), numpy(expected), atol=1e-6)


@pytest.mark.once  # JAX compiles every operation by itself
@pytest.mark.parametrize("activation", [None, "softmax"])
def test_a_file_keeps_its_classifier(activation, tmp_path, images):
    source = classifier(activation)
    network = build_model(saved(source, tmp_path), input_shape=SHAPE, classes=4)
    expected = numpy(source(images))
    if activation is None:
        expected = numpy(ops.softmax(expected))
    np.testing.assert_allclose(numpy(network(images)), expected, atol=1e-6)
    logits = keras.Model(network.input, network.get_layer("logits").output)(images)
    np.testing.assert_allclose(numpy(ops.softmax(logits)), expected, atol=1e-6)


@pytest.mark.once  # JAX compiles every operation by itself
@pytest.mark.parametrize("module", ["cbam_block", "simam_block"])
def test_attention_in_a_file_starts_at_the_identity(module, tmp_path, images):
    path = saved(classifier(), tmp_path)
    plain, attended = (
        build_model(path, input_shape=SHAPE, classes=4, attention_module=attention)
        for attention in (None, module)
    )
    np.testing.assert_allclose(
        numpy(attended(images)),
        numpy(plain(images)),
        atol=1e-6,
    )
    assert len(attended.layers) > len(plain.layers)


@pytest.mark.once  # JAX compiles every operation by itself
def test_other_classes_get_a_classifier_of_their_own(tmp_path, images):
    source = classifier("softmax")
    network = build_model(saved(source, tmp_path), input_shape=SHAPE, classes=7)
    assert network.output_shape == (None, 7)
    features = keras.Model(source.input, source.layers[-2].output)(images)
    ours = keras.Model(network.input, network.get_layer("logits").input)(images)
    np.testing.assert_array_equal(numpy(ours), numpy(features))


@pytest.mark.once  # JAX compiles every operation by itself
def test_a_file_without_a_classifier(tmp_path, images):
    source = classifier()
    features = keras.Model(source.inputs, source.get_layer("second").output)
    network = build_model(saved(features, tmp_path), input_shape=SHAPE, classes=3)
    assert network.output_shape == (None, 3)
    assert network.get_layer("avg_pool").input.shape == (None, 8, 8, 8)


@pytest.mark.once  # JAX compiles every operation by itself
def test_a_sequential_model(tmp_path, images):
    parts = [layers.Conv2D(4, 3), layers.Flatten(), layers.Dense(4), layers.Softmax()]
    source = keras.Sequential([keras.Input(SHAPE), *parts])
    path = saved(source, tmp_path)
    network = build_model(path, input_shape=SHAPE, classes=4, attention_module="eca_block",
                          attention_at="conv2d")  # fmt: skip
    np.testing.assert_allclose(
        numpy(network(images)),
        numpy(source(images)),
        atol=1e-6,
    )


@pytest.mark.once
@pytest.mark.parametrize(("shape", "expected"), [((9, 7, 1), (9, 7, 1)), ((None, None, 3), 224)])
def test_a_file_has_its_own_shape_of_images(shape, expected, tmp_path):
    parts = [layers.Conv2D(4, 3), layers.GlobalAveragePooling2D(), layers.Dense(4, "softmax")]
    path = saved(keras.Sequential([keras.Input(shape), *parts]), tmp_path)
    sides = (expected, expected, 3) if expected == 224 else expected
    assert build_model(path, classes=4).input_shape[1:] == sides


@pytest.mark.parametrize("size", [SHAPE, (None, None, 3)])
@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
def test_an_adapted_normalization_stays_adapted(policy, size, tmp_path, images):
    normalization = layers.Normalization()
    normalization.adapt(40 + 20 * images)
    image = keras.Input(size)
    x = layers.GlobalAveragePooling2D()(layers.Conv2D(4, 3)(normalization(image)))
    path = saved(keras.Model(image, layers.Dense(4, activation="softmax")(x)), tmp_path)
    expected = keras.saving.load_model(path)(images)
    keras.config.set_dtype_policy(policy)
    network = build_model(path, input_shape=SHAPE, classes=4)
    np.testing.assert_allclose(
        numpy(network(images)), numpy(expected), atol=1e-6 if policy == "float32" else 2e-2
    )


def in_a_model(*parts):
    return lambda x: keras.Sequential([keras.Input(x.shape[1:]), *parts])(x)


@pytest.mark.once
@pytest.mark.parametrize(
    "head",
    [
        in_a_model(layers.GlobalAveragePooling2D(), layers.Dense(4, activation="softmax")),
        in_a_model(layers.GlobalAveragePooling2D(), layers.Dense(4), layers.Softmax()),
        lambda x: layers.Softmax()(layers.GlobalAveragePooling2D()(x)),
        lambda x: layers.Activation("sigmoid")(layers.GlobalAveragePooling2D()(x)),
    ],
)
def test_no_classifier_is_put_on_probabilities(head, tmp_path):
    features = classifier().get_layer("second").output
    image = keras.utils.get_source_inputs(features)[0]
    path = saved(keras.Model(image, head(features)), tmp_path)
    with pytest.raises(ValueError, match=r"the model ends in a (softmax|sigmoid), and no Dense"):
        build_model(path, input_shape=SHAPE, classes=4)


@pytest.mark.once
@pytest.mark.parametrize("name", ["logits", "predictions", "avg_pool"])
def test_names_of_the_classifier_are_refused(name, tmp_path):
    image = keras.Input(SHAPE)
    path = saved(keras.Model(image, layers.Conv2D(4, 3, name=name)(image)), tmp_path)
    with pytest.raises(ValueError, match=f"the model has a layer called '{name}', as one of the"):
        build_model(path, input_shape=SHAPE, classes=4)


@pytest.mark.once  # JAX compiles every operation by itself
def test_the_preprocessing_that_a_file_needs(tmp_path, images):
    source = classifier()
    path = saved(source, tmp_path)
    network = build_model(f"{path}(preprocess='resnet')", input_shape=SHAPE, classes=4)
    pixels = keras.applications.resnet.preprocess_input(images.copy())
    np.testing.assert_allclose(
        numpy(network(images)),
        numpy(ops.softmax(source(pixels))),
        atol=1e-5,
    )


@pytest.mark.once
def test_saved_and_loaded(tmp_path, images):
    network = build_model(
        "keras.applications/ResNet50", input_shape=SHAPE, classes=3, attention_module="se_block"
    )
    copy = load_model(saved(network, tmp_path))
    np.testing.assert_array_equal(numpy(copy(images)), numpy(network(images)))


def test_in_half_precision_pixels_stay_in_float32(tmp_path, images):
    path = saved(classifier(), tmp_path)
    whole = build_model(path, input_shape=SHAPE, classes=4, attention_module="cbam_block")
    keras.config.set_dtype_policy("mixed_bfloat16")
    half = build_model(path, input_shape=SHAPE, classes=4, attention_module="cbam_block")
    assert precision_of(half) == "mixed_bfloat16"
    kinds = {type(layer).__name__: layer.compute_dtype for layer in half.layers}
    assert kinds["Rescaling"] == kinds["Dense"] == "float32"
    assert kinds["Conv2D"] == kinds["CBAM"] == "bfloat16"
    np.testing.assert_allclose(
        numpy(half(images)),
        numpy(whole(images)),
        atol=1e-2,
    )


@pytest.mark.once  # JAX compiles every operation by itself
@pytest.mark.parametrize(
    ("name", "options", "says"),
    [
        ("keras.applications/EfficientNet", {}, "Did you mean 'EfficientNet"),
        ("keras.applications/VGG16(alpha=2)", {}, "VGG16 has no option 'alpha'; it takes input"),
        ("{file}", {"include_top": False}, "has no option 'include_top'; it takes input_shape"),
        ("keras.applications/VGG16", {"weights": "cifar"}, "must be None or 'imagenet'"),
        ("keras.applications/Xception", {}, "at least 71"),
        ("missing.keras", {}, "there is no file 'missing.keras'"),
        ("{file}", {"input_shape": (16, 16, 3)}, "takes images of shape"),
        ("{file}(preprocess='other')", {}, "preprocess must be one of convnext"),
        ("{file}", {"attention_module": "se_block", "attention_at": "third"}, "no layer is called"),
        ("{pair}", {}, "one input and one output"),
        (
            "{file}",
            {"attention_at": 5},
            "attention_at must be a string or several: 'auto', or name",
        ),
        ("{file}", {"input_shape": 32}, "input_shape must be three positive sizes .* received 32"),
    ],
)
def test_refusals(name, options, says, tmp_path):
    source = classifier()
    (tmp_path / "pair").mkdir()
    pair = keras.Model(source.inputs, [source.output, source.get_layer("first").output])
    names = {"file": saved(source, tmp_path), "pair": saved(pair, tmp_path / "pair")}
    with pytest.raises(ValueError, match=says):
        build_model(name.format(**names), **{"input_shape": SHAPE, **options})


@pytest.mark.long
@pytest.mark.parametrize("module", list_attention())
def test_every_module_goes_into_a_network_of_keras(module):
    network = build_model(SMALL, input_shape=(64, 64, 3), attention_module=module)
    assert any(layer.name.endswith("_attention") for layer in network.layers)
