"""The private names of Keras and TensorFlow are where `models/private_api.py` looks for them."""

import ast
import itertools
import json
import re
import warnings
import zipfile
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers

from models import private_api

backend = keras.backend.backend()
only_tensorflow = pytest.mark.skipif(backend != "tensorflow", reason="a name of TensorFlow's")
only_jax = pytest.mark.skipif(backend != "jax", reason="JAX's trainer alone keeps a state apart")

FOLDERS = ("models", "utils", "benchmarks")
# public in spite of its name
ALLOWED = {"os._exit"}
INSIDES = ("keras.src", "tensorflow.python", "tensorflow.compiler", "jax._src", "torch._")


def private_names(path):
    """What a Python file uses of others' names with an underscore, and of packages' insides."""
    for node in ast.walk(ast.parse(path.read_text())):
        modules = []
        if isinstance(node, ast.Attribute) and re.match("_[a-z]", node.attr):
            if ast.unparse(node.value) not in ("self", "cls"):
                yield ast.unparse(node)
        elif isinstance(node, ast.ImportFrom):
            modules = [node.module or ""]
        elif isinstance(node, ast.Import):
            modules = [name.name for name in node.names]
        yield from (name for name in modules if name.startswith(INSIDES))


@pytest.mark.once
def test_no_other_file_uses_a_private_name():
    root = Path(__file__).parents[2]
    found = {
        f"{path.relative_to(root)}: {name}"
        for path in itertools.chain.from_iterable((root / f).rglob("*.py") for f in FOLDERS)
        if path.name != "private_api.py"
        for name in private_names(path)
        if name not in ALLOWED
    }
    assert not found


def moved(name):
    return (
        f"models/private_api.py uses {name}, which Keras {keras.__version__} does not have as it "
        "was: find what took its place, and change that file alone"
    )


@pytest.fixture
def model():
    """Two inputs, of which the second goes through a layer that is called twice."""
    first, second = keras.Input((4,), name="first"), keras.Input((4,), name="second")
    dense = layers.Dense(4, name="dense")
    x = layers.Add(name="add")([first, dense(dense(second))])
    return keras.Model([first, second], layers.Activation("relu", name="relu")(x), name="model")


def compiled(**options):
    image = keras.Input((4,))
    model = keras.Model(image, layers.Dense(1, name="dense")(image))
    model.compile(keras.optimizers.SGD(0.5, **options), "mse", jit_compile=False)
    return model


X, Y = np.ones((4, 4), "float32"), np.zeros((4, 1), "float32")


def test_functional_models_are_known(model):
    assert hasattr(model, "_nodes_by_depth"), moved("Functional._nodes_by_depth")
    assert private_api.is_functional(model), moved("class Functional")

    class Other(keras.Model):
        def call(self, x):
            return 2 * x

    class Derived(type(model)):
        def call(self, inputs, training=None, mask=None):
            return 2 * super().call(inputs, training=training, mask=mask)

    sequential = keras.Sequential([keras.Input((4,)), layers.Dense(2)])
    derived = Derived(model.inputs, model.outputs)
    assert not any(map(private_api.is_functional, (Other(), sequential, derived)))
    assert private_api.calls_as(sequential, "Sequential"), moved("class Sequential")


def test_calls_of_a_graph(model):
    nodes = private_api.calls(model)
    for attribute in ("operation", "input_tensors", "outputs", "is_input", "arguments"):
        assert all(hasattr(node, attribute) for node in nodes), moved(f"Node.{attribute}")
    names = [node.operation.name for node in nodes]
    assert names == ["dense", "dense", "add", "relu"], moved("Functional._nodes_by_depth")
    first, second, addition, _ = nodes
    assert second.input_tensors[0] is first.outputs[0], moved("Node.input_tensors")
    assert addition.input_tensors[0] is model.inputs[0], moved("Node.input_tensors")


def test_where_a_tensor_comes_from(model):
    for tensor in (*model.inputs, *model.outputs):
        assert hasattr(tensor, "_keras_history"), moved("KerasTensor._keras_history")
    relu = private_api.operation_of(model.outputs[0])
    assert relu is model.get_layer("relu"), moved("KerasTensor._keras_history")
    assert private_api.operation_of(model.inputs[1]).name == "second", moved("_keras_history")
    assert hasattr(relu, "_inbound_nodes"), moved("Operation._inbound_nodes")
    call, tensors = private_api.node_of(model.outputs[0]), []
    while not call.is_input:  # back to the second input, through the layer that is called twice
        assert call.outputs[0] is (tensors or model.outputs)[-1], moved("Operation._inbound_nodes")
        tensors.append(call.input_tensors[-1])
        call = private_api.node_of(tensors[-1])
    names = [private_api.operation_of(x).name for x in tensors]
    assert names == ["add", "dense", "dense", "second"], moved("Operation._inbound_nodes")
    assert tensors[-1] is model.inputs[1], moved("Operation._inbound_nodes")


def test_arguments_of_a_call(model):
    addition = private_api.node_of(private_api.node_of(model.outputs[0]).input_tensors[0])
    assert hasattr(addition.arguments, "fill_in"), moved("SymbolicArguments.fill_in")
    others = {id(x): f"other {n}" for n, x in enumerate(addition.input_tensors)}
    args, kwargs = private_api.arguments_of(addition, others)
    assert (args, kwargs) == ((["other 0", "other 1"],), {}), moved("SymbolicArguments.fill_in")


def test_layers_at_any_depth(model):
    assert hasattr(model, "_flatten_layers"), moved("Layer._flatten_layers")

    class Outer(layers.Layer):
        def __init__(self):
            super().__init__()
            self.inner = layers.TimeDistributed(layers.Dense(2))
            self.listed = [layers.ReLU(), self.inner]

    outer = Outer()
    found = private_api.all_layers(outer)
    wanted = [outer, outer.inner, outer.inner.layer, outer.listed[0]]
    assert found[0] is outer, moved("Layer._flatten_layers")
    assert {*map(id, found)} == {*map(id, wanted)}, moved("Layer._flatten_layers")
    assert len(found) == len(wanted), moved("Layer._flatten_layers")
    assert outer not in private_api.all_layers(outer, include_self=False)


def test_variables_of_an_optimizer():
    model = compiled()
    model.train_on_batch(X, Y)
    assert hasattr(model.optimizer, "_trainable_variables"), moved("Optimizer._trainable_variables")
    for ours, wanted in zip(
        private_api.optimized_variables(model.optimizer), model.trainable_variables, strict=True
    ):
        assert ours is wanted, moved("Optimizer._trainable_variables")


def test_averages_of_an_optimizer():
    model = compiled(use_ema=True, ema_momentum=0.75)
    name = "_model_variables_moving_average"
    start = [np.array(w) for w in model.get_weights()]
    model.train_on_batch(X, Y)
    assert hasattr(model.optimizer, name), moved(f"Optimizer.{name}")
    averages = map(keras.ops.convert_to_numpy, private_api.averaged_variables(model.optimizer))
    # Keras's first average is the weights after the first step
    for average, first, now in zip(averages, start, model.get_weights(), strict=True):
        assert np.abs(now - first).max() > 0
        np.testing.assert_allclose(average, now, rtol=1e-6, err_msg=moved(f"Optimizer.{name}"))


@only_tensorflow
@pytest.mark.parametrize("steps", [1, 2])
def test_names_of_the_trainers_functions(steps):
    """Whatever Keras traces for its own loops has one of the names, and nothing else has."""
    import tensorflow as tf

    traced = []

    class Noted(layers.Layer):
        def call(self, x):
            traced.append(private_api.traced_functions())
            return 2 * x

    image = keras.Input((4,))
    model = keras.Model(image, layers.Dense(1)(Noted()(image)))
    model.compile("sgd", "mse", jit_compile=False, steps_per_execution=steps)
    for run in (model.fit, model.evaluate, lambda *a, **k: model.predict(a[0], **k)):
        traced.clear()
        run(X, Y, batch_size=2, verbose=0)
        for names in traced:
            assert names & private_api.TRAINER_FUNCTIONS, (
                f"{moved('the names of the functions that the trainer traces')}; they are {names}"
            )
        assert traced
    traced.clear()
    tf.function(model)(X)
    model(X)
    assert traced
    assert not set().union(*traced) & private_api.TRAINER_FUNCTIONS
    assert traced[0], "tf.Graph.outer_graph has moved; see models/private_api.py"


@only_jax
def test_state_of_a_training_on_jax():
    model, seen = compiled(), []

    class Look(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            private_api.synchronize_jax_state(self.model)
            seen.append(self.model.get_weights()[0])

    assert hasattr(model, "jax_state_sync"), moved("JAXTrainer.jax_state_sync")
    model.fit(X, Y, batch_size=2, verbose=0, callbacks=[Look()])
    first, second = seen
    assert np.abs(first - second).max() > 0, moved("JAXTrainer.jax_state_sync")
    np.testing.assert_array_equal(second, model.get_weights()[0])


def test_what_is_in_a_keras_file(tmp_path):
    model = compiled()
    model.train_on_batch(X, Y)
    model.save(tmp_path / "model.keras")
    with zipfile.ZipFile(tmp_path / "model.keras") as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    names = {private_api.CONFIG_FILE, private_api.METADATA_FILE, private_api.WEIGHTS_FILE}
    assert names == files.keys(), moved("the members of a .keras file")
    config = json.loads(files[private_api.CONFIG_FILE])
    metadata = json.loads(files[private_api.METADATA_FILE])
    assert private_api.COMPILE_KEY in config, moved("compile_config in config.json")
    assert private_api.DATE_KEY in metadata, moved("date_saved in metadata.json")


def test_numbers_of_objects_in_a_keras_file(tmp_path):
    """The same model, made again, differs in these numbers alone."""
    configs = []
    for _ in range(2):
        policy = keras.DTypePolicy("float32")
        initializer = keras.initializers.HeNormal(seed=1)  # shared, and therefore numbered
        image = keras.Input((4,), name="image")
        x = image
        for name in "ab":
            x = layers.Dense(4, kernel_initializer=initializer, dtype=policy, name=name)(x)
        keras.Model(image, x, name="model").save(tmp_path / "model.keras")
        with zipfile.ZipFile(tmp_path / "model.keras") as archive:
            configs.append(archive.read(private_api.CONFIG_FILE))
    found = [private_api.OBJECT_NUMBER.findall(config) for config in configs]
    assert found[0], moved("shared_object_id in config.json")
    first, second = (private_api.OBJECT_NUMBER.sub(rb"\1", config) for config in configs)
    assert first == second, moved("shared_object_id in config.json")


def test_warning_about_what_is_not_loaded(tmp_path):
    path = tmp_path / "model.keras"
    compiled().save(path)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("../outside", b"")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        keras.saving.load_model(path)
    texts = [str(warning.message) for warning in caught]
    assert any(text.startswith(private_api.LOST_WEIGHTS) for text in texts), (
        f"{moved('the text of a warning')}; it says {texts}"
    )


def test_what_is_said_of_a_lambda(tmp_path):
    image = keras.Input((4,))
    keras.Model(image, keras.layers.Lambda(lambda x: x)(image)).save(tmp_path / "model.keras")
    with pytest.raises(ValueError, match="Lambda") as error:
        keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    assert private_api.UNSAFE_LAMBDA in str(error.value), moved("the text of an error")


@only_tensorflow
def test_reduction_of_several_tensors():
    import tensorflow as tf

    @tf.function(input_signature=[tf.TensorSpec((), tf.float32)] * 4)
    def combine(a, b, other_a, other_b):
        return a + other_a, tf.maximum(b, other_b)

    combine = combine.get_concrete_function()

    @tf.function(jit_compile=True)
    def reduce(a, b):
        starts = [tf.constant(0.0), tf.constant(-np.inf)]
        return private_api.variadic_reduce([a, b], starts, 1, combine)

    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 3, 5)).astype("float32")
    try:
        total, highest = reduce(a, b)
    except ImportError as error:
        pytest.fail(f"TensorFlow {tf.__version__} has moved xla.variadic_reduce: {error}")
    np.testing.assert_allclose(total, a.sum(axis=1), rtol=1e-5)
    np.testing.assert_array_equal(highest, b.max(axis=1))


def test_a_variable_as_it_is_stored():
    found = {}

    class Reading(layers.Layer):
        def build(self, input_shape):
            self.weight = self.add_weight(shape=(2,), name="weight")

        def call(self, inputs):
            found["in the call"] = keras.backend.standardize_dtype(self.weight.value.dtype)
            value = private_api.stored_value(self.weight)
            found["stored"] = keras.backend.standardize_dtype(value.dtype)
            return inputs

    Reading(dtype="mixed_bfloat16")(np.zeros((1, 2), "float32"))
    assert found == {"in the call": "bfloat16", "stored": "float32"}
