"""Convolutional networks for Keras with pluggable attention."""

import difflib
import functools
import importlib.abc
import importlib.util
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import keras

    from .attention_module import *  # noqa: F403
    from .class_activation import grad_cam as grad_cam
    from .class_activation import overlay as overlay
    from .pretrained import class_names as class_names
    from .pretrained import list_weights as list_weights
    from .pretrained import trained_model as trained_model
    from .saving import load_model as load_model
    from .surgery import add_attention as add_attention
    from .torch_weights import load_torch_weights as load_torch_weights

__version__ = "0.1.0"  # pyproject.toml takes it from here

# name -> "file.function"; a file is imported when its network is asked for
_ARCHITECTURES = {
    "densenet": "densenet.DenseNet",
    "inception_resnet_v2": "inception_resnet_v2.InceptionResNetV2",
    "inception_v3": "inception_v3.InceptionV3",
    "mobilenet": "mobilenets.MobileNet",
    "resnet": "resnet.resnet",
    "resnet_v1": "resnet_v1.resnet_v1",
    "resnet_v2": "resnet_v2.resnet_v2",
    "resnext": "resnext.ResNext",
}
# public name -> file; `attention_module` has all others
_FILES = {
    "add_attention": "surgery",
    "class_names": "pretrained",
    "grad_cam": "class_activation",
    "list_weights": "pretrained",
    "load_model": "saving",
    "load_torch_weights": "torch_weights",
    "overlay": "class_activation",
    "trained_model": "pretrained",
}


def __getattr__(name: str) -> Any:
    """Imports a public name at its first use, so that `list_models` works without Keras."""
    # `from models import FILE` asks here first, and is no reason to import Keras
    is_file = importlib.util.find_spec(f"{__name__}.{name}") is not None
    if name == "__all__":
        return _public_names()
    if not name.startswith("_") and not is_file:
        module = importlib.import_module(f"{__name__}.{_FILES.get(name, 'attention_module')}")
        importlib.import_module(f"{__name__}.attention_module")  # with all layers
        if name in _FILES or name in module.__all__:
            return getattr(module, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


class _AfterKeras(importlib.abc.MetaPathFinder):
    """Imports the layers as soon as Keras is imported: it then knows those in a saved model."""

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> Any:
        if fullname != "keras":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec("keras")
        # a file of this package that imports Keras is not whole yet, and cannot be imported again
        if spec is not None and spec.loader is not None and not _is_being_imported():
            execute = spec.loader.exec_module

            def execute_and_register(module: Any) -> None:
                execute(module)
                importlib.import_module(f"{__name__}.attention_module")

            spec.loader.exec_module = execute_and_register  # type: ignore[method-assign]
        return spec


def _is_being_imported() -> bool:
    """Whether the import of a file of this package has begun and not ended."""
    files = [file for name, file in sys.modules.items() if name.startswith(f"{__name__}.")]
    specs = [getattr(file, "__spec__", None) for file in files]
    return any(getattr(spec, "_initializing", False) for spec in specs)


if "keras" in sys.modules:
    importlib.import_module(f"{__name__}.attention_module")
else:
    sys.meta_path.insert(0, _AfterKeras())


def _public_names() -> list[str]:
    attention = importlib.import_module(f"{__name__}.attention_module")
    return sorted({"architecture", "build_model", "list_models", *_FILES, *attention.__all__})


def __dir__() -> list[str]:
    return _public_names()


def list_models() -> list[str]:
    """Returns the names of all architectures, sorted."""
    return sorted(_ARCHITECTURES)


def build_model(name: str, /, **options: Any) -> "keras.Model":
    """Builds a network by name.

    Args:
        name: string, one of `list_models()`, or such a name with options,
            `"resnet(depth=50, stem='imagenet')"`. For a network of your own,
            `"my_models.py:my_network"` or `"package.module:my_network"`, with or without options:
            a function that takes the same options as the architectures and returns a model. For
            a model of Keras, `"keras.applications/EfficientNetV2B0"` or the path of a `.keras`
            file; see `models.keras_models.keras_model`.
        **options: options of the architecture (`depth`, `width`, ...) and the options common to
            all: `include_top`, `weights`, `input_tensor`, `input_shape`, `pooling`, `classes`,
            `classifier_activation`, `name`, `attention_module`, `attention_at`, `features_only`
            (see `models.builder.Builder`). They override options in `name`. A model of Keras takes
            those that `keras_model` names.

    Returns:
        A Functional `keras.Model`.

    Raises:
        ValueError: if the name is unknown or malformed, if the architecture does not have an
            option or the option does not allow the value, or if a function of your own cannot be
            imported or does not return a model.

    Example:

    >>> model = build_model("resnet_v1", depth=20, classes=10, attention_module="cbam_block")
    >>> model = build_model("resnet(depth=50, stem='imagenet')", classes=1000)
    """
    return architecture(name)(**options)


def architecture(name: str) -> Callable[..., "keras.Model"]:
    """Returns the function that builds an architecture.

    Args:
        name: string, as for `build_model`.

    Returns:
        A function such as `models.resnet_v1.resnet_v1`, whose signature lists all its options;
        the defaults of those given in `name` are the values given there.

    Raises:
        ValueError: if the name is unknown or malformed, or its function cannot be imported.
    """
    from .specification import is_keras_model, is_reference, load_reference, parse_specification

    try:
        base, options = parse_specification(str(name))
    except ValueError as error:
        raise ValueError(f"model {error}") from None
    if is_keras_model(base):
        from .keras_models import keras_model

        function = keras_model(base)
    elif is_reference(base):
        from .builder import with_checks

        function = with_checks(load_reference(base), base)
    else:
        file, attribute = _location(base)
        function = getattr(importlib.import_module(f"{__name__}.{file}"), attribute)
    return functools.partial(function, **options) if options else function


def _location(name: str) -> tuple[str, str]:
    """Returns the file and the function of an architecture, or raises a `ValueError`."""
    if name not in _ARCHITECTURES:
        close = difflib.get_close_matches(name, _ARCHITECTURES, n=1)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        raise ValueError(f"unknown model {name!r}.{hint} Known: {', '.join(list_models())}")
    file, function = _ARCHITECTURES[name].split(".")
    return file, function
