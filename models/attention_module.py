"""Attention for Keras: layers, blocks, and modules by name. Import from here.

- Blocks, `y = cbam_block(x, ratio=8)`: a Keras tensor in, a Keras tensor out.
- Layers, `y = CBAM(ratio=8)(x)`: the same for `Sequential`, subclassed models, and everywhere else.
- By name, `y = attach_attention_module(x, "cbam_block", ratio=16)`.
- Your own, `@register_attention("my_block")`, then usable by name in every architecture.
"""

from . import fast
from .attention.base import AttentionLayer
from .attention.branches.selective_kernel import SK, sk_block
from .attention.branches.split import SplitAttention, split_block
from .attention.channel.context_transform import GCT, LCT, gct_block, lct_block
from .attention.channel.eca import ECA, ECAM, eca_block, ecam_block
from .attention.channel.effective_se import ESE, ese_block
from .attention.channel.frequency import FCA, fca_block
from .attention.channel.gated_transform import GatedChannelTransform, gated_transform_block
from .attention.channel.gather_excite import GE, ge_block
from .attention.channel.mixed_local import MLCA, mlca_block
from .attention.channel.normalization import NAM, nam_block
from .attention.channel.response_normalization import GRN, grn_block
from .attention.channel.skip_excitation import ParNetAttention, parnet_block
from .attention.channel.squeeze_excitation import SE, ChannelAttention, channel_attention, se_block
from .attention.channel.srm import SRM, srm_block
from .attention.combined.bam import BAM, bam_block
from .attention.combined.cbam import CBAM, CBAM_OFFICIAL, cbam_block
from .attention.combined.channel_prior import CPCA, cpca_block
from .attention.combined.ema import EMA, ema_block
from .attention.combined.global_attention import GAM, gam_block
from .attention.combined.light_cbam import LightCBAM, lcbam_block
from .attention.combined.polarized import PolarizedAttention, polarized_block
from .attention.combined.scse import CSE, SCSE, SSE, cse_block, scse_block, sse_block
from .attention.combined.shuffle import ShuffleAttention, shuffle_block
from .attention.combined.triplet import TripletAttention, triplet_block
from .attention.hooks import listen
from .attention.identity import IdentityStart
from .attention.registry import (
    attach_attention_module,
    attention_options,
    check_attention,
    get_attention,
    list_attention,
    register_attention,
)
from .attention.self_attention.bottleneck_transformer import BoTNet, botnet_block
from .attention.self_attention.contextual import CoT, cot_block
from .attention.self_attention.criss_cross import CrissCross, criss_cross_block
from .attention.self_attention.double_attention import DoubleAttention, double_attention_block
from .attention.self_attention.dual_attention import DANet, danet_block
from .attention.self_attention.external import ExternalAttention, external_block
from .attention.self_attention.global_context import GlobalContext, gc_block
from .attention.self_attention.non_local import NonLocal, non_local_block
from .attention.spatial.context_anchor import CAA, caa_block
from .attention.spatial.coordinate import CoordinateAttention, coordinate_block
from .attention.spatial.group_enhance import SGE, sge_block
from .attention.spatial.large_kernel import LKA, LSKA, lka_block, lska_block
from .attention.spatial.local_attention import ELA, ela_block
from .attention.spatial.simam import SimAM, simam_block
from .attention.spatial.simple_coordinate import SimpleCoordinateAttention, scoord_block
from .attention.spatial.spatial import SpatialAttention, spatial_attention
from .attention.spatial.strip_pooling import StripPooling, strip_block
from .attention.specification import AttentionSpec

listen(fast.install)  # attention layers have their fast forms from when they are made

__all__ = [
    "BAM",
    "CAA",
    "CBAM",
    "CBAM_OFFICIAL",
    "CPCA",
    "CSE",
    "ECA",
    "ECAM",
    "ELA",
    "EMA",
    "ESE",
    "FCA",
    "GAM",
    "GCT",
    "GE",
    "GRN",
    "LCT",
    "LKA",
    "LSKA",
    "MLCA",
    "NAM",
    "SCSE",
    "SE",
    "SGE",
    "SK",
    "SRM",
    "SSE",
    "AttentionLayer",
    "AttentionSpec",
    "BoTNet",
    "ChannelAttention",
    "CoT",
    "CoordinateAttention",
    "CrissCross",
    "DANet",
    "DoubleAttention",
    "ExternalAttention",
    "GatedChannelTransform",
    "GlobalContext",
    "IdentityStart",
    "LightCBAM",
    "NonLocal",
    "ParNetAttention",
    "PolarizedAttention",
    "ShuffleAttention",
    "SimAM",
    "SimpleCoordinateAttention",
    "SpatialAttention",
    "SplitAttention",
    "StripPooling",
    "TripletAttention",
    "attach_attention_module",
    "attention_options",
    "bam_block",
    "botnet_block",
    "caa_block",
    "cbam_block",
    "channel_attention",
    "check_attention",
    "coordinate_block",
    "cot_block",
    "cpca_block",
    "criss_cross_block",
    "cse_block",
    "danet_block",
    "double_attention_block",
    "eca_block",
    "ecam_block",
    "ela_block",
    "ema_block",
    "ese_block",
    "external_block",
    "fca_block",
    "gam_block",
    "gated_transform_block",
    "gc_block",
    "gct_block",
    "ge_block",
    "get_attention",
    "grn_block",
    "lcbam_block",
    "lct_block",
    "list_attention",
    "lka_block",
    "lska_block",
    "mlca_block",
    "nam_block",
    "non_local_block",
    "parnet_block",
    "polarized_block",
    "register_attention",
    "scoord_block",
    "scse_block",
    "se_block",
    "sge_block",
    "shuffle_block",
    "simam_block",
    "sk_block",
    "spatial_attention",
    "split_block",
    "srm_block",
    "sse_block",
    "strip_block",
    "triplet_block",
]
