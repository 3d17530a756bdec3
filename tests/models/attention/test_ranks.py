"""Sequences and volumes: a layer computes what it does for a map of one row, or one slice."""

import functools

import keras
import numpy as np
import pytest

from models.attention.registry import _LAYERS
from models.attention_module import (
    SE,
    NonLocal,
    attach_attention_module,
    list_attention,
    se_block,
)
from models.saving import load_model

pytestmark = pytest.mark.once

RANKED = [name for name in list_attention() if getattr(_LAYERS.get(name), "ranks", ()) != (4,)]
OPTIONS = {
    "cbam_block": [{}, {"batch_norm": True, "order": "parallel", "descriptor": "conv"}],
    "gc_block": [{"fusion": ("add", "mul")}],
    "non_local_block": [{"zero_init": False}, {"mode": "dot_product", "subsample": False}],
}
CASES = [(name, options) for name in RANKED for options in OPTIONS.get(name, [{}])]
numpy = keras.ops.convert_to_numpy
OTHERS = [name for name in list_attention() if name not in RANKED]


def layer_of(name, shape, **options):
    image = keras.Input(shape)
    model = keras.Model(image, attach_attention_module(image, name, name="attention", **options))
    return model.get_layer("attention")


def with_axis(values, wanted):
    """A kernel with one axis more, which is zero but in the middle of that axis."""
    if values.shape == wanted:
        return values
    kernel = np.zeros(wanted, values.dtype)
    kernel[wanted[0] // 2] = values
    return kernel


def randomized(layer, rng):
    layer.set_weights([rng.uniform(0.1, 1, w.shape).astype(w.dtype) for w in layer.get_weights()])


def test_the_modules_that_take_sequences_and_volumes():
    assert RANKED == [
        "cbam_block", "channel_attention", "cse_block", "eca_block", "ecam_block", "gc_block",
        "non_local_block", "scse_block", "se_block", "simam_block", "spatial_attention",
        "sse_block",
    ]  # fmt: skip


@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
@pytest.mark.parametrize("size", [(9,), (4, 6)], ids=["sequence", "map"])
@pytest.mark.parametrize(("name", "options"), CASES)
def test_one_row_or_slice_more_changes_nothing(name, options, size, data_format, rng):
    """A sequence is a map of one row, and a map is a volume of one slice."""
    first = data_format == "channels_first"
    shape, larger = ((8, *size), (8, 1, *size)) if first else ((*size, 8), (1, *size, 8))
    options = {**options, "data_format": data_format}
    layer, other = layer_of(name, shape, **options), layer_of(name, larger, **options)
    randomized(layer, rng)
    weights = zip(layer.get_weights(), other.get_weights(), strict=True)
    other.set_weights([with_axis(value, wanted.shape) for value, wanted in weights])
    x = rng.normal(size=(3, *shape)).astype("float32")
    y, maps = layer(x, return_maps=True)
    axis = 2 if first else 1
    expected, more = other(np.expand_dims(x, axis), return_maps=True)
    np.testing.assert_allclose(
        numpy(y),
        numpy(expected).squeeze(axis),
        rtol=1e-4,
        atol=1e-5,
    )
    for key, gate in maps.items():
        np.testing.assert_allclose(
            numpy(gate),
            numpy(more[key]).squeeze(axis),
            rtol=1e-4,
            atol=1e-5,
        )


@pytest.mark.parametrize("shape", [(None, 8), (4, 6, 5, 8)])
@pytest.mark.parametrize(
    "name",
    [
        pytest.param(n, marks=[] if n in ("cbam_block", "non_local_block") else [pytest.mark.long])
        for n in RANKED
    ],
)
def test_trains_saves_and_loads(name, shape, rng, tmp_path):
    x = keras.Input(shape)
    y = attach_attention_module(x, name)
    model = keras.Model(x, keras.layers.Dense(2)(y))
    model.compile("sgd", "mse")
    values = rng.normal(size=(2, *(7 if size is None else size for size in shape)))
    targets = rng.normal(size=(*values.shape[:-1], 2))
    model.fit(values.astype("float32"), targets.astype("float32"), verbose=0)
    model.save(tmp_path / "model.keras")
    copy = load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(copy.predict(values, verbose=0), model.predict(values, verbose=0))


@pytest.mark.parametrize("name", OTHERS)
def test_the_others_refuse_them(name):
    with pytest.raises(ValueError, match=r"needs a feature map of rank 4 .*received shape"):
        attach_attention_module(keras.Input((12, 8)), name)


@pytest.mark.parametrize("module", [SE, SE(ratio=2), functools.partial(se_block, ratio=2)])
def test_a_layer_and_a_partial_take_what_the_name_takes(module):
    assert attach_attention_module(keras.Input((12, 8)), module).shape == (None, 12, 8)


def test_a_volume_is_subsampled_within_its_slices(rng):
    """As the authors' pooling of one frame by two by two; each field has one weight."""
    layer = NonLocal(zero_init=False)
    x = rng.normal(size=(1, 2, 4, 6, 8)).astype("float32")
    layer.build(x.shape)
    randomized(layer, rng)
    mass = numpy(layer(x, return_maps=True)[1]["spatial"])[0, ..., 0]
    fields = mass.reshape(2, 2, 2, 3, 2)
    assert np.ptp(fields, axis=(2, 4)).max() == 0
    assert np.ptp(mass, axis=0).min() > 0


@pytest.mark.parametrize("name", ["se_block", "cbam_block"])
def test_what_is_none_of_them_is_refused(name):
    with pytest.raises(ValueError, match=r"rank 3 .* rank 4 .* or a volume of rank 5"):
        attach_attention_module(keras.Input((8,)), name)
