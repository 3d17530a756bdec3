"""Architectures, attention modules, data sets and configs, with the size of each network."""

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from models import architecture, build_model, list_models
from models.attention_module import list_attention
from models.pretrained import list_weights

from ..data.data_format import shape_in_data_format
from ..data.datasets import DATASETS
from ..system.files import read_json, write_json
from .counting import multiply_adds, trainable_params, without_values
from .module_costs import catalog_table, module_cost_table

ROOT = Path(__file__).parent.parent.parent
SIZES = ROOT / "results" / "model_sizes.json"
COMPARISONS = ("configs/cbam-ablation/", "configs/results/")


def published_variants(
    names: Sequence[str] | None = None,
) -> Iterator[tuple[str, int, int, dict[str, Any]]]:
    """Yields the published variants that the architectures declare as `VARIANTS`.

    Args:
        names: list of architectures. Defaults to all.

    Yields:
        `(name, side, classes, options)`: the architecture, the height and width of its image, the
        number of classes, and a dictionary of the architecture's options.
    """
    for name in names or list_models():
        for (side, classes), options_of_variants in _variants_of(name).items():
            for options in options_of_variants:
                yield name, side, classes, options


def _variants_of(name):
    return sys.modules[architecture(name).__module__].VARIANTS


def measure_sizes(
    names: Sequence[str] | None = None, announce: Callable[[str], None] = print
) -> None:
    """Builds published variants, and writes their parameters and multiply-adds to `SIZES`.

    Args:
        names: list of architectures to measure; the rows of all others are kept. Defaults to all.
        announce: function that takes a line of text. Defaults to `print`.
    """
    measured = []
    for variant in published_variants(names):
        measured.append(size_of(*variant))
        announce(_line(measured[-1]))
    kept = [row for row in read_json(SIZES) if names and row["model"] not in names]
    # the sort is stable: the rows of an architecture stay in the order of its file
    write_json(SIZES, sorted(kept + measured, key=lambda row: row["model"]))


def size_of(name: str, side: int, classes: int, options: Mapping[str, Any]) -> dict[str, Any]:
    """Builds a variant and returns its row of `SIZES`, with its parameters and multiply-adds."""
    shape = shape_in_data_format((side, side, 3))
    with without_values():
        model = build_model(name, input_shape=shape, classes=classes, **options)
        return {
            "model": name,
            "options": options,
            "image": f"{side}x{side}",
            "classes": classes,
            "params": trainable_params(model),
            "multiply_adds": multiply_adds(model),
        }


def listing() -> str:
    """Returns all choices of the command line, and tables of modules and networks, as text."""
    groups = {
        "models": list_models(),
        "attention": [*list_attention(), "none"],
        "datasets": DATASETS,
        **_configs(),
    }
    lines = [f"{name + ':':<10} {', '.join(names)}" for name, names in groups.items()]
    rows = read_json(SIZES)
    head = ("--model, options", "image", "classes", "parameters", "multiply-adds")
    tables = [
        _weights(),
        catalog_table(),
        module_cost_table(),
        "\n".join([_columns(*head), *map(_line, rows)]),
    ]
    return "\n\n".join(["\n".join(lines), *tables])


def _weights():
    """The weights that are shipped, and what they reach."""
    width = max(map(len, list_weights()), default=0)
    rows = [f"{name:<{width}}{accuracy:>15.2%}" for name, accuracy in list_weights().items()]
    return "\n".join([f"{'trained weights':<{width}}{'test accuracy':>15}", *rows])


def _configs():
    """The configuration files, by the command that takes them and by their data set."""
    found: dict[str, list[str]] = {}
    for path in sorted((ROOT / "configs").rglob("*.json")):
        name = path.relative_to(ROOT).as_posix()
        command = "compare" if name.startswith(COMPARISONS) else "train"
        dataset = read_json(path).get("dataset", "any data set")
        found.setdefault(f"{command} --config, on {dataset}", []).append(name)
    return found


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
