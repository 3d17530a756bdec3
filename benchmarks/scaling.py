"""Time to build, to trace and compile, to step, and memory, by depth and by batch.

    python -m benchmarks.scaling [--model resnet_v1] [--depth 20,56,110] [--batch 16,32,64]
        [--attention cbam_block] [--backend tensorflow]

A process for each network, 32x32 images. Prints a line each, and what a layer and an image cost:
the slope of a line through the figures, and how far they are from it.
"""

import concurrent.futures
import dataclasses
import multiprocessing
import resource
import time

import numpy as np

from benchmarks.command import one_line_errors, parse
from benchmarks.networks import network, steps_of
from utils.config.fields import Settings, setting
from utils.config.parsing import choice, integer, several, specification

FIGURES = ("build s", "first step s", "step s", "peak GB")


@dataclasses.dataclass(frozen=True)
class BenchSettings(Settings):
    model: str = setting("resnet_v1", choice("resnet_v1", "resnet_v2"), "architecture")
    depth: tuple[int, ...] = setting("20,56,110", several(integer(1)), "depths, with commas")
    batch: tuple[int, ...] = setting("16,32,64", several(integer(1)), "batches, with commas")
    attention: str = setting("cbam_block", specification, "attention module, or none")
    backend: str = setting("tensorflow", choice("tensorflow", "jax", "torch"), "Keras backend")


def measure(model_name, depth, batch, attention, backend):
    """Returns the `FIGURES` of one network; to be run in a process of its own."""
    from utils.system.backend import choose_backend

    choose_backend(backend)
    started = time.perf_counter()
    model = network(model_name, attention, depth=depth, input_shape=(32, 32, 3))
    step, _ = steps_of(model, batch)
    model.optimizer.build(model.trainable_variables)
    times = [time.perf_counter() - started]
    for _ in range(4):
        started = time.perf_counter()
        step()
        times.append(time.perf_counter() - started)
    build, first, *steps = times
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return build, first, min(steps), peak


def fit_line(of, sizes, rows):
    """Prints the slope of every figure by size, and the largest distance from the line."""
    for name, values in zip(FIGURES, zip(*rows, strict=True), strict=True):
        slope, start = np.polyfit(sizes, values, 1)
        off = np.abs(np.polyval((slope, start), sizes) / values - 1).max()
        print(f"  {name:<13}{start:8.2f} + {slope:.4f} per {of}   at most {off:.0%} off the line")


@one_line_errors
def main():
    settings = parse(BenchSettings, "scaling", __doc__)
    print(f"{settings.model}, {settings.attention}, {settings.backend}")
    print("depth  batch" + "".join(f"{name:>14}" for name in FIGURES))
    series = [("layer", [(depth, settings.batch[0]) for depth in settings.depth])]
    series.append(("image", [(settings.depth[0], batch) for batch in settings.batch]))
    spawn = multiprocessing.get_context("spawn")
    for of, sizes in series:
        rows = []
        for depth, batch in sizes:
            with concurrent.futures.ProcessPoolExecutor(1, spawn) as pool:
                arguments = (settings.model, depth, batch, settings.attention, settings.backend)
                rows.append(pool.submit(measure, *arguments).result())
            print(f"{depth:5}  {batch:5}" + "".join(f"{figure:14.2f}" for figure in rows[-1]))
        if len(sizes) > 2:
            fit_line(of, [size[0 if of == "layer" else 1] for size in sizes], rows)


if __name__ == "__main__":
    main()
