"""Convolutional networks for Keras with pluggable attention."""

import difflib
import importlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import keras

    from .attention_module import *  # noqa: F403
    from .saving import load_model as load_model
    from .surgery import add_attention as add_attention
    from .torch_weights import load_torch_weights as load_torch_weights

__version__ = "0.1.0"  # pyproject.toml takes it from here

# name -> "file.function"; imported when asked for, so that naming them costs nothing
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
# where the library's other names are; all that are not here are in `attention_module`
_FILES = {
    "add_attention": "surgery",
    "load_model": "saving",
    "load_torch_weights": "torch_weights",
}


def __getattr__(name: str) -> Any:
    """Imports what is asked for; `list_models` and the bench's `--help` do without Keras."""
    if not name.startswith("_"):
        module = importlib.import_module(f"{__name__}.{_FILES.get(name, 'attention_module')}")
        if name in _FILES or name in module.__all__:
            return getattr(module, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    attention = importlib.import_module(f"{__name__}.attention_module")
    return sorted({*globals(), *_FILES, *attention.__all__})


def list_models() -> list[str]:
    """Returns the names of all architectures, sorted."""
    return sorted(_ARCHITECTURES)


def build_model(name: str, /, **options: Any) -> "keras.Model":
    """Builds a network by name.

    Args:
        name: string, one of `list_models()`.
        **options: the options of that architecture (`depth`, `width`, ...) and those common to all:
            `include_top`, `weights`, `input_tensor`, `input_shape`, `pooling`, `classes`,
            `classifier_activation`, `name`, `attention_module`, `attention_at`, `features_only`,
            described at `models.builder.Builder`. Options of the attention module go with it:
            `attention_module=partial(cbam_block, ratio=16)`.

    Returns:
        A Functional `keras.Model`.

    Raises:
        ValueError: an unknown name, an option the architecture does not have, or a value that an
            option cannot take.

    Example:

    >>> model = build_model("resnet_v1", depth=20, classes=10, attention_module="cbam_block")
    """
    return architecture(name)(**options)


def architecture(name: str) -> Callable[..., "keras.Model"]:
    """Returns the function that builds the architecture called `name`.

    Args:
        name: string, one of `list_models()`.

    Returns:
        A function such as `models.resnet_v1.resnet_v1`; its signature lists all its options.

    Raises:
        ValueError: an unknown name.
    """
    if name not in _ARCHITECTURES:
        close = difflib.get_close_matches(str(name), _ARCHITECTURES, n=1)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        raise ValueError(f"unknown model {name!r}.{hint} Known: {', '.join(list_models())}")
    module, function = _ARCHITECTURES[name].split(".")
    return getattr(importlib.import_module(f"{__name__}.{module}"), function)
