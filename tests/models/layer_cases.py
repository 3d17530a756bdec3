"""Options of the layers of SE and CBAM, and how many parameters they make."""

from models.attention_module import CBAM, CBAM_OFFICIAL, SE, ChannelAttention, SpatialAttention


def mlp(ratio, bias=True):
    def params(channels):
        hidden = max(1, channels // ratio)
        return 2 * channels * hidden + (hidden + channels) * bias

    return params


def plus(extra, params=lambda channels: 0):
    return lambda channels: extra + params(channels)


CASES = [
    (SE, {"ratio": 4}, mlp(4)),
    (SE, {"ratio": 4, "use_bias": False}, mlp(4, bias=False)),
    (ChannelAttention, {"ratio": 4}, mlp(4)),
    (ChannelAttention, {"ratio": 4, "pools": ("max",)}, mlp(4)),
    (ChannelAttention, {"ratio": 4, "pools": ("avg", "max", "lp", "lse")}, mlp(4)),
    (SpatialAttention, {}, plus(98)),
    (SpatialAttention, {"kernel_size": 3, "descriptor": ("max",)}, plus(9)),
    (SpatialAttention, {"kernel_size": 5, "descriptor": ("lp", "lse")}, plus(50)),
    (SpatialAttention, {"descriptor": "conv"}, lambda channels: channels + 49),
    (SpatialAttention, {"descriptor": ("max", "avg"), "batch_norm": True}, plus(100)),
    (CBAM, {"ratio": 4}, plus(98, mlp(4))),
    (CBAM, {**CBAM_OFFICIAL, "ratio": 4}, plus(100, mlp(4))),
    (CBAM, {"ratio": 4, "kernel_size": 3, "order": "spatial_first"}, plus(18, mlp(4))),
    (CBAM, {"ratio": 4, "order": "parallel", "use_bias": False}, plus(98, mlp(4, bias=False))),
    (SE, {"ratio": 4, "divisor": 8}, lambda channels: 2 * channels * 8 + 8 + channels),
]
