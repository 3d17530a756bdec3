"""The battery that every attention layer passes."""

import json
import tempfile

import keras
import numpy as np
import pytest

from models.blocks import channel_axis
from models.private_api import all_layers
from models.saving import load_model
from utils.system.backend import jit_compile


def divisor(number, most):
    """Returns the largest divisor of a number that is at most `most`."""
    return max(n for n in range(1, most + 1) if number % n == 0)


def one_always(cases, unpack=False):
    """Returns the cases of a battery, all but the first for `--everything`: it takes seconds.

    Args:
        cases: list of the values of a parameter, or of several.
        unpack: bool, whether a case is a tuple of the values of several parameters. Defaults to
            `False`.
    """
    return [
        pytest.param(*(case if unpack else (case,)), marks=pytest.mark.long if number else [])
        for number, case in enumerate(cases)
    ]


def run_layer_test(layer_class, options, params, rng, steps=1, idle=(), large=160):
    """Checks everything that a layer of the zoo promises, whatever it computes.

    Args:
        layer_class: the layer.
        options: dictionary of its options.
        params: function from the number of channels to the number of trainable parameters.
        rng: numpy generator.
        steps: int, steps of training until every weight must have moved: 2 for a layer that the
            authors start at zero, which keeps the gradient from what is before it.
        idle: tuple of strings, the ends of the paths of weights that no gradient can reach by
            construction, such as `"reduce/bias"` where a batch normalization follows.
        large: int, side of the map whose sums must not overflow: less than 160 for a layer that
            keeps a number for every pair of positions.
    """
    check_config(layer_class, options)
    check_shapes(layer_class, options, rng)
    check_parameters(layer_class, options, params)
    check_gradients(layer_class, options, rng, steps, idle)
    check_statistics(layer_class, options, rng)
    check_maps(layer_class, options, rng)
    check_data_formats(layer_class, options, rng)
    check_mixed_precision(layer_class, options, rng)
    check_large_half_precision_maps(layer_class, options, large)
    check_dtypes(layer_class, options, rng)
    check_no_images(layer_class, options, rng)
    check_output_shape(layer_class, options)
    check_frozen(layer_class, options, rng)
    check_one_input(layer_class, options)


def check_config(layer_class, options):
    layer = layer_class(**options, name="attention")
    config = json.loads(json.dumps(layer.get_config()))
    again = layer_class.from_config(config)
    assert json.loads(json.dumps(again.get_config())) == config
    for option, value in options.items():
        assert config[option] == (list(value) if isinstance(value, tuple) else value)
    assert keras.saving.get_registered_name(layer_class) == f"attention_zoo>{layer_class.__name__}"


def check_shapes(layer_class, options, rng):
    for height, width, channels in ((7, 5, 16), (1, 1, 8), (4, 6, 1), (3, 3, 2), (2, 9, 3)):
        layer = layer_class(**options)
        assert layer(keras.Input((None, None, channels))).shape == (None, None, None, channels)
        x = rng.normal(size=(2, height, width, channels)).astype("float32")
        y = keras.ops.convert_to_numpy(layer(x))
        assert y.shape == x.shape
        assert np.isfinite(y).all()
        assert keras.ops.convert_to_numpy(layer(x, training=True)).shape == x.shape


def check_parameters(layer_class, options, params):
    for channels in (1, 3, 16, 40):
        layer = layer_class(**options)
        layer.build((None, None, None, channels))
        count = sum(int(np.prod(weight.shape)) for weight in layer.trainable_weights)
        assert count == params(channels)


def check_gradients(layer_class, options, rng, steps=1, idle=()):
    """One step of training, or as many as the layer needs, moves every weight that can move."""
    model = keras.Sequential([keras.Input((6, 5, 16)), layer_class(**options)])
    before = [weight.numpy() for weight in model.trainable_weights]
    # behind a layer that has just left zero, gradients are too small for a step of SGD in float32
    model.compile("sgd" if steps == 1 else "adam", "mse", jit_compile=jit_compile())
    x = rng.normal(size=(32, 6, 5, 16)).astype("float32")
    history = model.fit(x, rng.normal(size=x.shape), epochs=steps, batch_size=32, verbose=0)
    assert np.isfinite(history.history["loss"]).all()
    paths = [weight.path for weight in model.trainable_weights]
    assert all(any(path.endswith(end) for path in paths) for end in idle), "no such weight"
    for weight, old in zip(model.trainable_weights, before, strict=True):
        if weight.path.endswith(tuple(idle)):
            continue
        assert np.abs(weight.numpy() - old).max() > 0, f"no gradient reaches {weight.path}"


def check_statistics(layer_class, options, rng):
    """Training, and nothing else, moves all statistics of every batch normalization."""
    layer = layer_class(**options)
    layer.build((None, None, None, 16))
    norms = [part for part in all_layers(layer) if type(part).__name__ == "BatchNormalization"]
    own = {id(weight) for norm in norms for weight in norm.weights}
    for weight in layer.trainable_weights:
        if id(weight) not in own:  # an average of what comes from a zero would stay at zero
            weight.assign(rng.normal(size=weight.shape))

    def statistics():
        return [weight.numpy() for norm in norms for weight in norm.non_trainable_weights]

    before = statistics()
    x = rng.normal(size=(4, 8, 6, 16)).astype("float32")
    layer(x, training=False)
    for old, new in zip(before, statistics(), strict=True):
        np.testing.assert_array_equal(old, new)
    layer(x, training=True)
    for old, new in zip(before, statistics(), strict=True):
        assert (old != new).all()


def check_maps(layer_class, options, rng):
    layer = layer_class(**options)
    x = rng.normal(size=(2, 6, 5, 16)).astype("float32")
    y, maps = layer(x, return_maps=True)
    alone = keras.ops.convert_to_numpy(layer(x))
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(y), alone)
    assert maps
    for values in maps.values():
        assert np.broadcast_shapes(values.shape, x.shape) == x.shape
    inputs = keras.Input((6, 5, 16))
    model = keras.Model(inputs, layer(inputs, return_maps=True))
    symbolic_y, symbolic_maps = model(x)
    np.testing.assert_allclose(
        keras.ops.convert_to_numpy(symbolic_y), keras.ops.convert_to_numpy(y), atol=1e-6
    )
    assert set(symbolic_maps) == set(maps)


def check_data_formats(layer_class, options, rng):
    """Channels first computes the same from the same weights."""
    last = layer_class(**options, data_format="channels_last")
    first = layer_class(**options, data_format="channels_first")
    last.build((None, None, None, 16))
    first.build((None, 16, None, None))
    first.set_weights(last.get_weights())
    x = rng.normal(size=(2, 6, 5, 16)).astype("float32")
    expected, expected_maps = last(x, return_maps=True)
    y, maps = first(x.transpose(0, 3, 1, 2), return_maps=True)
    for got, wanted in ((y, expected), *((maps[k], expected_maps[k]) for k in expected_maps)):
        np.testing.assert_allclose(
            keras.ops.convert_to_numpy(got).transpose(0, 2, 3, 1),
            keras.ops.convert_to_numpy(wanted),
            atol=1e-6,
        )
    keras.config.set_image_data_format("channels_first")
    assert channel_axis() == layer_class(**options).channel_axis == 1
    keras.config.set_image_data_format("channels_last")


def check_mixed_precision(layer_class, options, rng):
    x = rng.normal(size=(2, 6, 5, 16)).astype("float32")
    exact = layer_class(**options)
    exact.build(x.shape)
    expected = keras.ops.convert_to_numpy(exact(x))
    for policy, tolerance in (("mixed_float16", 5e-3), ("mixed_bfloat16", 5e-2)):
        layer = layer_class(**options, dtype=policy)
        layer.build(x.shape)
        layer.set_weights(exact.get_weights())
        assert {weight.dtype for weight in layer.weights} <= {"float32"}
        y = layer(x)
        dtype = keras.backend.standardize_dtype(y.dtype)
        assert dtype == policy.removeprefix("mixed_")
        assert layer(keras.Input((6, 5, 16))).dtype == dtype
        y = keras.ops.convert_to_numpy(keras.ops.cast(y, "float32"))
        np.testing.assert_allclose(y, expected, atol=tolerance * np.abs(x).max())


def check_large_half_precision_maps(layer_class, options, side=160):
    """A sum over a large map must not overflow in half precision."""
    if {"lse", "lp"} & {*options.get("pools", ()), *options.get("descriptor", ())}:
        return  # these are sums, and grow with the map by definition
    x = np.full((1, side, side, 4), 10.0 * (160 / side) ** 2, "float16")  # the same sum
    y = keras.ops.convert_to_numpy(layer_class(**options, dtype="mixed_float16")(x))
    assert np.isfinite(y).all()


def check_dtypes(layer_class, options, rng):
    """Weights and outputs of a dtype, and the numbers and gradients of the same weights."""
    x = rng.normal(size=(2, 6, 5, 16))
    exact = layer_class(**options)
    exact.build(x.shape)
    expected = keras.ops.convert_to_numpy(exact(x.astype("float32")))
    for dtype, tolerance in (("float16", 2e-2), ("bfloat16", 1e-1), ("float64", 1e-5)):
        if dtype == "float64" and keras.backend.backend() == "jax":
            continue  # JAX makes it float32
        layer = layer_class(**options, dtype=dtype)
        layer.build(x.shape)
        layer.set_weights(exact.get_weights())
        assert {weight.dtype for weight in layer.weights} <= {dtype}
        y = layer(keras.ops.cast(x, dtype))
        assert keras.backend.standardize_dtype(y.dtype) == dtype
        y = keras.ops.convert_to_numpy(keras.ops.cast(y, "float32"))
        np.testing.assert_allclose(y, expected, atol=tolerance * np.abs(x).max())
        if layer.trainable_weights:
            model = keras.Sequential([keras.Input(x.shape[1:], dtype=dtype), layer])
            model.compile("sgd", "mse", jit_compile=jit_compile())
            assert np.isfinite(model.train_on_batch(x.astype("float32"), expected))


def check_no_images(layer_class, options, rng):
    """A batch without images gives a map without images, and leaves all statistics as they are."""
    layer = layer_class(**options)
    x = rng.normal(size=(2, 6, 5, 16)).astype("float32")
    _, some = layer(x, return_maps=True)
    weights = layer.get_weights()
    for training in (False, True):
        y, maps = layer(x[:0], training=training, return_maps=True)
        assert y.shape == (0, 6, 5, 16)
        assert {name: (0, *values.shape[1:]) for name, values in some.items()} == {
            name: tuple(values.shape) for name, values in maps.items()
        }
        assert keras.backend.standardize_dtype(layer(x[:0], training=training).dtype) == "float32"
    for old, new in zip(weights, layer.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def check_output_shape(layer_class, options):
    """Alone, in a wrapper that asks for the shape, and in a model that has not seen an input."""
    assert layer_class(**options).compute_output_shape((None, 8, 8, 16)) == (None, 8, 8, 16)
    frames = keras.layers.TimeDistributed(layer_class(**options))(keras.Input((5, 6, 5, 16)))
    assert frames.shape == (None, 5, 6, 5, 16)
    unbuilt = keras.Sequential([layer_class(**options)])
    assert unbuilt.compute_output_shape((None, 8, 8, 16)) == (None, 8, 8, 16)


def check_frozen(layer_class, options, rng):
    """A frozen layer is frozen, and computes the same, after it was saved and loaded, or cloned."""
    image = keras.Input((6, 5, 16))
    model = keras.Model(image, layer_class(**options, name="attention")(image))
    count = len(model.trainable_weights)
    model.get_layer("attention").trainable = False
    with tempfile.TemporaryDirectory() as folder:
        model.save(f"{folder}/model.keras")
        loaded = load_model(f"{folder}/model.keras")
    clone = keras.models.clone_model(model)
    clone.set_weights(model.get_weights())
    x = rng.normal(size=(2, 6, 5, 16)).astype("float32")
    # training: a normalization that is frozen takes its averages, and leaves them as they are
    expected = keras.ops.convert_to_numpy(model(x, training=True))
    for copy in (loaded, clone):
        assert not copy.trainable_weights
        y = keras.ops.convert_to_numpy(copy(x, training=True))
        np.testing.assert_allclose(y, expected, rtol=1e-6, atol=1e-6)
        copy.get_layer("attention").trainable = True
        assert len(copy.trainable_weights) == count


def check_one_input(layer_class, options):
    inputs = [keras.Input((6, 5, 16)) for _ in range(4)]
    for several, kind in ((inputs, "list"), (tuple(inputs), "tuple")):
        with pytest.raises(ValueError, match=f"takes one feature map, received a {kind} of 4"):
            layer_class(**options)(several)
