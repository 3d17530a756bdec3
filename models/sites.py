"""Finds where attention goes in an existing model, by layer names or from the graph alone."""

import difflib
import itertools
from fnmatch import fnmatchcase

import keras
from keras import layers

from .private_api import calls, is_functional

ACTIVATIONS = {name.replace("_", "") for name in dir(keras.activations)} | {"activation", "prelu"}
# `CustomScaleLayer` adds the branches of InceptionResNetV2 in keras.applications
ADDITIONS = {"Add", "CustomScaleLayer"}
# what only these part from a model's output is an output itself: the scores of a mask, say
RESHAPES = {"Cropping2D", "Flatten", "Identity", "Permute", "Reshape", "Transpose", "ZeroPadding2D"}
RESIZES = {"Resize", "Resizing", "UpSampling2D"}


def find_calls(graphs, at):
    """Finds the calls whose outputs are to be attended.

    Args:
        graphs: dictionary from the path of a model, such as `"inner/"`, to the Functional model;
            the outermost is at `""`.
        at: a pattern of layer names, a list of them, a predicate on layers, or `"auto"`.

    Returns:
        A list of pairs, `(call, path of its layer)`.

    Raises:
        ValueError: `at` is none of these, matches nothing, or matches a layer whose output is not a
            feature map.
    """
    found = [
        (prefix + node.operation.name, node) for prefix, g in graphs.items() for node in calls(g)
    ]
    if not any(is_feature_map(node) for _, node in found):
        raise ValueError(
            "the model has no feature map of rank 4 (batch, height, width, channels) and a "
            "floating dtype to add attention to; in a model of sequences or volumes, call a block "
            "where you build it, such as x = se_block(x)"
        )
    if isinstance(at, str) and at == "auto":
        chosen = {id(node) for node in find_auto(graphs)}
        sites = [(node, path) for path, node in found if id(node) in chosen]
        if not sites:
            raise ValueError(
                "at='auto' finds neither residual blocks nor stages in this model besides its "
                f"outputs; name the layers to attend, such as {_some(found)}"
            )
        return sites
    if callable(at):
        is_layer = [(path, n) for path, n in found if isinstance(n.operation, layers.Layer)]
        sites = [(node, path) for path, node in is_layer if at(node.operation)]
        if not sites:
            raise ValueError(f"no layer satisfies at={at!r}; the model has {_some(found)}")
    else:
        sites = _by_name(found, at)
    _require_feature_maps(sites, at, found)
    return sites


def _by_name(found, at):
    patterns = [at] if isinstance(at, str) else at
    is_list = isinstance(patterns, (list, tuple)) and all(isinstance(p, str) for p in patterns)
    if not is_list or not patterns:
        raise ValueError(
            "at must be 'auto', a pattern of layer names, a list of names or a predicate on "
            f"layers; received {at!r}"
        )
    for pattern in patterns:
        if not any(_matches(path, node, pattern) for path, node in found):
            names = {name for path, node in found for name in (path, node.operation.name)}
            close = difflib.get_close_matches(pattern, sorted(names), n=1)
            hint = f" Did you mean {close[0]!r}?" if close else ""
            raise ValueError(
                f"no layer is called {pattern!r}.{hint} The model has {_some(found)} (its inputs "
                "cannot be attended)"
            )
    return [(n, path) for path, n in found if any(_matches(path, n, p) for p in patterns)]


def _matches(path, node, pattern):
    names = (path, node.operation.name)
    return pattern in names or any(fnmatchcase(name, pattern) for name in names)


def _some(found, most=8):
    """The first layers with a feature map, for an error."""
    names = list(dict.fromkeys(path for path, node in found if is_feature_map(node)))
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(map(repr, names[:most])) + more


def _require_feature_maps(sites, at, found):
    unfit = {
        path: [x.shape for x in node.outputs] for node, path in sites if not is_feature_map(node)
    }
    if unfit:
        shapes = [f"{path} {', '.join(map(str, shapes))}" for path, shapes in unfit.items()]
        more = f" and {len(shapes) - 5} more" if len(shapes) > 5 else ""
        raise ValueError(
            "attention needs one feature map of rank 4 (batch, height, width, channels) of a "
            f"floating dtype; at={at!r} matches layers whose output is none: "
            f"{'; '.join(shapes[:5])}{more}. Choose among {_some(found)}"
        )


def is_feature_map(node):
    """Whether a call has one output, of rank 4 and a floating dtype."""
    shapes = [x.shape for x in node.outputs]
    return len(shapes) == 1 and len(shapes[0]) == 4 and "float" in node.outputs[0].dtype


def find_auto(graphs):
    """Finds the outputs of residual blocks; in a network without any, those of its stages.

    A residual block ends in an addition of feature maps that are all computed from a common one,
    or in an activation, if that alone uses the sum. Stages are separated by changes of the spatial
    size on the trunk, the calls that every path through the network passes. A stage ends before the
    change and the padding that belongs to it, the last stage where the network ends or pools. The
    network's outputs, and what only an activation, a reshape or a resize parts from them, are left
    alone.

    Args:
        graphs: dictionary from paths to Functional models, as in `find_calls`.

    Returns:
        A list of calls.
    """
    spared = set(_outputs(graphs))
    found = [_Graph(model) for model in graphs.values()]
    blocks = [
        node for graph in found for node in graph.residual_outputs() if id(node) not in spared
    ]
    return blocks or [node for graph in found for node in graph.stage_outputs(spared)]


def _outputs(graphs, prefix=""):
    """The calls that give a model's outputs but for their activation and shape, by their `id`."""
    makers = {id(x): node for node in calls(graphs[prefix]) for x in node.outputs}
    tensors = list(graphs[prefix].outputs)
    while tensors:
        node = makers.get(id(tensors.pop()))
        if node is None:
            continue
        yield id(node)
        kind = type(node.operation).__name__
        if kind.lower() in ACTIVATIONS or kind in RESHAPES | RESIZES:
            tensors.extend(node.input_tensors)
        inner = f"{prefix}{node.operation.name}/"
        if inner in graphs:
            yield from _outputs(graphs, inner)


def stage_ends(model):
    """Returns the calls that end the stages of a Functional model, as `find_auto` defines stages.

    Every path through the model passes each of them, also in a model of residual blocks.
    """
    return list(_Graph(model).stage_outputs())


class _Graph:
    """A model's calls, numbered; bit i of `before[n]` says whether call n depends on call i."""

    def __init__(self, model):
        self.nodes = calls(model)
        self.outputs = [id(x) for x in model.outputs]
        self.users: dict = {}
        self.before = []
        inputs = {id(x): 1 << (len(self.nodes) + n) for n, x in enumerate(model.inputs)}
        self.origin = dict(inputs)  # for a tensor, the bits of all calls and inputs it comes from
        for number, node in enumerate(self.nodes):
            mask = 0
            for x in node.input_tensors:
                mask |= self.origin[id(x)]
                self.users.setdefault(id(x), []).append(node)
            self.before.append(mask)
            self.origin.update({id(x): mask | 1 << number for x in node.outputs})

    def residual_outputs(self):
        for node in filter(self._is_residual, self.nodes):
            users = self.users.get(id(node.outputs[0]), [])
            alone = len(users) == 1 and type(users[0].operation).__name__.lower() in ACTIVATIONS
            yield users[0] if alone else node

    def _is_residual(self, node):
        added = node.input_tensors
        if type(node.operation).__name__ not in ADDITIONS or not is_feature_map(node):
            return False
        common = -1
        for x in added:
            common &= self.origin[id(x)]
        return len(added) > 1 and common != 0 and len({tuple(x.shape) for x in added}) == 1

    def stage_outputs(self, spared=()):
        """The last call of each stage, without the calls whose `id` is in `spared`."""
        chosen = {}
        for trunk, members in map(self._trunk, self.outputs):
            trunk = [n for n in trunk if id(self.nodes[n]) not in spared]
            for here, there in itertools.pairwise([*trunk, None]):
                if there is not None and not (
                    _enlarges(self.nodes[there])
                    or any(
                        _reduces(self.nodes[n])
                        for n in members
                        if n == there or (self.before[n] >> here & self.before[there] >> n & 1)
                    )
                ):
                    continue
                end = self._before_padding(trunk, here)
                if end is not None and self._is_stage_end(end):
                    chosen[end] = self.nodes[end]
        return chosen.values()

    def _trunk(self, output):
        """The calls on every path to an output, and those on any path; of feature maps only."""
        needed = self.origin[output]
        members = [
            n for n, node in enumerate(self.nodes) if needed >> n & 1 and is_feature_map(node)
        ]
        mask = sum(1 << n for n in members)
        after = dict.fromkeys(members, 0)
        for n in members:
            for m in members:
                if self.before[n] >> m & 1:
                    after[m] |= 1 << n
        trunk = [n for n in members if not mask & ~(self.before[n] | after[n] | 1 << n)]
        return sorted(trunk, key=lambda n: self.before[n].bit_count()), members

    def _before_padding(self, trunk, number):
        position = trunk.index(number)
        while position >= 0 and "Padding" in type(self.nodes[trunk[position]].operation).__name__:
            position -= 1
        return trunk[position] if position >= 0 else None

    def _is_stage_end(self, number):
        """Whether a call has weights before it, more than one pixel, and is no model itself."""
        before = self.before[number] | 1 << number
        learned = any(
            before >> n & 1
            and any(len(w.shape) > 1 for w in getattr(node.operation, "weights", ()))
            for n, node in enumerate(self.nodes)
        )
        node = self.nodes[number]
        return (
            learned
            and set(_size(node.outputs[0], node)) != {1}
            and not is_functional(node.operation)
        )


def _reduces(node):
    """Whether a call at least halves the height or the width."""
    operation = node.operation
    strides = getattr(operation, "strides", None)
    if strides is not None and "Transpose" not in type(operation).__name__:
        return max(keras.tree.flatten(strides)) > 1
    maps = [x for x in node.input_tensors if len(x.shape) == 4]
    if not maps:
        return False
    sizes = zip(_size(maps[0], node), _size(node.outputs[0], node), strict=True)
    return any(b == 1 != a or (a and b and b < a and 2 * b <= a + 1) for a, b in sizes)


def _enlarges(node):
    """Whether a call enlarges the map, as in a decoder."""
    kind = type(node.operation).__name__
    strides = getattr(node.operation, "strides", 1)
    return kind in RESIZES or ("Transpose" in kind and max(keras.tree.flatten(strides)) > 1)


def _size(x, node):
    data_format = getattr(node.operation, "data_format", None) or keras.config.image_data_format()
    return x.shape[2:] if data_format == "channels_first" else x.shape[1:3]
