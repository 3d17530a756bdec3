"""Multiply-adds against closed forms."""

import math

import keras
import pytest
from keras import layers, ops

from models import build_model
from models.attention_module import (
    attach_attention_module,
    cbam_block,
    list_attention,
    non_local_block,
)
from models.private_api import all_layers
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


def counted(shape, *stack):
    """The multiply-adds of layers one after the other, every one of which must be counted."""
    said = []
    model = keras.Sequential([keras.Input(shape), *stack])
    found = multiply_adds(model, shape, said.append)
    assert not said
    return found


@pytest.mark.parametrize(
    ("shape", "layer", "expected"),
    [
        # a depthwise kernel and one of 1x1, at 16 x 16 positions
        ((32, 32, 32), layers.SeparableConv2D(64, 3, 2, padding="same"),
         16 * 16 * (9 * 32 + 32 * 64)),
        ((10, 4), layers.SeparableConv1D(6, 3, depth_multiplier=2), 8 * (3 * 4 * 2 + 8 * 6)),
        ((10, 4), layers.DepthwiseConv1D(3, depth_multiplier=2), 8 * 3 * 4 * 2),
        ((6, 5, 4, 2), layers.Conv3D(3, 2), 5 * 4 * 3 * 8 * 2 * 3),
        # each of the input's positions is multiplied by the whole kernel
        ((5, 3), layers.Conv1DTranspose(7, 4, strides=2), 5 * 4 * 3 * 7),
        ((5, 6, 3), layers.Conv2DTranspose(7, 3, strides=2, padding="same"), 5 * 6 * 9 * 3 * 7),
        ((2, 3, 4, 3), layers.Conv3DTranspose(2, 2), 2 * 3 * 4 * 8 * 3 * 2),
        ((5, 6), layers.EinsumDense("abc,cde->abde", (None, 2, 4)), 5 * 6 * 2 * 4),
        ((5, 2, 4), layers.EinsumDense("...de,def->...f", (3,)), 5 * 2 * 4 * 3),
    ],
)  # fmt: skip
def test_every_kind_of_convolution(shape, layer, expected):
    assert counted(shape, layer) == expected


def test_transposed_channels_first():
    layer = layers.Conv2DTranspose(7, 3, strides=2, data_format="channels_first")
    assert counted((3, 5, 6), layer) == 5 * 6 * 9 * 3 * 7


def test_projections_of_self_attention():
    words = keras.Input((5, 8))
    attended = layers.MultiHeadAttention(num_heads=2, key_dim=3, value_dim=4)(words, words)
    said = []
    # queries, keys, values, and what leads back to 8 channels
    expected = 5 * 8 * 2 * (3 + 3 + 4 + 4)
    assert multiply_adds(keras.Model(words, attended), announce=said.append) == expected
    assert said == ["not counted in multiply-adds: multi_head_attention (MultiHeadAttention)"]


@pytest.mark.parametrize(
    ("name", "millions", "precision"),
    [
        ("Xception", 8400, 50),  # timm's table of the same network: 8.40 G
        ("NASNetMobile", 564, 5),  # the NASNet paper, Table 2
    ],
)
@pytest.mark.usefixtures("without_values")
def test_published_networks_of_separable_convolutions(name, millions, precision):
    said = []
    model = getattr(keras.applications, name)(weights=None)
    assert multiply_adds(model, announce=said.append) / 1e6 == pytest.approx(
        millions, abs=precision
    )
    assert not said


class Projection(layers.Layer):
    """A layer of a user's own, with a matrix that nobody has told us how it is used."""

    def build(self, input_shape):
        self.gain = self.add_weight(shape=(1, 1, input_shape[-1]), name="gain")
        self.matrix = self.add_weight(shape=(input_shape[-1], 4), name="matrix")

    def call(self, x):
        return keras.ops.matmul(x * self.gain, self.matrix)


def test_what_is_not_counted_is_announced(capsys):
    inner = [layers.Conv2D(4, 1), Projection(name="one"), Projection(name="two")]
    model = keras.Sequential([keras.Input((8, 8, 3)), keras.Sequential(inner)])
    said = []
    assert multiply_adds(model, announce=said.append) == 8 * 8 * 3 * 4
    line = "not counted in multiply-adds: one (Projection) and 1 more of its class"
    assert said == [line]
    for _ in range(2):  # by default, it is said once
        multiply_adds(model)
    assert capsys.readouterr().err == f"{line}\n"


def test_embeddings_and_normalizations_count_nothing():
    stack = [layers.Embedding(20, 6), layers.LayerNormalization(axis=(1, 2)), layers.PReLU()]
    assert counted((5,), *stack) == 0


@pytest.mark.parametrize("name", list_attention())
def test_every_module_is_counted(name):
    image = keras.Input((8, 8, 16))
    model = keras.Model(image, attach_attention_module(image, name))
    multiply_adds(model, announce=pytest.fail)


@pytest.fixture
def products(monkeypatch):
    """The multiply-adds of matrix products, as the operations are called."""
    found = []
    matmul, einsum = ops.matmul, ops.einsum

    def counted_matmul(a, b):
        found.append(math.prod(a.shape) * b.shape[-1])
        return matmul(a, b)

    def counted_einsum(equation, *operands):
        axes = "".join(equation.partition("->")[0].split(","))
        sizes = [size for operand in operands for size in operand.shape]
        found.append(math.prod(dict(zip(axes, sizes, strict=True)).values()))
        return einsum(equation, *operands)

    monkeypatch.setattr(ops, "matmul", counted_matmul)
    monkeypatch.setattr(ops, "einsum", counted_einsum)
    return found


# modules whose products are other operations than matrix products, or not all of them
BY_HAND = {
    "mlca_block": 0,  # averages over windows, as products with constants
    # the product of keys and the mean query is for the maps alone
    "non_local_block(mode='dot_product')": (12 + 48) * 8 * 8,
    # sums of a map times weights for its positions, its channels or their neighborhood
    "cot_block": 9 * 8 * 6 * 16,
    "fca_block": 8 * 6 * 16,
    "ema_block": 2 * 8 * 6 * 16,
    "gc_block": 8 * 6 * 16,
    "polarized_block": 2 * 8 * 6 * 8,
    "sge_block": 8 * 6 * 16,
}


@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
@pytest.mark.parametrize(
    "module",
    [
        *list_attention(),
        *(f"danet_block(parts='{part}')" for part in ("position", "channel")),
        *(f"non_local_block(mode='{mode}')" for mode in ("gaussian", "dot_product")),
        "non_local_block(subsample=False)",
        "double_attention_block(c_m=3, c_n=5)",
        "criss_cross_block(recurrence=3)",
        "botnet_block(size=(9, 9))",
    ],
)
def test_products_of_maps_count(module, data_format, products):
    keras.config.set_image_data_format(data_format)
    shape = (1, 8, 6, 16) if data_format == "channels_last" else (1, 16, 8, 6)
    image = keras.Input(batch_shape=shape)
    model = keras.Model(image, attach_attention_module(image, module))
    products.clear()
    model(ops.zeros(shape))
    naming = [layer for layer in all_layers(model) if hasattr(layer, "products")]
    named = [math.prod(product) for layer in naming for product in layer.products(shape)]
    assert sum(named) == BY_HAND.get(module, sum(products))


def test_products_and_kernels_are_added():
    image = keras.Input((8, 6, 16))
    model = keras.Model(image, non_local_block(image))
    kernels = 48 * 16 * 8 + 2 * 12 * 16 * 8 + 48 * 8 * 16  # keys and values are pooled
    assert multiply_adds(model) == kernels + 48 * 12 * (8 + 8)


def test_pairs_of_positions_are_kept():
    image = keras.Input((8, 6, 16))
    model = keras.Model(image, non_local_block(image, batch_norm=False))
    # queries; the pooled map, keys and values; what is projected, and the block's outputs
    layers_outputs = 48 * 8 + 12 * (16 + 8 + 8) + 2 * 48 * 16
    assert activation_bytes(model) == 4 * (layers_outputs + 48 * 12 + 48 * 8)
