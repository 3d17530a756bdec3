"""What attention adds to a training step and to an inference batch, timed in turn in one process.

    python -m benchmarks.overhead [--network resnet50] [--attention cbam_block] [--rounds 40]

Each module in this project's network, against the same module in a plain Keras network (as
CBAM-keras writes it). Prints the time of each and, as that depends on the machine, what a module
adds to this project's network as a share of what it adds to the plain one.
"""

import dataclasses

from benchmarks.command import one_line_errors, parse
from benchmarks.networks import NETWORKS, PLAIN, compared_network, least_times, steps_of
from utils.config.fields import Settings, setting
from utils.config.parsing import choice, integer, several
from utils.system.backend import choose_backend


@dataclasses.dataclass(frozen=True)
class BenchSettings(Settings):
    network: str = setting("resnet20", choice(*NETWORKS), "which network")
    attention: tuple[str, ...] = setting(
        ("se_block", "cbam_block"), several(choice(*PLAIN)), "modules, with commas"
    )
    rounds: int = setting(20, integer(1), "rounds in which every contestant runs once")
    backend: str = setting("tensorflow", choice("tensorflow", "jax", "torch"), "Keras backend")


@one_line_errors
def main():
    settings = parse(BenchSettings, "overhead", __doc__)
    choose_backend(settings.backend)
    batch = NETWORKS[settings.network].batch
    modules = dict.fromkeys(("none", *settings.attention))
    pairs = [(kind, module) for kind in ("plain", "ours") for module in modules]
    runs = {p: steps_of(compared_network(*p, settings.network), batch) for p in pairs}
    print(
        f"{settings.network}, batch {batch}, {settings.backend}; least of {settings.rounds} rounds"
    )
    for what, least in least_times(runs, settings.rounds):
        for kind, module in pairs:
            time = least[kind, module]
            print(f"{what:<16} {kind:<6} {module:<11} {1e3 * time:8.1f} ms", end="")
            print(f"   {time / least[kind, 'none']:.2f} x none", end="")
            if kind == "ours":
                print(f"   {least['plain', module] / time:.2f} x as fast as plain", end="")
                if module != "none":
                    added = [least[k, module] - least[k, "none"] for k in ("ours", "plain")]
                    print(f"   adds {added[0] / added[1]:.2f} of what plain adds", end="")
            print()


if __name__ == "__main__":
    main()
