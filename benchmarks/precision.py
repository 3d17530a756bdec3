"""A training step and an inference batch in float32 and in bfloat16, timed in turn in one process.

    python -m benchmarks.precision [--network resnet20] [--attention none,se_block,cbam_block]

This project's network in both precisions, and a plain Keras network in both if there is one. Prints
the time of each, and how many times as fast as this project's float32 it is.
"""

import dataclasses

from benchmarks.command import one_line_errors, parse
from benchmarks.networks import (
    NETWORKS,
    OTHERS,
    PLAIN,
    compared_network,
    least_times,
    own_network,
    steps_of,
)
from utils.config.fields import Settings, setting
from utils.config.parsing import boolean, choice, integer, several
from utils.system.backend import choose_backend

PRECISIONS = ("float32", "mixed_bfloat16")


@dataclasses.dataclass(frozen=True)
class BenchSettings(Settings):
    network: str = setting("resnet20", choice(*NETWORKS, *OTHERS), "which network")
    attention: tuple[str, ...] = setting(
        "none,se_block,cbam_block", several(choice(*PLAIN)), "modules, with commas"
    )
    plain: bool = setting(True, boolean, "time the plain Keras network too, if there is one")
    rounds: int = setting(20, integer(1), "rounds in which every contestant runs once")
    backend: str = setting("tensorflow", choice("tensorflow", "jax", "torch"), "Keras backend")


def contestants(settings, module):
    """Returns the functions to time by whose network it is and its precision, and the batch."""
    import keras

    kinds = ("ours", "plain") if settings.plain and settings.network in NETWORKS else ("ours",)
    runs = {}
    for kind in kinds:
        for precision in PRECISIONS:
            keras.config.set_dtype_policy(precision)
            model, batch = own_network(settings.network, module)
            if kind == "plain":
                model = compared_network(kind, module, settings.network)
            runs[kind, precision] = steps_of(model, batch)
    return runs, batch


@one_line_errors
def main():
    settings = parse(BenchSettings, "precision", __doc__)
    choose_backend(settings.backend)
    for module in settings.attention:
        runs, batch = contestants(settings, module)
        print(
            f"{settings.network}, {module}, batch {batch}, {settings.backend}; least of "
            f"{settings.rounds} rounds"
        )
        for what, least in least_times(runs, settings.rounds):
            for (kind, precision), time in least.items():
                ratio = least["ours", "float32"] / time
                print(
                    f"  {what:<16} {kind:<6} {precision:<15} {1e3 * time:8.1f} ms   {ratio:.2f} x",
                    flush=True,
                )


if __name__ == "__main__":
    main()
