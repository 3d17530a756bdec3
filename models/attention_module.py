"""Attention for Keras: layers, blocks, and modules by name. Import from here.

- Blocks, `y = cbam_block(x, ratio=8)`: a Keras tensor in, a Keras tensor out.
- Layers, `y = CBAM(ratio=8)(x)`: the same for `Sequential`, subclassed models, and everywhere else.
- By name, `y = attach_attention_module(x, "cbam_block", ratio=16)`.
- Your own, `@register_attention("my_block")`, then usable by name in every architecture.
"""

from .attention.base import AttentionLayer
from .attention.cbam import CBAM, CBAM_OFFICIAL, cbam_block
from .attention.channel import SE, ChannelAttention, channel_attention, se_block
from .attention.registry import (
    attach_attention_module,
    get_attention,
    list_attention,
    register_attention,
)
from .attention.spatial import SpatialAttention, spatial_attention

__all__ = [
    "CBAM",
    "CBAM_OFFICIAL",
    "SE",
    "AttentionLayer",
    "ChannelAttention",
    "SpatialAttention",
    "attach_attention_module",
    "cbam_block",
    "channel_attention",
    "get_attention",
    "list_attention",
    "register_attention",
    "se_block",
    "spatial_attention",
]
