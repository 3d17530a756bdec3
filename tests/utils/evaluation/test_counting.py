"""Multiply-adds against closed forms."""

import keras
import pytest
from keras import layers

from models import build_model
from models.attention_module import cbam_block
from utils.evaluation.counting import activation_bytes, multiply_adds, trainable_params

pytestmark = pytest.mark.once


def test_layers_with_a_kernel():
    image = keras.Input((9, 11, 4))
    x = layers.Conv2D(6, 3, padding="same", strides=2, groups=2)(image)  # 5 x 6
    x = layers.DepthwiseConv2D(3, depth_multiplier=2)(x)  # 3 x 4 of 12 channels
    x = layers.BatchNormalization()(x)
    model = keras.Model(image, layers.Dense(7)(layers.GlobalAveragePooling2D()(x)))
    assert multiply_adds(model) == 5 * 6 * 9 * 2 * 6 + 3 * 4 * 9 * 12 + 12 * 7


def test_attention_counts_too():
    image = keras.Input((8, 10, 16))
    model = keras.Model(image, cbam_block(image, ratio=4))
    # the MLP sees the average and the maximum; the 7x7 convolution two maps
    assert multiply_adds(model) == 2 * (16 * 4 + 4 * 16) + 8 * 10 * 49 * 2


def test_shared_and_nested_layers():
    conv = layers.Conv2D(3, 3, padding="same")
    image = keras.Input((8, 8, 3))
    inner = keras.Model(image, conv(conv(image)))
    outer = keras.Sequential([keras.Input((8, 8, 3)), inner])
    for model in (inner, outer):
        assert multiply_adds(model) == 2 * 8 * 8 * 9 * 3 * 3


def test_channels_first():
    last = multiply_adds(build_model("resnet_v1", depth=8, attention_module="cbam_block"))
    keras.config.set_image_data_format("channels_first")
    first = build_model("resnet_v1", depth=8, attention_module="cbam_block")
    assert first.input.shape == (None, 3, 32, 32)
    assert multiply_adds(first) == last


def test_any_image_size():
    model = build_model("resnet_v1", depth=8, input_shape=(None, None, 3))
    fixed = build_model("resnet_v1", depth=8, input_shape=(24, 40, 3))
    assert multiply_adds(model, (24, 40, 3)) == multiply_adds(fixed)
    with pytest.raises(ValueError, match="which the model leaves open"):
        multiply_adds(model)


def test_counting_leaves_the_model_as_it_was(rng):
    model = build_model("resnet_v1", depth=8)
    x = rng.normal(size=(1, 32, 32, 3)).astype("float32")
    before = model.predict(x, verbose=0)
    multiply_adds(model)
    assert (model.predict(x, verbose=0) == before).all()
    assert trainable_params(model) == sum(w.numpy().size for w in model.trainable_weights)


def test_memory_of_activations():
    image = keras.Input((8, 8, 3))
    x = layers.Conv2D(4, 3, padding="same")(image)
    model = keras.Model(image, layers.GlobalAveragePooling2D()(layers.ReLU()(x)))
    # the input layer computes nothing: convolution, rectifier, average
    assert activation_bytes(model) == 4 * (8 * 8 * 4 + 8 * 8 * 4 + 4)


def test_half_precision_takes_half_the_memory():
    image = keras.Input((8, 8, 3))
    model = keras.Model(image, layers.Conv2D(4, 3, dtype="mixed_bfloat16")(image))
    assert activation_bytes(model) == 2 * 6 * 6 * 4
