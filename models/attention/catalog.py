"""What kind of module each name stands for: family, year, what it attends to, and its paper.

Nothing here needs Keras, so that the command line can list the modules at once.
"""

from typing import NamedTuple

ARXIV = "https://arxiv.org/abs/"
TIMM = "https://github.com/huggingface/pytorch-image-models"


class CatalogEntry(NamedTuple):
    """What a reader wants to know of a module before its options.

    Attributes:
        family: string, the folder of its layer: `"channel"`, `"spatial"`, `"combined"`,
            `"self_attention"` or `"branches"`.
        year: int, of its first publication.
        attends_to: string, what its weights tell apart.
        paper: string, an address.
    """

    family: str
    year: int
    attends_to: str
    paper: str


def _entry(family: str, year: int, attends_to: str, paper: str) -> CatalogEntry:
    address = paper if paper.startswith("http") else ARXIV + paper
    return CatalogEntry(family, year, attends_to, address)


CATALOG = {
    "bam_block": _entry("combined", 2018, "channels and positions in one gate", "1807.06514"),
    "botnet_block": _entry(
        "self_attention", 2021, "pairs of positions, and their distance", "2101.11605"
    ),
    "caa_block": _entry("spatial", 2024, "every value, from strips around it", "2403.06258"),
    "cbam_block": _entry("combined", 2018, "channels, then positions", "1807.06521"),
    "channel_attention": _entry("channel", 2018, "channels", "1807.06521"),
    "coordinate_block": _entry("spatial", 2021, "rows and columns of each channel", "2103.02907"),
    "cot_block": _entry(
        "self_attention", 2021, "neighbors, by weights from the surroundings", "2107.12292"
    ),
    "cpca_block": _entry("combined", 2023, "channels, then strips around each value", "2306.05196"),
    "criss_cross_block": _entry(
        "self_attention", 2018, "rows and columns, position by position", "1811.11721"
    ),
    "cse_block": _entry("combined", 2018, "channels", "1803.02579"),
    "danet_block": _entry(
        "self_attention", 2018, "pairs of positions, pairs of channels", "1809.02983"
    ),
    "double_attention_block": _entry("self_attention", 2018, "gathered features", "1810.11579"),
    "eca_block": _entry("channel", 2019, "channels, each with its neighbors", "1910.03151"),
    "ecam_block": _entry("channel", 2021, "channels, each with its neighbors", TIMM),
    "ela_block": _entry("spatial", 2024, "rows and columns of each channel", "2403.01123"),
    "ema_block": _entry("combined", 2023, "positions, per group of channels", "2305.13563"),
    "ese_block": _entry("channel", 2019, "channels", "1911.06667"),
    "external_block": _entry(
        "self_attention", 2021, "a memory that all images share", "2105.02358"
    ),
    "fca_block": _entry("channel", 2020, "channels, from frequencies of the map", "2012.11879"),
    "gam_block": _entry("combined", 2021, "every value, without pooling", "2112.05561"),
    "gated_transform_block": _entry("channel", 2019, "channels, by their norms", "1909.11519"),
    "gc_block": _entry("self_attention", 2019, "positions, then channels", "1904.11492"),
    "gct_block": _entry(
        "channel",
        2021,
        "channels, by a Gaussian of their averages",
        "https://openaccess.thecvf.com/content/CVPR2021/html/"
        "Ruan_Gaussian_Context_Transformer_CVPR_2021_paper.html",
    ),
    "ge_block": _entry("channel", 2018, "channels by region", "1810.12348"),
    "grn_block": _entry("channel", 2023, "channels, by their norms", "2301.00808"),
    "lcbam_block": _entry("combined", 2020, "channels, then positions", TIMM),
    "lct_block": _entry("channel", 2019, "channels", "1909.03834"),
    "lka_block": _entry("spatial", 2022, "a wide neighborhood of each value", "2202.09741"),
    "lska_block": _entry("spatial", 2023, "a wide neighborhood of each value", "2309.01439"),
    "mlca_block": _entry(
        "channel",
        2023,
        "channels, in windows and over the map",
        "https://doi.org/10.1016/j.engappai.2023.106442",
    ),
    "nam_block": _entry(
        "channel", 2021, "channels, by the scales of a normalization", "2111.12419"
    ),
    "non_local_block": _entry("self_attention", 2017, "pairs of positions", "1711.07971"),
    "parnet_block": _entry(
        "channel", 2021, "channels of the shortcut, beside convolutions", "2110.07641"
    ),
    "polarized_block": _entry("combined", 2021, "channels; positions", "2107.00782"),
    "scoord_block": _entry("spatial", 2025, "rows and columns in one gate", TIMM),
    "scse_block": _entry("combined", 2018, "channels; positions", "1803.02579"),
    "se_block": _entry("channel", 2017, "channels", "1709.01507"),
    "sge_block": _entry("spatial", 2019, "positions, per group of channels", "1905.09646"),
    "shuffle_block": _entry(
        "combined", 2021, "half of the channels; positions of the others", "2102.00240"
    ),
    "simam_block": _entry(
        "spatial", 2021, "every value", "https://proceedings.mlr.press/v139/yang21o.html"
    ),
    "sk_block": _entry("branches", 2019, "kernel sizes, per channel", "1903.06586"),
    "spatial_attention": _entry("spatial", 2018, "positions", "1807.06521"),
    "split_block": _entry("branches", 2020, "splits of a convolution, per channel", "2004.08955"),
    "srm_block": _entry("channel", 2019, "channels, from mean and deviation", "1903.10829"),
    "sse_block": _entry("combined", 2018, "positions", "1803.02579"),
    "strip_block": _entry("spatial", 2020, "rows and columns", "2003.13328"),
    "triplet_block": _entry("combined", 2020, "pairs of axes", "2010.03045"),
}
