"""Peak memory of a training step, with attention in its fast and in its plain form.

    python -m benchmarks.memory [--network resnet20] [--attention none,se_block,cbam_block]
        [--precision mixed_bfloat16]

A process for each network, on TensorFlow: the plain Keras network with attention as CBAM-keras
writes it, this project's with its layers' plain form, and as it trains. Prints what the process
took beyond what it held once the network was built: at most, during its first three steps, of which
compiling is a part, and of its own after them, which further steps use again; and how much of the
latter is each image's. On Linux, whose record of a process's peak is begun anew when the network is
built; where that is not allowed, importing and building count too, and a warning says so.
"""

import concurrent.futures
import contextlib
import dataclasses
import multiprocessing
import sys
from pathlib import Path

from benchmarks.command import one_line_errors, parse
from benchmarks.networks import NETWORKS, PLAIN, compared_network, steps_of
from utils.config.fields import Settings, setting
from utils.config.parsing import choice, several
from utils.system.backend import choose_backend

LARGER = 3  # times the batch
FORMS = {"plain Keras": "plain", "ours, plain form": "ours", "ours": "ours"}


@dataclasses.dataclass(frozen=True)
class BenchSettings(Settings):
    network: str = setting("resnet20", choice(*NETWORKS), "network to compare in")
    attention: tuple[str, ...] = setting(
        "none,se_block,cbam_block", several(choice(*PLAIN)), "modules, with commas"
    )
    precision: str = setting("float32", choice("float32", "mixed_bfloat16"), "of the computation")


def memory_of_steps(form, module, of, batch, precision):
    """Returns the bytes that three steps take at most, and that the process keeps.

    To be run in a process of its own.
    """
    choose_backend("tensorflow")
    import keras

    from models.attention_module import AttentionLayer
    from models.fast import disabled

    keras.config.set_dtype_policy(precision)
    plain = form == "ours, plain form"
    with disabled(AttentionLayer) if plain else contextlib.nullcontext():
        step, _ = steps_of(compared_network(FORMS[form], module, of), batch)
        forget_peak()
        before = process_memory()
        for _ in range(3):
            step()
        after = process_memory()
        return after["VmHWM"] - before["VmRSS"], after["RssAnon"] - before["RssAnon"]


def forget_peak():
    """Makes what the process holds now its peak; returns whether Linux allows that."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return False
    return True


def process_memory():
    """Bytes of the process: its peak, what it holds now, and that without files, such as code."""
    lines = Path("/proc/self/status").read_text().splitlines()
    sizes = dict(line.split(":", 1) for line in lines)
    return {key: 1024 * int(sizes[key].split()[0]) for key in ("VmHWM", "VmRSS", "RssAnon")}


@one_line_errors
def main():
    settings = parse(BenchSettings, "memory", __doc__)
    spawn, small = multiprocessing.get_context("spawn"), NETWORKS[settings.network].batch
    if not forget_peak():
        print("the peaks count importing and building too", file=sys.stderr)
    print(
        f"{settings.network}, {settings.precision}, MB beyond the built network: at most, and of "
        "its own afterwards"
    )
    print(f"{'':<32}{f'batch {small}':>20}{f'batch {LARGER * small}':>20}{'an image':>12}")
    for module in settings.attention:
        for form in FORMS:
            held = []
            print(f"  {module:<12}{form:<18}", end="")
            for batch in (small, LARGER * small):
                with concurrent.futures.ProcessPoolExecutor(1, spawn) as pool:
                    job = pool.submit(
                        memory_of_steps, form, module, settings.network, batch, settings.precision
                    )
                    peak, after = job.result()
                print(f"{peak / 1e6:12.0f}{after / 1e6:8.0f}", end="", flush=True)
                held.append(after)
            image = (held[1] - held[0]) / ((LARGER - 1) * small)
            print(f"{image / 1e6:12.2f}")


if __name__ == "__main__":
    main()
