"""What each attention module costs by itself, on maps of three sizes."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import keras
import numpy as np

from models.attention.catalog import CATALOG
from models.attention_module import attach_attention_module, get_attention, list_attention
from models.fast import install

from ..system.backend import jit_compile
from ..system.files import read_json, write_json
from ..system.timing import ratios, time_in_turn
from .counting import multiply_adds, trainable_params

COSTS = Path(__file__).parent.parent.parent / "results" / "module_costs.json"
SIZES = ((32, 32, 64), (16, 16, 128), (8, 8, 256))  # height, width, channels
REFERENCE = "3x3 convolution"  # of as many filters as channels, which every time is compared with
BATCH_SIZE = 32


def measure_module_costs(
    names: Sequence[str] = (), rounds: int = 10, announce: Callable[[str], None] = print
) -> None:
    """Counts and times modules by themselves, and writes the results to `COSTS`.

    A time is that of predicting a batch, as a multiple of that of a 3x3 convolution of the same
    map, both timed in turn in this process.

    Args:
        names: modules to measure; `COSTS` keeps what it has of the others. Defaults to all.
        rounds: int, how often each is timed. Defaults to 10.
        announce: function that takes a line of text. Defaults to `print`.

    Raises:
        ValueError: a name is unknown.
    """
    for name in names:
        get_attention(name)
    measured: dict[str, list[dict[str, Any]]] = {name: [] for name in names or list_attention()}
    for shape in SIZES:
        models = {REFERENCE: _convolution(shape), **{n: _module(n, shape) for n in measured}}
        images = np.random.default_rng(0).normal(size=(BATCH_SIZE, *shape)).astype("float32")
        runs = {name: partial(model.predict_on_batch, images) for name, model in models.items()}
        times = ratios(time_in_turn(runs, rounds), REFERENCE)
        for name, rows in measured.items():
            rows.append(
                {
                    "map": "x".join(map(str, shape)),
                    "params": trainable_params(models[name]),
                    "multiply_adds": multiply_adds(models[name]),
                    "time": round(times[name], 3),
                }
            )
        announce(f"{'x'.join(map(str, shape))}: {len(measured)} modules")
    others = read_json(COSTS) if names else {}
    write_json(COSTS, dict(sorted({**others, **measured}.items())))


def _convolution(shape):
    x = keras.Input(shape)
    return _compiled(keras.Model(x, keras.layers.Conv2D(shape[-1], 3, padding="same")(x)))


def _module(name, shape):
    x = keras.Input(shape)
    return _compiled(install(keras.Model(x, attach_attention_module(x, name))))


def _compiled(model):
    model.compile(jit_compile=jit_compile())
    return model


def catalog_table() -> str:
    """Returns what every module attends to, a line each, as text."""
    lines = [f"{'attention module':<24}{'family':<16}{'year':<6}attends to"]
    for name in in_order():
        entry = CATALOG[name]
        lines.append(f"{name:<24}{entry.family:<16}{entry.year:<6}{entry.attends_to}")
    return "\n".join(lines)


def module_cost_table() -> str:
    """Returns the costs that `measure_module_costs` has measured, a line each, as text."""
    costs = read_json(COSTS)
    sizes = ["x".join(map(str, shape)) for shape in SIZES]
    lines = [
        f"{'':<24}" + "".join(f"{size:>27}" for size in sizes),
        f"{'attention module':<24}" + f"{'parameters':>11}{'M adds':>9}{'time':>7}" * len(sizes),
    ]
    for name in in_order():
        cells = (
            f"{row['params']:>11,}{row['multiply_adds'] / 1e6:>9.2f}{row['time']:>7.2f}"
            for row in costs[name]
        )
        lines.append(f"{name:<24}{''.join(cells)}")
    note = (
        "M adds: multiply-adds of one map, in millions; time: of predicting "
        f"{BATCH_SIZE} maps on a CPU, as a multiple of a {REFERENCE}'s"
    )
    return "\n".join([*lines, note])


def in_order() -> list[str]:
    """Returns the names of all modules by family, then by year."""
    return sorted(CATALOG, key=lambda name: (CATALOG[name].family, CATALOG[name].year, name))
