"""Adds attention to an existing Keras model, which keeps its weights and at first its outputs."""

import contextlib
import itertools
import tempfile
from collections.abc import Callable
from typing import Any

import keras
from keras import layers, ops

from .attention.identity import IdentityStart
from .attention.registry import AttentionModule, get_attention
from .checks import require_one_of
from .fast import install, is_installed, remove
from .graphs import as_graph, deep_graphs
from .precision import default_policy
from .private_api import all_layers, arguments_of, calls, is_functional, node_of, operation_of
from .sites import find_calls


def add_attention(
    model: keras.Model,
    attention_module: AttentionModule,
    at: str | list[str] | tuple[str, ...] | Callable[[keras.layers.Layer], bool] = "auto",
    start: str = "identity",
    freeze: str | None = None,
    **options: Any,
) -> keras.Model:
    """Puts attention into a copy of an existing model.

    The model is copied call by call, with its weights; the original stays as it is and shares no
    weights with the copy. After every call that `at` finds, the copy has an attention layer called
    `{layer}_attention`. If a layer with weights is called several times, one attention layer with
    one set of weights follows all its calls. If a layer without weights is (an activation that
    serves the whole network), each call has its own, `{layer}_attention_1` and so on. Attention
    takes the dtype policy and the data format of the layer that it follows.

    With `start="identity"` the new model computes what the old one did until it is trained, and
    every attention weight has its full gradient from the first step: the layer `IdentityStart`
    keeps the module's initial weights w0 and computes `x + a(x; w) - a(x; w0)`. This suits any
    module, gated or not, and costs the module's computation twice. The module is the layer's
    attribute `module`. Modules with a start of their own do without: `start="standard"` and
    `"cbam_block(start='identity')"`.

    Args:
        model: a Functional or Sequential Keras model, such as those of `keras.applications`. Models
            inside it, those in a `TimeDistributed` too, are copied in the same way. A Sequential
            model and an instance of a subclass of Functional become plain Functional models, and
            compilation is not carried over.
        attention_module: a name of `list_attention()`, a callable on a feature map, a Keras layer
            class, or a Keras layer, which serves as a pattern but for its dtype and data format.
        at: where attention goes. A pattern of layer names such as `"conv*_block*_out"`; a list or a
            tuple of names or patterns; a predicate `at(layer)` on layers; or `"auto"` (default),
            the outputs of residual blocks (the addition, or the activation after it) or, in a
            network without any, of its stages (before each change of the spatial size, and at its
            end). It leaves the model's outputs alone, and what only an activation, a reshape or a
            resize parts from them, so that they keep their range and their names. A name inside a
            nested model is given alone or as a path, `"inner/conv1"`; `*` matches `/` too. Inputs,
            and layers inside layers that are not models, cannot be attended.
        start: `"identity"` (default) or `"standard"`, the module as it was published.
        freeze: `None` (default): what was trainable stays trainable. `"backbone"`: only attention
            is trained, and batch normalizations of the old layers keep their statistics. To train
            all of it later, set the new model's `trainable` to `False` and then to `True`, and
            compile it again.
        **options: the module's options, such as `ratio=16`.

    Returns:
        A Functional `keras.Model` with the name, inputs and outputs of `model`. An output that is
        attended by name is called after its attention layer.

    Raises:
        ValueError: a subclassed or an unbuilt model, no layer found, a layer whose output is not a
            feature map, a layer that cannot be copied, or an option that cannot have that value.

    Example:

    >>> old = keras.applications.ResNet50(weights="imagenet")
    >>> model = add_attention(old, "cbam_block", at="conv*_block*_out", freeze="backbone")
    >>> model.compile("adam", "sparse_categorical_crossentropy")

    Reference:

    - [On Lazy Training in Differentiable Programming](https://arxiv.org/abs/1812.07956), for the
      subtraction of the initial function
    """
    require_one_of("start", start, ("identity", "standard"))
    require_one_of("freeze", freeze, (None, "backbone"))
    if get_attention(attention_module, **options) is None:
        raise ValueError("add_attention needs an attention module, received None")
    with deep_graphs():
        model = _require_graph(model)
        surgeon = _Surgeon(model, at, attention_module, options, start)
        copy = surgeon.copy_graph(model)
        surgeon.copy_state()
    if freeze == "backbone":
        for layer in surgeon.backbone():
            layer.trainable = False
    return copy


def _require_graph(model):
    graph = as_graph(model)
    if is_functional(graph):
        return graph
    kind = type(model).__name__
    if isinstance(model, keras.Sequential):
        raise ValueError(
            f"the {kind} {model.name!r} does not know its input yet; build it first, with "
            "model.build(input_shape) or a keras.Input as its first layer"
        )
    if isinstance(model, keras.Model):
        raise ValueError(
            f"{model.name!r} is a subclassed model ({kind}), which has no graph to put attention "
            "into; make it Functional, as keras.Model(x, model.call(x)) with a keras.Input x"
        )
    raise ValueError(f"add_attention needs a Functional or Sequential model, received {model!r}")


class _Surgeon:
    """Copies a model, its layers and the models in it, with attention at the chosen calls."""

    def __init__(self, model, at, module, options, start):
        self.module = module
        self.options = options
        self.start = start
        self.copies = {}
        self.pairs = []
        self.attention = {}
        # id of a layer -> its Functional model, made once: sites are known by the ids of its calls
        self.graphs = {}
        sites = find_calls(self._collect(model), at)
        self.sites = {id(node) for node, _ in sites}
        formats = (getattr(layer, "data_format", None) for layer in all_layers(model))
        self.data_format = next(filter(None, formats), keras.config.image_data_format())

    def _graph_of(self, layer):
        """The layer, or the one in a `TimeDistributed`, as a Functional model, or `None`."""
        if id(layer) not in self.graphs:
            graph = as_graph(layer.layer if type(layer) is layers.TimeDistributed else layer)
            self.graphs[id(layer)] = graph if is_functional(graph) else None
        return self.graphs[id(layer)]

    def _collect(self, model, prefix="", found=None):
        """All graphs in a model by their paths, each once, the outermost first."""
        found = {} if found is None else found
        found[prefix] = model
        for node in calls(model):
            inner = self._graph_of(node.operation)
            if inner is not None and all(inner is not known for known in found.values()):
                self._collect(inner, f"{prefix}{node.operation.name}/", found)
        return found

    def copy_graph(self, model):
        """A Functional model of new layers, called as those of `model` are."""
        tensors = {id(x): self._input(x) for x in model.inputs}
        names = {operation.name for operation in model.operations}
        for node in calls(model):
            args, kwargs = arguments_of(node, tensors)
            outputs = keras.tree.flatten(self._copy(node.operation)(*args, **kwargs))
            if id(node) in self.sites:
                outputs = [self._attend(node, outputs[0], names)]
            tensors.update(zip(map(id, node.outputs), outputs, strict=True))
        inputs, outputs = (
            keras.tree.map_structure(lambda x: tensors[id(x)], structure)
            for structure in (model.input, model.output)
        )
        return keras.Model(inputs, outputs, name=model.name)

    def _input(self, x):
        layer = operation_of(x)
        return type(layer).from_config(layer.get_config()).output

    def _copy(self, operation):
        if id(operation) not in self.copies:
            graph = self._graph_of(operation)
            if graph is not None:
                copy = self.copy_graph(graph)
                if type(operation) is layers.TimeDistributed:
                    copy = layers.TimeDistributed(copy, name=operation.name)
            elif isinstance(operation, layers.Layer):
                copy = self._copy_layer(operation)
            else:
                copy = operation  # a function of keras.ops, without any state
            self.copies[id(operation)] = copy
        return self.copies[id(operation)]

    def _copy_layer(self, layer):
        try:
            copy = type(layer).from_config(layer.get_config())
        except Exception as error:  # whatever the layer's own code raises
            if not layer.variables:
                return layer  # it has no state to share: a Lambda, say, that Keras does not load
            raise _cannot_copy(layer, error) from error
        self.pairs.append((layer, copy))
        return copy

    def _attend(self, node, x, names):
        """The attended output; a layer with weights has one attention layer for all its calls."""
        layer = node.operation
        key = id(layer if getattr(layer, "weights", None) else node)
        if key in self.attention:
            return self.attention[key](x)
        name = _new_name(f"{layer.name}_attention", names)
        policy = _policy(layer, x)
        data_format = getattr(layer, "data_format", None) or self.data_format
        block = self._block(policy, data_format)
        # the scope keeps the paths of the weights apart, however a block names its layers
        with _settings(policy, data_format), keras.name_scope(name):
            if self.start == "standard":
                self.attention[key], y = _as_layer(block, x, name)
                return y
            module, _ = _as_layer(block, x, "module")
        with _settings(policy, data_format):
            self.attention[key] = IdentityStart(module, name=name)
        return self.attention[key](x)

    def _block(self, policy, data_format):
        """The module as a block; a layer, a pattern, states settings that are not those here."""
        settings = {}
        if isinstance(self.module, layers.Layer):
            here = {"dtype": policy, "data_format": data_format}
            settings = {key: here[key] for key in here.keys() & self.module.get_config().keys()}
        return get_attention(self.module, **{**settings, **self.options})

    def copy_state(self):
        """Gives the copies the weights of their originals, and other state outside the config."""
        for layer, copy in self.pairs:
            try:
                parts = zip(all_layers(layer), all_layers(copy), strict=True)
                for part, new in parts:
                    _copy_part(part, new)
            except Exception as error:  # whatever the layer's own code raises
                raise _cannot_copy(layer, error) from error

    def backbone(self):
        """The layers that came from the old model."""
        return [copy for _, copy in self.pairs]


def _copy_part(layer, copy):
    copy.trainable = layer.trainable
    store: dict = {}
    layer.save_own_variables(store)
    # copied values: JAX's trainer gives its buffers away, and those of the old model must stay
    copy.load_own_variables({key: ops.copy(ops.convert_to_tensor(v)) for key, v in store.items()})
    if hasattr(layer, "save_assets"):  # a vocabulary
        with tempfile.TemporaryDirectory() as folder:
            layer.save_assets(folder)
            copy.load_assets(folder)
    (install if is_installed(layer) else remove)(copy)


def _cannot_copy(layer, error):
    return ValueError(
        f"the layer {layer.name!r} ({type(layer).__name__}) cannot be copied from its config: "
        f"{error}. Its get_config must return all arguments of its constructor"
    )


def _as_layer(block, x, name):
    """The block as one layer or model called `name`, and its output for `x`."""
    y = block(x, name=name)
    if y is x:
        raise ValueError("the attention module returned its input; there is nothing to add")
    node = node_of(y)
    layer = node.operation
    is_one = isinstance(layer, layers.Layer) and layer.name == name
    if is_one and [id(t) for t in node.input_tensors] == [id(x)]:
        return layer, y
    # several layers: in a model of their own, where their names cannot clash with others
    model = keras.Model(x, y, name=name)
    return model, model(x)


def _new_name(name, names):
    numbered = (f"{name}_{number}" for number in itertools.count(1))
    new = next(n for n in itertools.chain([name], numbered) if n not in names)
    names.add(new)
    return new


def _policy(layer, x):
    """The dtype policy of a layer, from its output, as models and functions state none."""
    half = x.dtype in ("float16", "bfloat16")
    mixed = half and getattr(layer, "variable_dtype", "float32") == "float32"
    return f"mixed_{x.dtype}" if mixed else x.dtype


@contextlib.contextmanager
def _settings(policy, data_format):
    """A context in which new layers have a dtype policy and a data format."""
    before = keras.config.image_data_format()
    keras.config.set_image_data_format(data_format)
    try:
        with default_policy(policy):
            yield
    finally:
        keras.config.set_image_data_format(before)
