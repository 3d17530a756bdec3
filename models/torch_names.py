"""The names that PyTorch's ResNets have for the weights of this zoo's: a table of schemes."""

import dataclasses
import re
from collections.abc import Iterable, Mapping

_BLOCK = r"stage(\d+)_block(\d+)"
_BAM = r"stage(\d+)_attention"

# the path of a weight here, without its last part -> the same place in a state dict; {0} is the
# stage, {1} the block, {2} the number of a convolution
_TORCHVISION = {
    r"stem_conv": "conv1",
    r"stem_norm": "bn1",
    r"stem_conv1": "conv1.0",
    r"stem_norm1": "conv1.1",
    r"stem_conv2": "conv1.3",
    r"stem_norm2": "conv1.4",
    r"stem_conv3": "conv1.6",
    r"stem_norm3": "bn1",
    rf"{_BLOCK}_conv(\d)": "layer{0}.{1}.conv{2}",
    rf"{_BLOCK}_norm(\d)": "layer{0}.{1}.bn{2}",
    rf"{_BLOCK}_shortcut_conv": "layer{0}.{1}.downsample.0",
    rf"{_BLOCK}_shortcut_norm": "layer{0}.{1}.downsample.1",
    rf"{_BLOCK}_pooled_conv": "layer{0}.{1}.downsample.1",
    rf"{_BLOCK}_pooled_norm": "layer{0}.{1}.downsample.2",
    r"logits": "fc",
    rf"{_BLOCK}_attention/channel/reduce": "layer{0}.{1}.cbam.ChannelGate.mlp.1",
    rf"{_BLOCK}_attention/channel/expand": "layer{0}.{1}.cbam.ChannelGate.mlp.3",
    rf"{_BLOCK}_attention/spatial/conv": "layer{0}.{1}.cbam.SpatialGate.spatial.conv",
    rf"{_BLOCK}_attention/spatial/norm": "layer{0}.{1}.cbam.SpatialGate.spatial.bn",
    rf"{_BLOCK}_attention/reduce": "layer{0}.{1}.se.fc.0",
    rf"{_BLOCK}_attention/expand": "layer{0}.{1}.se.fc.2",
    rf"{_BLOCK}_attention/conv": "layer{0}.{1}.eca.conv",
    # the names in EvgenyKashin's trained file
    rf"{_BLOCK}_attention/integrate": "layer{0}.{1}.se.cfc",
    rf"{_BLOCK}_attention/norm": "layer{0}.{1}.se.bn",
    rf"{_BAM}/channel_hidden0": "bam{0}.channel_att.gate_c.gate_c_fc_0",
    rf"{_BAM}/channel_norm0": "bam{0}.channel_att.gate_c.gate_c_bn_1",
    rf"{_BAM}/channel_out": "bam{0}.channel_att.gate_c.gate_c_fc_final",
    rf"{_BAM}/spatial_reduce": "bam{0}.spatial_att.gate_s.gate_s_conv_reduce0",
    rf"{_BAM}/spatial_reduce_norm": "bam{0}.spatial_att.gate_s.gate_s_bn_reduce0",
    rf"{_BAM}/spatial_dilated(\d)": "bam{0}.spatial_att.gate_s.gate_s_conv_di_{1}",
    rf"{_BAM}/spatial_dilated(\d)_norm": "bam{0}.spatial_att.gate_s.gate_s_bn_di_{1}",
    rf"{_BAM}/spatial_out": "bam{0}.spatial_att.gate_s.gate_s_conv_final",
}
_TIMM = {
    **_TORCHVISION,
    rf"{_BLOCK}_attention/reduce": "layer{0}.{1}.se.fc1",
    rf"{_BLOCK}_attention/expand": "layer{0}.{1}.se.fc2",
    rf"{_BLOCK}_attention/conv": "layer{0}.{1}.se.conv",
}
_EVGENYKASHIN = {
    **_TORCHVISION,
    rf"{_BLOCK}_attention/reduce": "layer{0}.{1}.layer_block.fc.0",
    rf"{_BLOCK}_attention/expand": "layer{0}.{1}.layer_block.fc.2",
    rf"{_BLOCK}_attention/integrate": "layer{0}.{1}.layer_block.cfc",
    rf"{_BLOCK}_attention/norm": "layer{0}.{1}.layer_block.bn",
}
_AKAMASTER = {
    **_TORCHVISION,
    rf"{_BLOCK}_shortcut_conv": "layer{0}.{1}.shortcut.0",
    rf"{_BLOCK}_shortcut_norm": "layer{0}.{1}.shortcut.1",
    r"logits": "linear",
}
_PYTORCHCV = {
    r"stem_conv": "features.init_block.conv",
    r"stem_norm": "features.init_block.bn",
    rf"{_BLOCK}_conv(\d)": "features.stage{0}.unit{1}.body.conv{2}.conv",
    rf"{_BLOCK}_norm(\d)": "features.stage{0}.unit{1}.body.conv{2}.bn",
    rf"{_BLOCK}_shortcut_conv": "features.stage{0}.unit{1}.identity_conv.conv",
    rf"{_BLOCK}_shortcut_norm": "features.stage{0}.unit{1}.identity_conv.bn",
    rf"{_BLOCK}_attention/reduce": "features.stage{0}.unit{1}.se.conv1",
    rf"{_BLOCK}_attention/expand": "features.stage{0}.unit{1}.se.conv2",
    rf"{_BLOCK}_attention/conv": "features.stage{0}.unit{1}.eca.conv",
    r"logits": "output",
}
_PYTORCHCV_IMAGENET = {
    **_PYTORCHCV,
    r"stem_conv": "features.init_block.conv.conv",
    r"stem_norm": "features.init_block.conv.bn",
}
_WEIGHTS = {
    "kernel": "weight",
    "bias": "bias",
    "gamma": "weight",
    "beta": "bias",
    "moving_mean": "running_mean",
    "moving_variance": "running_var",
}


@dataclasses.dataclass(frozen=True)
class Scheme:
    """How some PyTorch code names the weights of a ResNet.

    Args:
        owners: string, whose code it is.
        places: dictionary from patterns of paths here, without their last part, to names there.
        first_block: int, the number of the first block of a stage there. Defaults to 0.
        plain_shortcuts: bool, whether shortcuts may be without weights (option A of the paper).
            Defaults to `False`.
    """

    owners: str
    places: Mapping[str, str]
    first_block: int = 0
    plain_shortcuts: bool = False

    def name(self, path: str) -> str | None:
        """Returns the name of the weight at `path`, or `None` if there is none."""
        place, _, kind = path.rpartition("/")
        for pattern, name in self.places.items():
            match = re.fullmatch(pattern, place)
            if match and kind in _WEIGHTS:
                stage, *numbers = match.groups() or ("",)
                if "_block" in place:
                    numbers[0] = int(numbers[0]) - 1 + self.first_block
                return f"{name.format(stage, *numbers)}.{_WEIGHTS[kind]}"
        return None


SCHEMES = (
    Scheme("torchvision, the CBAM and BAM authors, chenyaofo, moskomule, ECA-Net", _TORCHVISION),
    Scheme("timm", _TIMM),
    Scheme("EvgenyKashin, in the newest code", _EVGENYKASHIN),
    Scheme("akamaster", _AKAMASTER, plain_shortcuts=True),
    Scheme("pytorchcv, for CIFAR", _PYTORCHCV, first_block=1),
    Scheme("pytorchcv, for ImageNet", _PYTORCHCV_IMAGENET, first_block=1),
)
# the parts of a module's names that are its own
_SE = r".*\.(?:se|layer_block)\.(?:fc\.\d|fc\d|conv\d)"
_ECA = r".*\.(?:eca|se)\.conv"
# a misfit -> the difference between the networks that it shows
DIFFERENCES = {
    r"left over .*post_activ\..*|missing .*\.downsample\.1\.weight": (
        "the file's network normalizes before its convolutions (pre-activation); resnet and "
        "resnet_v1 normalize after them"
    ),
    rf"missing {_SE}\.bias": (
        "the SE modules in the file have no biases: build the network with "
        "'se_block(use_bias=False)'"
    ),
    rf"left over {_SE}\.bias": (
        "the SE modules in the file have biases: build the network with 'se_block(use_bias=True)'"
    ),
    r"left over .*\.se\.fc\d\.weight": (
        "the file's network has timm's SE modules, as 'se_block(ratio=16, divisor=8)'"
    ),
    rf"left over {_SE}\.weight": "the file's network has SE modules, as 'se_block(ratio=16)'",
    r".*\.se\.fc\d\..* does not fit .*": (
        "the SE modules in the file have another ratio or divisor: timm's are "
        "'se_block(ratio=16, divisor=8)'"
    ),
    rf"{_SE}\..* does not fit .*": "the SE modules in the file have another ratio",
    r"left over .*\.se\.conv\.weight": "the file's network has timm's ECA modules, as 'eca_block'",
    rf"left over {_ECA}\.weight": (
        "the file's network has ECA modules, as 'eca_block(kernel_size=3)'"
    ),
    r".*\.se\.conv\..* does not fit .*": (
        "the ECA modules in the file have another kernel_size: timm's are 'eca_block'"
    ),
    rf"{_ECA}\..* does not fit .*": "the ECA modules in the file have another kernel_size",
    r"left over .*\.(?:se|layer_block)\.cfc\..*": (
        "the file's network has SRM modules, as 'srm_block'"
    ),
    r"left over .*\.se\.(?!bn\.).*": (
        "the file's network has attention modules other than SE and ECA, which cannot be read"
    ),
    r"left over .*\.cbam\..*": "the file's network has CBAM modules",
    r"left over bam\d\..*": "the file's network has BAM modules between its stages",
    r"left over conv1\.0\.weight": (
        "the file's network has three convolutions in its stem: build the network with "
        "stem='deep', or 'tiered' if the first has 24 channels"
    ),
    r"left over conv1\.weight": (
        "the file's network has one convolution in its stem: build the network with "
        "stem='imagenet' if it is of 7x7, or 'cifar'"
    ),
    r"conv1\.0\.weight of shape .* does not fit .*": (
        "the stem in the file has other channels: 'deep' has 32, 32 and 64, 'tiered' 24, 32 and 64"
    ),
    r"left over .*\.downsample\.2\.weight": (
        "the file's network pools in its shortcuts: build the network with shortcut='pool'"
    ),
    r"missing .*\.downsample\.2\.weight": (
        "the file's network does not pool in its shortcuts: build it with shortcut='conv'"
    ),
    r".*\.downsample\.\d\.weight of shape \(\d+, \d+, 3, 3\) .*": (
        "the file's network has convolutions of 3x3 in its shortcuts, which ours lack"
    ),
    r"left over maxpool\..*": (
        "the file's network has a convolution in the place of the stem's pooling, which ours lack"
    ),
    r"missing bn1\.running_mean": (
        "the file's network does not normalize by batch statistics, as ours do"
    ),
}


def torch_name(path: str, scheme: Scheme = SCHEMES[0]) -> str:
    """Returns the name that the weight at `path` of a ResNet has in a PyTorch state dict.

    Args:
        path: string, a Keras weight's path such as `"stage1_block1_conv1/kernel"`.
        scheme: a `Scheme`. Defaults to torchvision's, which also names what another does not have.

    Raises:
        ValueError: PyTorch's ResNets have no such layer.
    """
    name = scheme.name(path) or SCHEMES[0].name(path)
    if name is None:
        raise no_counterpart(path)
    return name


def no_counterpart(path: str) -> ValueError:
    """An error about a weight that no PyTorch ResNet has."""
    return ValueError(
        f"{path} has no counterpart in PyTorch's ResNets: only networks of "
        "build_model('resnet', ...), 'resnet_v1' and 'resnext' without attention, with "
        "cbam_block, se_block, eca_block or srm_block at 'block' or bam_block at 'stage' can take "
        "these weights"
    )


def scheme_of(names: Iterable[str], paths: Iterable[str]) -> Scheme:
    """Returns the scheme that gives a network's weights the most names of a state dict.

    Args:
        names: the names in the state dict.
        paths: the paths of the network's weights.
    """
    given, paths = set(names), list(paths)
    return max(SCHEMES, key=lambda scheme: len(given & {scheme.name(path) for path in paths}))


def differences(misfits: Iterable[str]) -> list[str]:
    """Returns what misfits tell about how the networks differ, each once."""
    misfits = list(misfits)
    telling = (  # a bias without its weight; where both do not fit, the bias says nothing more
        misfit
        for misfit in misfits
        if not misfit.endswith(".bias") or misfit[: -len("bias")] + "weight" not in misfits
    )
    found = (
        next((text for pattern, text in DIFFERENCES.items() if re.fullmatch(pattern, misfit)), None)
        for misfit in telling
    )
    return list(dict.fromkeys(text for text in found if text))
