"""How much of the step rate a whole epoch of `main.py` keeps, and how much memory it takes.

    python -m benchmarks.end_to_end DIR [--attention cbam_block] [--epochs 3]

ResNet20 on CIFAR-10. The step rate is that of the same network on one batch again and again,
without data, validation or files, before and after; an epoch's time is all that lies between two
checkpoints at epochs' ends: reading, augmentation, validation, checkpoints, logs and curves.
"""

import dataclasses
import resource
import tempfile
import time
from pathlib import Path

from benchmarks.networks import network, steps_of
from utils.backend import choose_backend
from utils.command_line import parse_settings
from utils.parsing import integer, optional, text
from utils.settings import Settings, TrainSettings, setting

BATCH = 128


@dataclasses.dataclass(frozen=True)
class BenchSettings(Settings):
    data_dir: str = setting(dataclasses.MISSING, text, "folder with CIFAR-10")
    attention: str = setting("cbam_block", text, "attention module, or none")
    epochs: int = setting(3, integer(2), "epochs of the run; the last is timed")
    steps: int = setting(60, integer(1), "steps of the synthetic run")
    backend: str | None = setting(None, optional(text), "Keras backend")


def synthetic_rate(settings):
    """Images per second of the network alone, the best of three runs."""
    step, _ = steps_of(network("resnet_v1", settings.attention, depth=20), BATCH)
    rates = []
    for _ in range(3):
        started = time.perf_counter()
        for _ in range(settings.steps):
            step()
        rates.append(settings.steps * BATCH / (time.perf_counter() - started))
    return max(rates)


def last_epoch_rate(settings):
    """Images per second of the last epoch of a run."""
    from utils.checkpoint import checkpoints
    from utils.training import train

    with tempfile.TemporaryDirectory() as folder:
        run, _ = train(
            TrainSettings(
                depth=20,
                attention=settings.attention,
                dataset="cifar10",
                data_dir=settings.data_dir,
                epochs=settings.epochs,
                batch_size=BATCH,
                validation_split=0.02,
                run_dir=str(Path(folder, "run")),
            )
        )
        start, end = (path.stat().st_mtime for path in checkpoints(run / "last"))
    return 49_000 // BATCH * BATCH / (end - start)


def main():
    settings = parse_settings(BenchSettings, None, "benchmarks.end_to_end", __doc__.split("\n")[0])
    choose_backend(settings.backend)
    before = synthetic_rate(settings)
    whole = last_epoch_rate(settings)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    after = synthetic_rate(settings)
    print(f"the network alone: {before:.0f} images/s before, {after:.0f} after")
    print(f"the last epoch: {whole:.0f} images/s, {whole / max(before, after):.1%} of it")
    print(f"peak memory {peak:.2f} GB")


if __name__ == "__main__":
    main()
