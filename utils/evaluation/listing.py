"""What there is to choose from, and what each network costs."""

from pathlib import Path

from models import build_model, list_models
from models.attention_module import list_attention

from ..data.datasets import DATASETS
from ..system.files import read_json, write_json
from .counting import multiply_adds, trainable_params, without_values

ROOT = Path(__file__).parent.parent.parent
SIZES = ROOT / "results" / "model_sizes.json"
COMPARISONS = ("configs/cbam-ablation/", "configs/results/")

CIFAR = {"input_shape": (32, 32, 3), "classes": 10}
IMAGENET = {"input_shape": (224, 224, 3), "classes": 1000}
INCEPTION = {"input_shape": (299, 299, 3), "classes": 1000}

# the published variants: architecture, image and classes, its options
VARIANTS = [
    *(("resnet_v1", CIFAR, {"depth": depth}) for depth in (20, 32, 44, 56, 110, 164, 1001)),
    *(("resnet_v2", CIFAR, {"depth": depth}) for depth in (20, 56, 110, 164, 1001)),
    *(("resnet", CIFAR, {"depth": depth}) for depth in (18, 34, 50, 101, 152)),
    *(("resnet", IMAGENET, {"depth": d, "stem": "imagenet"}) for d in (18, 34, 50, 101, 152)),
    ("resnet", IMAGENET, {"depth": 18, "width": 1.5, "stem": "imagenet"}),
    ("resnet", IMAGENET, {"depth": 18, "width": 2.0, "stem": "imagenet"}),
    ("resnext", CIFAR, {"depth": 29}),
    ("resnext", CIFAR, {"depth": 29, "cardinality": 16}),
    *(("resnext", IMAGENET, {"depth": depth}) for depth in (50, 101)),
    *(("mobilenet", image, {}) for image in (CIFAR, IMAGENET)),
    ("mobilenet", IMAGENET, {"alpha": 0.7}),
    *(("densenet", CIFAR, {"depth": depth}) for depth in (40, 100)),
    ("densenet", CIFAR, {"depth": 100, "growth_rate": 24}),
    ("densenet", CIFAR, {"depth": 100, "bottleneck": True, "compression": 0.5}),
    *(("densenet", IMAGENET, {"depth": depth}) for depth in (121, 161, 169, 201, 264)),
    *(("inception_v3", image, {}) for image in (CIFAR, INCEPTION)),
    *(("inception_resnet_v2", image, {}) for image in (CIFAR, INCEPTION)),
]


def measure_sizes(announce=print):
    """Builds every published variant and writes its parameters and multiply-adds to `SIZES`.

    Args:
        announce: function that takes a line of text.
    """
    rows = []
    for name, image, options in VARIANTS:
        rows.append(size_of(name, image, options))
        announce(_line(rows[-1]))
    write_json(SIZES, rows)


def size_of(name, image, options):
    """Returns a row of `SIZES`: the variant with its parameters and multiply-adds."""
    height, width, _ = image["input_shape"]
    with without_values():
        model = build_model(name, **image, **options)
        return {
            "model": name,
            "options": options,
            "image": f"{height}x{width}",
            "classes": image["classes"],
            "params": trainable_params(model),
            "multiply_adds": multiply_adds(model),
        }


def listing():
    """Returns architectures, attention modules, data sets and configs, as text."""
    configs = sorted(str(p.relative_to(ROOT)) for p in (ROOT / "configs").rglob("*.json"))
    groups = {
        "models": list_models(),
        "attention": [*list_attention(), "none"],
        "datasets": DATASETS,
        "configs": [name for name in configs if not name.startswith(COMPARISONS)],
        # the paper's ablation tables, not its numbers: there it is ResNet50 on ImageNet
        "for compare, on CIFAR-10": [name for name in configs if name.startswith(COMPARISONS)],
    }
    lines = [f"{name + ':':<10} {', '.join(names)}" for name, names in groups.items()]
    rows = read_json(SIZES)
    head = ("--model, options", "image", "classes", "parameters", "multiply-adds")
    return "\n".join([*lines, "", _columns(*head), *map(_line, rows)])


def _line(row):
    flags = [
        f"--{name.replace('_', '-')}" + ("" if value is True else f" {value}")
        for name, value in row["options"].items()
    ]
    return _columns(
        " ".join([row["model"], *flags]),
        row["image"],
        row["classes"],
        f"{row['params'] / 1e6:.2f} M",
        f"{row['multiply_adds'] / 1e9:.3f} G",
    )


def _columns(network, image, classes, params, multiplications):
    return f"{network:<51}{image:>8}{classes:>9}{params:>12}{multiplications:>15}"
