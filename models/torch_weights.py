"""Loads the weights of PyTorch's ResNets and ResNeXts into this zoo's."""

import pickle
import zipfile
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any

import keras
import numpy as np

from .archives import check_zip, most_unpacked
from .attention.base import AttentionLayer
from .attention.channel.eca import ECA
from .attention.channel.squeeze_excitation import SE
from .attention.channel.srm import SRM
from .attention.combined.bam import BAM
from .attention.combined.cbam import CBAM
from .timm_networks import PREFIX, timm_state_dict
from .torch_names import Scheme, differences, no_counterpart, scheme_of, torch_name

_GAIN_OF_ONE = {"start": ("published", "half", "authors")}
_IN_RELU = {"activation": ("relu",)}
# module -> the values of options by which it computes what the code does that the weights are from.
# Other modules, and these with other values, have weights of the same names and shapes, but compute
# something else with them.
MODULES: dict[type[AttentionLayer], dict[str, tuple]] = {
    BAM: {"dilation": (4,), "combine": ("product",), **_GAIN_OF_ONE},
    CBAM: {
        "pools": (("avg", "max"), ("max", "avg")), "descriptor": (("max", "avg"),),
        "order": ("channel_first",), **_GAIN_OF_ONE, **_IN_RELU,
    },
    ECA: _GAIN_OF_ONE,
    SE: {**_GAIN_OF_ONE, **_IN_RELU},
    SRM: _GAIN_OF_ONE,
}  # fmt: skip
MOST_MISFITS = 5  # that a message names
# under which training scripts save a state dict among other things
WRAPPERS = ("state_dict", "model_state_dict", "model", "net")
# output, input, height, width -> Keras's order
_AXES = {4: (2, 3, 1, 0), 3: (2, 1, 0), 2: (1, 0), 1: (0,)}


def load_torch_weights(
    model: keras.Model, state_dict: str | PathLike[str] | Mapping[str, Any]
) -> keras.Model:
    """Copies the weights of a PyTorch ResNet or ResNeXt into the same network of this zoo.

    Networks with the same options then have the same outputs:

    - torchvision's and pytorchcv's for ImageNet: `build_model("resnet", stem="imagenet", ...)`;
      pytorchcv's `resnet50`, `seresnet50` and deeper ones, without a `b` at the end of their names,
      need `stride_in="1x1"`, which no file tells
    - the CBAM authors': `attention_module=partial(cbam_block, **CBAM_OFFICIAL)`, with BAM
      `attention_module=bam_block, attention_at="stage"`
    - ECA-Net's: `attention_module="eca_block(kernel_size=3)"`
    - chenyaofo's, akamaster's and pytorchcv's for CIFAR: `build_model("resnet_v1", ...)`. Those
      shortcuts of akamaster's that pad with zeros become convolutions that do the same, and that
      learn if the network is trained further.
    - EvgenyKashin's: `attention_module="srm_block"` or `"se_block(ratio=16, use_bias=False)"`
    - timm's, such as `seresnet50`: `stem="imagenet"`; with a `d` in their names
      `stem="deep", shortcut="pool"`, with a `t` `stem="tiered", shortcut="pool"`; with SE
      `attention_module="se_block(ratio=16, divisor=8)"`, with ECA `attention_module="eca_block"`;
      `resnext50_32x4d` and its like are `build_model("resnext", depth=50, ...)`. A file does not
      tell an anti-aliased network (`resnetaa50`, `resnetblur50`) from one without; by its name it
      is refused.
    - moskomule's with SE: `attention_module="se_block(ratio=16, use_bias=False)"`, pytorchcv's with
      SE: `"se_block(ratio=16)"`

    Args:
        model: a model of `build_model("resnet", ...)`, `build_model("resnet_v1", ...)` or
            `build_model("resnext", ...)`; it is filled in place.
        state_dict: path of a file (`.safetensors`, or one that `torch.save` wrote, which is read
            with `weights_only=True`); `"timm:NAME"`, for the pretrained weights of a network of
            timm, which must be installed; or a dictionary from the names of that code, with or
            without `module.` before them, to arrays or tensors.

    Returns:
        The model.

    Raises:
        ValueError: the file cannot be read, or weights are missing, left over, or of another shape.
            The error names the first five of these, and how the networks differ as far as that
            can be told. Or an attention module has an option, such as `start="identity"`, with
            which it computes something else from these weights. Nothing is copied.

    Example:

    >>> model = build_model("resnet", depth=50, stem="imagenet", classes=1000,
    ...                     input_shape=(224, 224, 3))
    >>> load_torch_weights(model, "resnet50-0676ba61.pth")
    >>> model = build_model("resnet", depth=50, stem="imagenet", classes=1000,
    ...                     attention_module="se_block(ratio=16, divisor=8)")
    >>> load_torch_weights(model, "timm:seresnet50")

    Reference:

    - the CBAM and BAM authors'
      [code](https://github.com/Jongchan/attention-module/blob/master/MODELS/model_resnet.py)
    - [torchvision](https://github.com/pytorch/vision/blob/main/torchvision/models/resnet.py),
      [chenyaofo](https://github.com/chenyaofo/pytorch-cifar-models),
      [akamaster](https://github.com/akamaster/pytorch_resnet_cifar10),
      [moskomule](https://github.com/moskomule/senet.pytorch),
      [pytorchcv](https://github.com/osmr/pytorchcv),
      [EvgenyKashin](https://github.com/EvgenyKashin/SRMnet),
      [timm](https://github.com/huggingface/pytorch-image-models/blob/main/timm/models/resnet.py),
      [ECA-Net](https://github.com/BangguWu/ECANet)
    """
    if not isinstance(state_dict, Mapping):
        state_dict = read_state_dict(state_dict)
    given = {
        name.removeprefix("module."): value
        for name, value in state_dict.items()
        if not name.endswith("num_batches_tracked")  # a counter that Keras does not have
    }
    _check_attention(model)
    scheme = scheme_of(given, [weight.path for weight in model.weights])
    if scheme.plain_shortcuts:
        given = {**_plain_shortcuts(model, given, scheme), **given}
    for weight, value in _matched(model, given, scheme):
        weight.assign(value)
    return model


def _check_attention(model):
    """Refuses attention that computes something else than the code that the weights are from."""
    for layer in model.layers:
        if not isinstance(layer, AttentionLayer):
            continue
        kind = next((kind for kind in MODULES if isinstance(layer, kind)), None)
        if kind is None:
            raise no_counterpart(layer.weights[0].path if layer.weights else layer.name)
        config, allowed = layer.get_config(), MODULES[kind]
        wrong = [name for name, values in allowed.items() if config[name] not in values]
        if wrong:
            here = ", ".join(f"{name}={config[name]!r}" for name in wrong)
            there = ", ".join(f"{name}={allowed[name][0]!r}" for name in wrong)
            hint = "; CBAM_OFFICIAL has all options of the authors' module" if kind is CBAM else ""
            raise ValueError(
                f"{layer.name} would compute something else from these weights than the code that "
                f"they are from: it has {here}; build the network with {there}{hint}"
            )


def _matched(
    model: keras.Model, given: Mapping[str, Any], scheme: Scheme
) -> list[tuple[keras.Variable, np.ndarray]]:
    """Pairs of a model's weights and their values, or an error that says what does not fit."""
    remaining = dict(given)
    pairs, misfits = [], []
    for weight in model.weights:
        name = torch_name(weight.path, scheme)
        if name not in remaining:
            misfits.append(f"missing {name}")
            continue
        array = _copy(remaining.pop(name))
        value = _in_keras_order(array, weight)
        if value.shape != tuple(weight.shape):
            misfits.append(
                f"{name} of shape {array.shape} does not fit {weight.path} of shape {weight.shape}"
            )
        pairs.append((weight, value))
    misfits += [f"left over {name}" for name in remaining]
    if misfits:
        # where fewer fit, it is another network altogether
        raise _misfit_error(model, misfits, explain=len(pairs) > len(model.weights) / 2)
    return pairs


def _in_keras_order(value, weight):
    """A value with its axes in Keras's order, as far as it can be that of a weight."""
    if value.ndim == 4 and value.shape[2:] == (1, 1) and len(weight.shape) == 2:
        value = value[:, :, 0, 0]  # a dense layer, written as a convolution
    if value.ndim in _AXES:
        value = value.transpose(_AXES[value.ndim])
    if value.ndim == 3 and len(weight.shape) == 4:
        value = value[..., None]  # a depthwise convolution, written along one axis
    return value


def _misfit_error(model, misfits, explain):
    more = f"; and {len(misfits) - MOST_MISFITS} more" if len(misfits) > MOST_MISFITS else ""
    why = "".join(f"; {text}" for text in differences(misfits)) if explain else ""
    return ValueError(
        f"the weights do not fit {model.name}: {'; '.join(misfits[:MOST_MISFITS])}{more}{why}"
    )


def _plain_shortcuts(model, given, scheme):
    """Weights for the shortcuts of a model whose state dict has none.

    Such a shortcut takes every second pixel, and puts as many channels of zeros before its channels
    as after them. A convolution of 1x1 that copies channels does the same.
    """
    made: dict[str, np.ndarray] = {}
    names = [scheme.name(w.path) for w in model.weights if "_shortcut_" in w.path]
    if any(name in given for name in names):  # option B
        return made
    for weight in model.weights:
        layer, _, kind = weight.path.rpartition("/")
        name = scheme.name(weight.path)
        if not layer.endswith("_shortcut_conv") or kind != "kernel":
            continue
        inputs, outputs = weight.shape[2:]
        kernel = np.zeros((outputs, inputs, 1, 1), "float32")
        before = (outputs - inputs) // 2
        kernel[np.arange(inputs) + before, np.arange(inputs)] = 1
        norm = model.get_layer(layer.removesuffix("conv") + "norm")
        rest = dict.fromkeys(("beta", "moving_mean"), np.zeros(outputs, "float32"))
        # divided by its square root, with epsilon added, every value stays what it is
        rest["moving_variance"] = np.full(outputs, 1 - norm.epsilon, "float32")
        rest["gamma"] = np.ones(outputs, "float32")
        made[name] = kernel
        made |= {scheme.name(f"{norm.name}/{part}"): value for part, value in rest.items()}
    return made


def _copy(value):
    """A float32 array of its own: a tensor shares its memory with arrays, and these with JAX's."""
    if hasattr(value, "detach"):  # a tensor, which may be trained, in bfloat16 or on a GPU
        value = value.detach().float().cpu()
    return np.array(value, dtype="float32")


def read_state_dict(path: str | PathLike[str]) -> dict[str, np.ndarray]:
    """Reads a PyTorch state dict from a file without running anything in it, or from timm.

    Args:
        path: path of a `.safetensors` file, or of one that `torch.save` wrote: the state dict
            itself, or a dictionary with it under `"state_dict"`, as the CBAM authors save it,
            `"model_state_dict"`, `"model"` or `"net"`. `"timm:NAME"` reads a network of timm.

    Returns:
        A dictionary of numpy arrays.

    Raises:
        ValueError: there is no such file, it is of another kind, it holds more than tensors, the
            library that reads it is not installed, or timm does not give the weights.
    """
    if str(path).startswith(PREFIX):
        return timm_state_dict(str(path))
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"there is no file {path}")
    library = "safetensors" if path.suffix == ".safetensors" else "torch"
    try:
        if library == "safetensors":
            from safetensors.numpy import load_file

            return load_file(path)
        import torch

        if zipfile.is_zipfile(path):  # older files are plain pickles
            check_zip(path)
        loaded = torch.load(path, map_location="cpu", weights_only=True)
        return _arrays(loaded, most_unpacked(path.stat().st_size))
    except ImportError as error:
        raise ValueError(f"reading {path} needs {library}: pip install {library}") from error
    except pickle.UnpicklingError as error:
        if "weights_only" not in str(error):
            raise _unreadable(path, error) from error
        if "Unsupported operand" in str(error):  # text, an image, or an archive
            raise _unreadable(path, "it is no file that torch.save wrote") from error
        raise ValueError(
            f"{path} is no state dict that can be read safely: it holds Python objects, such as a "
            "whole model; save its state_dict() instead, torch.save(model.state_dict(), path)"
        ) from error
    except Exception as error:  # a damaged or hostile file can fail in any way
        raise _unreadable(path, error) from error


def _unreadable(path, error):
    reason = (str(error).strip() or type(error).__name__).splitlines()[0]
    return ValueError(f"{path} is no state dict that can be read safely: {reason}")


def _arrays(loaded, most):
    import torch

    inner = (loaded.get(name) for name in WRAPPERS) if isinstance(loaded, dict) else ()
    tensors = next((found for found in inner if isinstance(found, dict)), loaded)
    if not isinstance(tensors, dict) or not all(
        isinstance(name, str) and torch.is_tensor(tensor) and not tensor.is_complex()
        for name, tensor in tensors.items()
    ):
        raise ValueError("it must hold a dictionary of names and tensors")
    size = sum(tensor.numel() for tensor in tensors.values())
    if size > most:  # a tensor of one number can claim any shape
        raise ValueError(f"it is too small for {size} weights")
    return {name: tensor.detach().float().numpy() for name, tensor in tensors.items()}
