"""Loads the weights of PyTorch ResNets, the CBAM authors' and torchvision's, into this zoo's."""

import pickle
import re
import zipfile
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any

import keras
import numpy as np

from .archives import check_zip, most_unpacked

_CBAM = r"stage(\d+)_block(\d+)_attention"
_BAM = r"stage(\d+)_attention"

# the path of a weight here, without its last part -> the same place in a PyTorch state dict
_PLACES = [
    (r"stem_conv", "conv1"),
    (r"stem_norm", "bn1"),
    (r"stage(\d+)_block(\d+)_conv(\d)", "layer{0}.{1}.conv{2}"),
    (r"stage(\d+)_block(\d+)_norm(\d)", "layer{0}.{1}.bn{2}"),
    (r"stage(\d+)_block(\d+)_shortcut_conv", "layer{0}.{1}.downsample.0"),
    (r"stage(\d+)_block(\d+)_shortcut_norm", "layer{0}.{1}.downsample.1"),
    (r"logits", "fc"),
    (rf"{_CBAM}/channel/reduce", "layer{0}.{1}.cbam.ChannelGate.mlp.1"),
    (rf"{_CBAM}/channel/expand", "layer{0}.{1}.cbam.ChannelGate.mlp.3"),
    (rf"{_CBAM}/spatial/conv", "layer{0}.{1}.cbam.SpatialGate.spatial.conv"),
    (rf"{_CBAM}/spatial/norm", "layer{0}.{1}.cbam.SpatialGate.spatial.bn"),
    (rf"{_BAM}/channel_hidden0", "bam{0}.channel_att.gate_c.gate_c_fc_0"),
    (rf"{_BAM}/channel_norm0", "bam{0}.channel_att.gate_c.gate_c_bn_1"),
    (rf"{_BAM}/channel_out", "bam{0}.channel_att.gate_c.gate_c_fc_final"),
    (rf"{_BAM}/spatial_reduce", "bam{0}.spatial_att.gate_s.gate_s_conv_reduce0"),
    (rf"{_BAM}/spatial_reduce_norm", "bam{0}.spatial_att.gate_s.gate_s_bn_reduce0"),
    (rf"{_BAM}/spatial_dilated(\d)", "bam{0}.spatial_att.gate_s.gate_s_conv_di_{1}"),
    (rf"{_BAM}/spatial_dilated(\d)_norm", "bam{0}.spatial_att.gate_s.gate_s_bn_di_{1}"),
    (rf"{_BAM}/spatial_out", "bam{0}.spatial_att.gate_s.gate_s_conv_final"),
]
_WEIGHTS = {
    "kernel": "weight",
    "bias": "bias",
    "gamma": "weight",
    "beta": "bias",
    "moving_mean": "running_mean",
    "moving_variance": "running_var",
}
MOST_MISFITS = 5  # that a message names
# under which training scripts save a state dict among other things
WRAPPERS = ("state_dict", "model_state_dict", "model", "net")
_AXES = {4: (2, 3, 1, 0), 2: (1, 0), 1: (0,)}  # output, input, height, width -> Keras's order


def load_torch_weights(
    model: keras.Model, state_dict: str | PathLike[str] | Mapping[str, Any]
) -> keras.Model:
    """Copies a PyTorch ResNet's weights into the same network of this zoo.

    Networks with the same options then have the same outputs. The CBAM authors' networks are
    `build_model("resnet", stem=..., attention_module=partial(cbam_block, **CBAM_OFFICIAL))`, those
    with BAM have `attention_module=bam_block, attention_at="stage"`, and torchvision's have no
    attention.

    Args:
        model: a model of `build_model("resnet", ...)`; it is filled in place.
        state_dict: path of a file (`.safetensors`, or one that `torch.save` wrote, which is read
            with `weights_only=True`); or a dictionary from the names of the authors' code or of
            torchvision, with or without `module.` before them, to arrays or tensors.

    Returns:
        The model.

    Raises:
        ValueError: the file cannot be read, or weights are missing, left over, or of another shape.
            The error names the first five of these, and nothing is copied.

    Example:

    >>> model = build_model("resnet", depth=50, stem="imagenet", classes=1000,
    ...                     input_shape=(224, 224, 3))
    >>> load_torch_weights(model, "resnet50-0676ba61.pth")

    Reference:

    - the CBAM and BAM authors'
      [code](https://github.com/Jongchan/attention-module/blob/master/MODELS/model_resnet.py)
    - [torchvision](https://github.com/pytorch/vision/blob/main/torchvision/models/resnet.py)
    """
    if not isinstance(state_dict, Mapping):
        state_dict = read_state_dict(state_dict)
    given = {
        name.removeprefix("module."): value
        for name, value in state_dict.items()
        if not name.endswith("num_batches_tracked")  # a counter that Keras does not have
    }
    values, misfits = [], []
    for weight in model.weights:
        name = torch_name(weight.path)
        if name not in given:
            misfits.append(f"missing {name}")
            continue
        value = _copy(given.pop(name))
        found = value.shape
        if value.ndim in _AXES:
            value = value.transpose(_AXES[value.ndim])
        if value.shape != tuple(weight.shape):
            misfits.append(
                f"{name} of shape {found} does not fit {weight.path} of shape {weight.shape}"
            )
        values.append(value)
    misfits += [f"left over {name}" for name in given]
    if misfits:
        more = f"; and {len(misfits) - MOST_MISFITS} more" if len(misfits) > MOST_MISFITS else ""
        raise ValueError(
            f"the weights do not fit {model.name}: {'; '.join(misfits[:MOST_MISFITS])}{more}"
        )
    for weight, value in zip(model.weights, values, strict=True):
        weight.assign(value)
    return model


def _copy(value):
    """A float32 array of its own: a tensor shares its memory with arrays, and these with JAX's."""
    if hasattr(value, "detach"):  # a tensor, which may be trained, in bfloat16 or on a GPU
        value = value.detach().float().cpu()
    return np.array(value, dtype="float32")


def torch_name(path: str) -> str:
    """Returns the name that the weight at `path` of a ResNet has in a PyTorch state dict.

    Args:
        path: string, a Keras weight's path such as `"stage1_block1_conv1/kernel"`.

    Raises:
        ValueError: PyTorch's ResNets have no such layer.
    """
    place, _, kind = path.rpartition("/")
    for pattern, name in _PLACES:
        match = re.fullmatch(pattern, place)
        if match and kind in _WEIGHTS:
            stage, *numbers = match.groups() or ("",)
            if "_block" in place:  # PyTorch counts blocks from zero
                numbers[0] = int(numbers[0]) - 1
            return f"{name.format(stage, *numbers)}.{_WEIGHTS[kind]}"
    raise ValueError(
        f"{path} has no counterpart in PyTorch's ResNets: only networks of "
        "build_model('resnet', ...) without attention, with cbam_block at 'block' or bam_block at "
        "'stage' can take these weights"
    )


def read_state_dict(path: str | PathLike[str]) -> dict[str, np.ndarray]:
    """Reads a PyTorch state dict from a file without running anything in it.

    Args:
        path: path of a `.safetensors` file, or of one that `torch.save` wrote: the state dict
            itself, or a dictionary with it under `"state_dict"`, as the CBAM authors save it,
            `"model_state_dict"`, `"model"` or `"net"`.

    Returns:
        A dictionary of numpy arrays.

    Raises:
        ValueError: there is no such file, it is of another kind, it holds more than tensors, or the
            library that reads it is not installed.
    """
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
