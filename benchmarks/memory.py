"""Peak memory of a training step, with attention in its fast and in its plain form.

    python -m benchmarks.memory [--network resnet20] [--attention none,se_block,cbam_block]

A process for each network, on TensorFlow: the plain Keras network with attention as CBAM-keras
writes it, this project's with its layers' plain form, and as it trains. Prints what the process
held at most during its first three steps, beyond what it held once the network was built, and how
much of it is each image's: the rest, of compiling above all, is the same for any batch.
"""

import concurrent.futures
import dataclasses
import multiprocessing
import resource

from benchmarks.networks import NETWORKS, PLAIN, compared_network, steps_of
from utils.backend import choose_backend
from utils.command_line import parse_settings
from utils.parsing import choice, several
from utils.settings import Settings, setting

LARGER = 3  # times the batch
FORMS = {"plain Keras": "plain", "ours, plain form": "ours", "ours": "ours"}


@dataclasses.dataclass(frozen=True)
class BenchSettings(Settings):
    network: str = setting("resnet20", choice(*NETWORKS), "network to compare in")
    attention: tuple[str, ...] = setting(
        "none,se_block,cbam_block", several(choice(*PLAIN)), "modules, with commas"
    )


def peak_of_steps(form, module, of, batch):
    """Returns the bytes that three steps take; to be run in a process of its own."""
    choose_backend("tensorflow")
    if form == "ours, plain form":
        from models import fast

        fast.LEAST_VALUES = float("inf")
    step, _ = steps_of(compared_network(FORMS[form], module, of), batch)
    before = _peak()
    for _ in range(3):
        step()
    return _peak() - before


def _peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def main():
    settings = parse_settings(BenchSettings, None, "benchmarks.memory", __doc__.split("\n")[0])
    spawn, small = multiprocessing.get_context("spawn"), NETWORKS[settings.network][2]
    print(f"{settings.network}, MB beyond the built network")
    print(f"{'':<32}{f'batch {small}':>12}{f'batch {LARGER * small}':>12}{'an image':>12}")
    for module in settings.attention:
        for form in FORMS:
            peaks = []
            for batch in (small, LARGER * small):
                with concurrent.futures.ProcessPoolExecutor(1, spawn) as pool:
                    job = pool.submit(peak_of_steps, form, module, settings.network, batch)
                    peaks.append(job.result() / 1e6)
            image = (peaks[1] - peaks[0]) / ((LARGER - 1) * small)
            print(
                f"  {module:<12}{form:<18}{peaks[0]:12.0f}{peaks[1]:12.0f}{image:12.2f}", flush=True
            )


if __name__ == "__main__":
    main()
