"""How much of the step rate a whole epoch of `main.py` keeps, and how much memory it takes.

    python -m benchmarks.end_to_end DIR [--attention cbam_block] [--epochs 3]

ResNet20 on CIFAR-10, with SGD (recipe `plain`) in float32. The step rate is that of the same
network on one batch again and again, without data, validation or files, a few such steps after
every 20 of the run, as a machine's speed changes within minutes. An epoch's time is all else that
lies between two checkpoints at epochs' ends: reading, augmentation, validation, checkpoints, logs
and curves.
"""

import dataclasses
import resource
import statistics
import tempfile
import time
from pathlib import Path

from benchmarks.command import one_line_errors, parse
from benchmarks.networks import network, steps_of
from utils.config.fields import Settings, setting
from utils.config.parsing import integer, optional, specification, text
from utils.config.settings import TrainSettings
from utils.system.backend import choose_backend

BATCH, IMAGES = 128, 49_000
EVERY, STEPS = 20, 4  # after so many steps of the run, so many of the network alone
NEVER = "999999999m"  # a checkpoint within an epoch would be taken for the end of one


@dataclasses.dataclass(frozen=True)
class BenchSettings(Settings):
    data_dir: str = setting(dataclasses.MISSING, text, "folder with CIFAR-10")
    attention: str = setting("cbam_block", specification, "attention module, or none")
    epochs: int = setting(3, integer(2), "epochs of the run; the last is timed")
    backend: str | None = setting(None, optional(text), "Keras backend")


def last_epoch(settings, step):
    """Trains, with steps of another network in between.

    Args:
        settings: a `BenchSettings`.
        step: function that runs one such step.

    Returns:
        Seconds of the last epoch, without those steps, and a list of the seconds of each of them.
    """
    from utils.runs.checkpoint import checkpoints
    from utils.training import loop
    from utils.training.train import train

    breaks = []  # when each began, how long it took, and its steps

    class CountStepsWithBreaks(loop.CountSteps):
        def on_train_batch_end(self, batch, logs=None):
            super().on_train_batch_end(batch, logs)
            if batch % EVERY == EVERY - 1:
                began = time.time()
                step()  # the caches are the other network's
                taken = [timed(step) for _ in range(STEPS)]
                breaks.append((began, time.time() - began, taken))

    loop.CountSteps = CountStepsWithBreaks
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
                precision="float32",  # the network alone has no other
                checkpoint_every=NEVER,
                run_dir=str(Path(folder, "run")),
            )
        )
        start, end = (path.stat().st_mtime for path in checkpoints(run / "last"))
    breaks = [found for found in breaks if found[0] > start]
    without = end - start - sum(seconds for _, seconds, _ in breaks)
    return without, [seconds for _, _, taken in breaks for seconds in taken]


def timed(step):
    started = time.perf_counter()
    step()
    return time.perf_counter() - started


@one_line_errors
def main():
    settings = parse(BenchSettings, "end_to_end", __doc__)
    choose_backend(settings.backend)
    step, _ = steps_of(network("resnet_v1", settings.attention, depth=20), BATCH)
    step()
    epoch, alone = last_epoch(settings, step)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    images = IMAGES // BATCH * BATCH
    rate, rate_alone = images / epoch, BATCH / statistics.mean(alone)
    print(f"the network alone: {rate_alone:.0f} images/s")
    print(f"the last epoch: {rate:.0f} images/s, {rate / rate_alone:.1%} of it")
    print(f"peak memory {peak:.2f} GB, of both networks")


if __name__ == "__main__":
    main()
