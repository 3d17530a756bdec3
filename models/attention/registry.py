"""Attention modules by name: the registry, and the one way an architecture attaches a module."""

import difflib
import functools
import inspect
import re
from collections.abc import Callable
from typing import Any, TypeAlias, TypeVar

import keras

from ..specification import is_reference, load_reference
from .base import KERAS_OPTIONS, WEIGHT_OPTIONS, AttentionLayer, shapes_of_ranks
from .specification import NONE, AttentionSpec

# what names or is an attention module: a name, a name with options, `None`, a callable on a feature
# map, a Keras layer
AttentionModule: TypeAlias = str | AttentionSpec | Callable[..., Any] | None
Block = TypeVar("Block", bound=Callable[..., Any])

NAME = re.compile(r"[^:()\s]+")  # what a specification takes for a name, and not for a path

_REGISTRY: dict[str, Callable[..., Any]] = {}
_LAYERS: dict[str, type | None] = {}


def register_attention(name: str, layer: type | None = None) -> Callable[[Block], Block]:
    """Makes a block usable by name everywhere a module can be named.

    Args:
        name: string, the name that `attention_module=`, `attach_attention_module` and the command
            line will know the block by.
        layer: layer class that takes the options which the block passes on by `**options`, so that
            `attention_options` can name them.

    Returns:
        A decorator that registers a callable `block(x, ..., name=None)` and returns it unchanged.
        A layer class works too: each place then gets a layer of its own.

    Raises:
        ValueError: the name is taken, is `"none"`, is no name at all, or has a colon, a parenthesis
            or white space, as only a module's path and its options have.

    Example:

    >>> @register_attention("halve")
    ... def halve(x, name=None):
    ...     return keras.layers.Rescaling(0.5, name=name)(x)
    >>> model = build_model("resnet_v1", depth=20, attention_module="halve")
    """
    if not isinstance(name, str) or not NAME.fullmatch(name) or name.lower() == NONE:
        raise ValueError(
            f"an attention module needs a name, any but 'none', without colons, parentheses and "
            f"white space; received {name!r}"
        )

    def register(block: Block) -> Block:
        if not callable(block):
            raise ValueError(f"{name!r} must be a callable on a feature map, received {block!r}")
        if _REGISTRY.get(name, block) is not block:
            raise ValueError(f"the attention name {name!r} is taken by {_REGISTRY[name]!r}")
        _REGISTRY[name] = block
        _LAYERS[name] = block if inspect.isclass(block) else layer
        return block

    return register


def list_attention() -> list[str]:
    """Returns the names of all registered attention modules, sorted."""
    return sorted(_REGISTRY)


def attention_options(name: str) -> list[str] | None:
    """Returns the names of the options that a module takes; no layer is built for it.

    Args:
        name: string, a registered name, `"none"`, or a user's own such as `"my_modules.py:block"`.

    Returns:
        A list of strings, or `None` if the block takes any option and only it knows which are good.

    Raises:
        ValueError: the name is unknown.
    """
    if name == NONE:
        return []
    block = _lookup(name)
    layer = block if inspect.isclass(block) else _LAYERS.get(name)
    known = _options_of(block) if block is not layer else []
    if layer is not None:
        known += _options_of(layer)
        if issubclass(layer, AttentionLayer) and layer.has_kernels:
            known += WEIGHT_OPTIONS
    elif _passes_options_on(block):
        return None
    return list(dict.fromkeys(known))


def get_attention(
    attention_module: AttentionModule, **options: Any
) -> Callable[..., keras.KerasTensor] | None:
    """Resolves an attention module to a callable on a feature map.

    Args:
        attention_module: a registered name, alone or with options, `"cbam_block(ratio=4)"`; a
            user's own, `"my_modules.py:my_block"`; an `AttentionSpec`; `None` or `"none"` (no
            attention); a callable `block(x)`; a Keras layer class; or a Keras layer, which serves
            as a pattern: each place gets a new layer with its configuration.
        **options: passed to the module, such as `ratio=16`; they stand over options in the name.
            Options that are `None` are left to the module's defaults.

    Returns:
        A callable `block(x, name=None)`, or `None` for no attention.

    Raises:
        ValueError: the name is unknown, the module does not take an option, or
            `attention_module` is none of the above.
    """
    options = {key: value for key, value in options.items() if value is not None}
    if isinstance(attention_module, AttentionSpec):
        options = {**dict(attention_module.options), **options}
        attention_module = attention_module.name
    if attention_module is None or isinstance(attention_module, str):
        spec = AttentionSpec.from_options(attention_module, options)
        if spec.is_none:
            return None
        options = dict(spec.options)
        attention_module = _lookup(spec.name)
        _check_known(spec)
    block = _as_block(attention_module)
    _check_options(block, options)
    return functools.partial(_call_block, functools.partial(block, **options), _ranks_of(block))


def at_identity(spec: AttentionSpec) -> AttentionSpec | None:
    """Returns a module with the option `start="identity"`: it changes nothing at first.

    Args:
        spec: an `AttentionSpec`.

    Returns:
        An `AttentionSpec`; the same one if there is no attention, or its user has set `start`;
        `None` if the module does not have the option, or not with its other options.
    """
    options = dict(spec.options)
    if spec.is_none or "start" in options:
        return spec
    if "start" not in (attention_options(spec.name) or []):
        return None
    started = AttentionSpec.from_options(spec.name, {**options, "start": "identity"}, spec.at)
    try:
        check_attention(started)
    except ValueError:  # such as of a `GE` without weights
        return None
    return started


def check_attention(spec: AttentionSpec) -> None:
    """Checks a module's name, its options and their values, without a feature map.

    Args:
        spec: an `AttentionSpec`.

    Raises:
        ValueError: the name is unknown, or the module does not take an option or its value.
    """
    get_attention(spec)
    layer = None if spec.is_none else _LAYERS.get(spec.name)
    if layer is not None:
        layer(**dict(spec.options))


def attach_attention_module(
    x: keras.KerasTensor, attention_module: AttentionModule, name: str | None = None, **options: Any
) -> keras.KerasTensor:
    """Passes a feature map through an attention module.

    Args:
        x: Keras tensor, a feature map; of modules that take them also a sequence or a volume.
        attention_module: what `get_attention` takes: a name, a name with options, `None`, a
            callable, a layer.
        name: string, the name of the attention layer, given on to modules that take one.
        **options: the module's options, such as `ratio=16`.

    Returns:
        A Keras tensor of the shape of `x`; `x` itself for `None`.

    Raises:
        ValueError: unknown name or option, an input of a rank that the module does not take, or a
            module that does not return a feature map of the input's shape.

    Example:

    >>> x = keras.Input((32, 32, 64))
    >>> y = attach_attention_module(x, "cbam_block", ratio=16)
    """
    block = get_attention(attention_module, **options)
    return x if block is None else block(x, name=name)


def _lookup(name):
    if is_reference(name):
        return load_reference(name)
    if name not in _REGISTRY and name.endswith(".py"):
        raise ValueError(f"{name!r} names a file and no block in it; write '{name}:BLOCK'")
    if name not in _REGISTRY:
        close = _closest(name)
        hint = f" Did you mean {close!r}?" if close else ""
        raise ValueError(
            f"unknown attention module {name!r}.{hint} Known: {', '.join(list_attention())}, none"
        )
    return _REGISTRY[name]


def _closest(name):
    """The registered name that was probably meant, or `None`; `CBAM` means `cbam_block`."""
    plain = name.lower().replace("-", "_")
    exact = [known for known in _REGISTRY if plain in (known, known.removesuffix("_block"))]
    of_layer = [
        known for known, layer in _LAYERS.items() if layer and layer.__name__.lower() == plain
    ]
    near = difflib.get_close_matches(plain, _REGISTRY, n=1, cutoff=0.5)
    return next(iter([*exact, *of_layer, *near]), None)


def _check_known(spec):
    """Refuses an option that a registered block would pass on to a layer that does not have it."""
    layer, known = _LAYERS.get(spec.name), attention_options(spec.name) or []
    of_keras = KERAS_OPTIONS if layer is not None and issubclass(layer, AttentionLayer) else ()
    unknown = [option for option, _ in spec.options if option not in (*known, *of_keras)]
    if unknown and layer is not None:
        raise ValueError(
            f"{layer.__name__} has no option {', '.join(map(repr, unknown))}; it takes "
            f"{', '.join(known)}"
        )


def _as_block(module):
    if inspect.isclass(module) and issubclass(module, keras.layers.Layer):
        return _layer_block(module, module)
    if isinstance(module, keras.layers.Layer):
        config = module.get_config()
        return _layer_block(
            type(module), lambda **options: type(module).from_config({**config, **options})
        )
    if callable(module):
        return module
    raise ValueError(
        "an attention module is a name such as 'cbam_block' or 'cbam_block(ratio=4)', None, a "
        "callable on a feature map or a Keras layer; "
        f"received {module!r}"
    )


def _layer_block(layer_class, make):
    """A block that makes a new layer, with weights of its own, at every place it is called."""

    def block(x, name=None, **options):
        try:
            layer = make(**options, name=name)
        except (TypeError, ValueError) as error:
            raise _cannot_be_made(layer_class, options, error) from None
        return layer(x)

    block.__name__ = layer_class.__name__
    block.ranks = getattr(layer_class, "ranks", (4,))  # type: ignore[attr-defined]
    return block


def _cannot_be_made(layer_class, options, error):
    """The error of a layer class that refuses its options."""
    # `from_config` makes a TypeError of every error, which is the context
    reason = (error.__context__ if isinstance(error, TypeError) else None) or error
    if issubclass(layer_class, AttentionLayer) and isinstance(reason, ValueError):
        return reason  # says all that there is to say
    given = ", ".join(f"{name}={value!r}" for name, value in options.items()) or "no options"
    known = ", ".join(_options_of(layer_class)) or "none of its own"
    return ValueError(
        f"{layer_class.__name__} cannot be made with {given}: {reason}. Its options: {known}"
    )


def _options_of(module):
    """The options that a block or a layer class names: not a block's feature map, nor the name."""
    parameters = list(inspect.signature(module).parameters.values())
    parameters = parameters if inspect.isclass(module) else parameters[1:]
    return [p.name for p in parameters if p.name != "name" and p.kind is not p.VAR_KEYWORD]


def _passes_options_on(block):
    parameters = inspect.signature(block).parameters.values()
    return any(p.kind is p.VAR_KEYWORD for p in parameters)


def _check_options(block, options):
    if _passes_options_on(block):
        return  # its layer checks them
    known = _options_of(block)
    for option in options:
        if option not in known:
            raise ValueError(
                f"{_name_of(block)} has no option {option!r}; it takes {', '.join(known) or 'none'}"
            )


def _ranks_of(block):
    """The ranks of the inputs that a block takes, which its layer tells."""
    while isinstance(block, functools.partial):
        block = block.func
    known = [layer for name, layer in _LAYERS.items() if _REGISTRY.get(name) is block]
    return getattr(next(iter(known), block), "ranks", (4,))


def _call_block(block, ranks, x, name=None):
    shape = getattr(x, "shape", None)
    if shape is None or len(shape) not in ranks:
        raise ValueError(
            f"attention needs {shapes_of_ranks(ranks)}, received "
            f"{'shape ' + str(tuple(shape)) if shape is not None else repr(x)}"
        )
    y = block(x, name=name) if _takes_name(block) else block(x)
    if tuple(getattr(y, "shape", ())) != tuple(shape):
        raise ValueError(
            f"the attention module {_name_of(block)} must return a feature map of its input's "
            f"shape {tuple(shape)}, it returned {getattr(y, 'shape', y)}"
        )
    return y


def _takes_name(block):
    return "name" in inspect.signature(block).parameters or _passes_options_on(block)


def _name_of(block):
    while isinstance(block, functools.partial):
        block = block.func
    return getattr(block, "__name__", repr(block))
