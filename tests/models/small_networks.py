"""The smallest networks of every kind, and where attention goes in them."""

from models import build_model

SMALL = {  # the smallest of every kind
    "resnet_v1": {"depth": 8},
    "resnet_v1 bottleneck": {"depth": 11},
    "resnet_v2": {"depth": 11},
    "resnet": {"depth": 18, "width": 0.125},
    "resnet bottleneck": {"depth": 50, "width": 0.125},
    "resnet imagenet": {"depth": 18, "width": 0.125, "stem": "imagenet"},
    "resnext": {"depth": 29, "cardinality": 2, "width": 4},
    "mobilenet": {"alpha": 0.125, "stem": "cifar"},
    "mobilenet imagenet": {"alpha": 0.125, "stem": "imagenet"},
    "densenet": {"depth": 13},
    "densenet bottleneck": {"depth": 16, "bottleneck": True, "compression": 0.5},
    "densenet imagenet": {"depth": 16, "bottleneck": True, "stem": "imagenet"},
    "inception_v3": {"stem": "cifar", "width": 0.125},
    "inception_resnet_v2": {"stem": "cifar", "width": 0.125},
}
# variant -> channels wherever attention in blocks goes
CHANNELS = {
    "resnet_v1": [16, 32, 64],
    "resnet_v1 bottleneck": [64, 128, 256],
    "resnet_v2": [64, 128, 256],
    "resnet": [8, 8, 16, 16, 32, 32, 64, 64],
    "resnet bottleneck": [32] * 3 + [64] * 4 + [128] * 6 + [256] * 3,
    "resnet imagenet": [8, 8, 16, 16, 32, 32, 64, 64],
    "resnext": [256] * 3 + [512] * 3 + [1024] * 3,
    "mobilenet": [8] + [16] * 2 + [32] * 2 + [64] * 6 + [128] * 2,
    "mobilenet imagenet": [8] + [16] * 2 + [32] * 2 + [64] * 6 + [128] * 2,
    "densenet": [52, 52, 88, 88, 124],
    "densenet bottleneck": [48, 24, 48, 24, 48],
    "densenet imagenet": [40, 40, 64, 64, 88],
    "inception_v3": [32, 36, 36] + [96] * 5 + [160, 256, 256],
    "inception_resnet_v2": [40] * 10 + [136] * 20 + [260] * 10,
}
# variant -> channels of the maps it gives out, and between stages, where the stages are not told
# by their channels
STAGES = {
    "densenet bottleneck": ([48, 48, 48], [24, 24]),
    "inception_v3": ([36, 96, 256], [36, 96]),
}
# variant -> channels of the last map, where more than a stage precedes it
LAST = {"inception_resnet_v2": 192}
# family -> names of the first place in a stage and of the place after it, and whether attention in
# blocks goes there too
PLACES = {
    "densenet": ("stage{}_block", "stage{}_transition", True),
}


def build(variant, **options):
    usual = {"classes": 4, "input_shape": (32, 32, 3)}
    return build_model(variant.split()[0], **{**usual, **SMALL[variant], **options})


def stages_of(variant):
    widths = sorted(set(CHANNELS[variant]))
    return STAGES.get(variant, (widths, widths[:-1]))


def last_of(variant):
    return LAST.get(variant, CHANNELS[variant][-1])


def places_of(variant):
    return PLACES.get(variant.split()[0], ("stage{}_block1", "stage{}", False))
