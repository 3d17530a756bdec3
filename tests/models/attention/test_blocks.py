"""Every block is a call of its layer, with the options that the block is given."""

from operator import attrgetter

import keras
import pytest

from models import attention_module
from models.attention.catalog import CATALOG
from models.attention.registry import _LAYERS, _REGISTRY
from models.private_api import operation_of

pytestmark = pytest.mark.once

# block -> (its layer, options in the order in which the block takes them, options by name); none is
# a default, and the layer has an attribute of that name and value but where `KEPT` says otherwise
CALLS = {
    "bam_block": ("BAM", {"ratio": 4, "dilation": 2}, {"combine": "sum"}),
    "botnet_block": ("BoTNet", {"heads": 2}, {}),
    "caa_block": ("CAA", {"kernel_size": 5}, {}),
    "cbam_block": ("CBAM", {"ratio": 4, "kernel_size": 3}, {"order": "parallel"}),
    "channel_attention": ("ChannelAttention", {"ratio": 4}, {"pools": ("max",)}),
    "coordinate_block": ("CoordinateAttention", {"ratio": 4}, {}),
    "cot_block": ("CoT", {"kernel_size": 5}, {}),
    "cpca_block": ("CPCA", {"ratio": 8}, {}),
    "criss_cross_block": ("CrissCross", {"recurrence": 3}, {"ratio": 4}),
    "cse_block": ("CSE", {"ratio": 4}, {"use_bias": False}),
    "danet_block": ("DANet", {"parts": "channel"}, {"ratio": 4}),
    "double_attention_block": ("DoubleAttention", {"c_m": 4, "c_n": 6}, {"residual": False}),
    "eca_block": ("ECA", {"kernel_size": 5}, {"gamma": 3}),
    "ecam_block": ("ECAM", {"kernel_size": 5}, {"ratio": 4}),
    "ela_block": ("ELA", {"kernel_size": 5}, {"group_width": 8}),
    "ema_block": ("EMA", {"groups": 4}, {}),
    "ese_block": ("ESE", {}, {}),
    "external_block": ("ExternalAttention", {"memory": 8}, {}),
    "fca_block": ("FCA", {"frequencies": 4, "ratio": 2}, {}),
    "gam_block": ("GAM", {"ratio": 8, "kernel_size": 3}, {}),
    "gated_transform_block": ("GatedChannelTransform", {"norm": "l1"}, {"epsilon": 0.1}),
    "gc_block": ("GlobalContext", {"ratio": 8}, {"fusion": "mul"}),
    "gct_block": ("GCT", {"c": 3.0}, {"learnable": True}),
    "ge_block": ("GE", {"extent": 2, "extra_params": True}, {"use_mlp": True}),
    "grn_block": ("GRN", {"epsilon": 0.1}, {}),
    "lcbam_block": ("LightCBAM", {"ratio": 8, "kernel_size": 3}, {}),
    "lct_block": ("LCT", {"groups": 4}, {}),
    "lka_block": ("LKA", {"kernel_size": 10, "dilation": 2}, {}),
    "lska_block": ("LSKA", {"kernel_size": 10, "dilation": 2}, {}),
    "mlca_block": ("MLCA", {"grid": 3}, {"local_weight": 1}),
    "nam_block": ("NAM", {}, {}),
    "non_local_block": ("NonLocal", {"mode": "dot_product"}, {"subsample": False}),
    "parnet_block": ("ParNetAttention", {}, {}),
    "polarized_block": ("PolarizedAttention", {"order": "sequential"}, {}),
    "scoord_block": ("SimpleCoordinateAttention", {"ratio": 2}, {}),
    "scse_block": ("SCSE", {"ratio": 4, "combine": "add"}, {"use_bias": False}),
    "se_block": ("SE", {"ratio": 4}, {"use_bias": False}),
    "sge_block": ("SGE", {"groups": 4}, {}),
    "shuffle_block": ("ShuffleAttention", {"groups": 4}, {}),
    "simam_block": ("SimAM", {"e_lambda": 0.1}, {}),
    "sk_block": ("SK", {"branches": 3}, {"ratio": 4}),
    "spatial_attention": ("SpatialAttention", {"kernel_size": 3}, {"descriptor": ("max",)}),
    "split_block": ("SplitAttention", {"radix": 4}, {"ratio": 2}),
    "srm_block": ("SRM", {}, {}),
    "sse_block": ("SSE", {}, {"use_bias": False}),
    "strip_block": ("StripPooling", {}, {}),
    "triplet_block": ("TripletAttention", {"kernel_size": 3}, {"no_spatial": True}),
}
# all attributes of a layer that keeps an option in another form or in a part
KEPT = {
    "botnet_block": {"heads": 2, "used_size": (8, 8)},
    "cbam_block": {"channel.ratio": 4, "spatial.kernel_size": 3, "order": "parallel"},
    "cpca_block": {"channel.ratio": 8},
    "danet_block": {"parts": ("channel",), "ratio": 4},
    "gc_block": {"ratio": 8, "fusion": ("mul",)},
    "scse_block": {"channel.ratio": 4, "combine": "add", "spatial.use_bias": False},
}


@pytest.mark.parametrize("name", CATALOG)
def test_block_is_a_call_of_its_layer(name):
    class_name, by_position, by_name = CALLS[name]
    layer_class, options = getattr(attention_module, class_name), {**by_position, **by_name}
    image = keras.Input((8, 8, 16))
    layer = operation_of(_REGISTRY[name](image, *by_position.values(), name="here", **by_name))
    assert (type(layer), layer.name) == (layer_class, "here")
    assert layer.get_config() == layer_class(**options, name="here").get_config()
    for attribute, value in KEPT.get(name, options).items():
        assert attrgetter(attribute)(layer) == value
    usual = layer_class().get_config()
    assert all(usual[option] != value for option, value in options.items())


@pytest.mark.parametrize("name", CATALOG)
def test_block_has_the_defaults_of_its_layer(name):
    layer = operation_of(_REGISTRY[name](keras.Input((8, 8, 16)), name="here"))
    assert layer.get_config() == _LAYERS[name](name="here").get_config()
