"""Networks of timm by name, `timm:seresnet50`: which of ours they are, and their weights."""

import contextlib
import difflib
import logging
import re
from typing import Any

import numpy as np

from .resnet import DEPTHS as RESNETS
from .resnext import DEPTHS as RESNEXTS

PREFIX = "timm:"
# letter after the depth -> the options of resnet and resnext that it stands for
STEM_OPTIONS = {
    "": {"stem": "imagenet"},
    "c": {"stem": "deep"},
    "d": {"stem": "deep", "shortcut": "pool"},
    "t": {"stem": "tiered", "shortcut": "pool"},
}
ATTENTION = {"": "none", "se": "se_block", "eca": "eca_block"}
DEPTHS = {
    "resnet": tuple(RESNETS),
    "resnext": tuple(depth for depth, (stem, *_) in RESNEXTS.items() if stem == "imagenet"),
}
_NAME = re.compile(r"(|se|eca)(resnet|resnext)(\d+)([cdt]?)(?:_(\d+)x(\d+)d)?")
# the classes of modules that our networks have too
_SHARED = {
    "AdaptiveAvgPool2d", "AvgPool2d", "BasicBlock", "BatchNorm2d", "Bottleneck", "Conv1d", "Conv2d",
    "DropPath", "EcaModule", "Flatten", "Identity", "Linear", "MaxPool2d", "ReLU", "ResNet",
    "SEModule", "SelectAdaptivePool2d", "Sequential", "Sigmoid",
}  # fmt: skip


def timm_options(source: str) -> dict[str, Any]:
    """Returns which of our networks a network of timm is.

    Args:
        source: string, `"timm:NAME"`.

    Returns:
        A dictionary: `"model"` and `"attention"`, names of an architecture and of an attention
        module, and options of the architecture.

    Raises:
        ValueError: none of ours is the same.

    Example:

    >>> timm_options("timm:seresnet50.a1_in1k")
    {'model': 'resnet', 'attention': 'se_block', 'depth': 50, 'stem': 'imagenet'}
    """
    name = source.removeprefix(PREFIX)
    match = _NAME.fullmatch(name.partition(".")[0])
    if not match or (match[2] == "resnext") != bool(match[5]):
        _require_expressible(source)
        raise ValueError(
            f"ours have no network such as {source}: NAME in timm:NAME must be resnetDEPTH or "
            "resnextDEPTH_GROUPSxWIDTHd, with se or eca before it or none of them, and c, d or t "
            "after the depth or none of them, as in seresnet50, ecaresnet50d and seresnext50_32x4d"
        )
    attention, model, depth, letter, groups, width = match.groups()
    if int(depth) not in DEPTHS[model]:
        allowed = ", ".join(map(str, DEPTHS[model]))
        raise ValueError(
            f"timm's {model} must have a depth of {allowed}, as ours have; received {source}"
        )
    options: dict[str, Any] = {"model": model, "attention": ATTENTION[attention]}
    options |= {"depth": int(depth), **STEM_OPTIONS[letter]}
    return options | ({"cardinality": int(groups), "width": int(width)} if groups else {})


def timm_state_dict(source: str) -> dict[str, np.ndarray]:
    """Returns the pretrained weights of a network of timm, which downloads them.

    Args:
        source: string, `"timm:NAME"`, as `timm.create_model` takes the name.

    Returns:
        A dictionary of numpy arrays.

    Raises:
        ValueError: timm is not installed or does not have the network or its weights, or the
            network computes what ours do not.
    """
    _require_expressible(source)  # before anything is downloaded
    state = _created(source, pretrained=True).state_dict()
    return {key: value.detach().float().cpu().numpy() for key, value in state.items()}


def _require_expressible(source):
    """Raises an error if timm does not have a network, or it computes what ours do not."""
    timm, name = _timm(source), source.removeprefix(PREFIX)
    if not timm.is_model(name):
        close = difflib.get_close_matches(name.partition(".")[0], timm.list_models(), n=1)
        hint = f"; did you mean {PREFIX}{close[0]}?" if close else ""
        raise ValueError(f"timm has no network {name!r}{hint}")
    lacking = _lacking(_created(source, pretrained=False))
    if lacking:
        raise ValueError(f"{source} is not expressed by ours: {lacking}")


def _timm(source):
    try:
        import timm
    except ModuleNotFoundError as error:
        if error.name != "timm":
            raise ValueError(f"{source} needs timm, which needs {error.name}: {error}") from error
        raise ValueError(f"{source} needs timm: pip install timm") from error
    except Exception as error:  # such as a torchvision that was built for another PyTorch
        raise ValueError(f"{source} needs timm, which fails: {_first_line(error)}") from error
    return timm


def _created(source, pretrained):
    timm = _timm(source)
    try:
        with _quiet():
            return timm.create_model(source.removeprefix(PREFIX), pretrained=pretrained)
    except Exception as error:  # the hub's client has many errors
        raise ValueError(
            f"timm does not give {source}: {_first_line(error)} (a file of its weights can be "
            "read in the place of the name)"
        ) from error


@contextlib.contextmanager
def _quiet():
    """Without the hub's lines about every try; the last error says it."""
    logger = logging.getLogger("huggingface_hub")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def _lacking(network):
    """Returns what a network of timm has that ours lack, or an empty string."""
    if type(network).__name__ != "ResNet":
        return f"it is a {type(network).__name__}, not a ResNet"
    for path, module in network.named_modules():
        kind = type(module).__name__
        if path.endswith(".aa") and kind != "Identity":
            return f"it has anti-aliasing ({kind} at {path}), which ours lack"
        if kind not in _SHARED:
            return f"it has {kind} (at {path}), which ours lack"
    return ""


def _first_line(error):
    return (str(error).strip() or type(error).__name__).splitlines()[0]
