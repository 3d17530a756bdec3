"""Whether a training on photographs waits for the images or for the network.

    python -m benchmarks.reading DIR [--image-size 224] [--rounds 3]

DIR is a folder for `main.py --dataset folder`. Prints how many images per second `main.py` reads,
crops and flips while nothing trains, and how many each network trains on while nothing is read, in
both precisions, in turn in one process. Where they share the cores, as on a CPU, reading takes
`rate of training / (rate of training + rate of reading)` of the time, which is the last column. On
a GPU a network waits if it trains on more images per second than are read.
"""

import dataclasses
import itertools
import statistics

from benchmarks.command import one_line_errors, parse
from benchmarks.folder import AHEAD, our_batches
from benchmarks.folder import BenchSettings as FolderSettings
from benchmarks.networks import network, steps_of
from benchmarks.precision import PRECISIONS
from utils.config.fields import setting
from utils.config.parsing import integer
from utils.system.backend import choose_backend
from utils.system.timing import time_in_turn

READING = "reading"
OF_PHOTOS = {
    "MobileNet, alpha 0.25": ("mobilenet", {"alpha": 0.25}),
    "MobileNet": ("mobilenet", {}),
    "ResNet18": ("resnet", {"depth": 18, "stem": "imagenet"}),
    "ResNet50": ("resnet", {"depth": 50, "stem": "imagenet"}),
}


@dataclasses.dataclass(frozen=True)
class BenchSettings(FolderSettings):
    image_size: int = setting(224, integer(1), "side of the images")
    batch_size: int = setting(16, integer(1), "images in a batch")
    batches: int = setting(60, integer(1), "batches that are read in a round")


def training_steps(settings):
    """Returns a training step of each network in each precision."""
    import keras

    steps = {}
    for name, (model, options) in OF_PHOTOS.items():
        for precision in PRECISIONS:
            keras.config.set_dtype_policy(precision)
            shape = (settings.image_size, settings.image_size, 3)
            built = network(model, "none", **options, input_shape=shape, classes=1000)
            steps[name, precision], _ = steps_of(built, settings.batch_size)
    return steps


@one_line_errors
def main():
    settings = parse(BenchSettings, "reading", __doc__)
    choose_backend("tensorflow")
    from utils.data.datasets import load_dataset
    from utils.feeding.streaming import reading_images

    steps = training_steps(settings)
    dataset = load_dataset("folder", settings.data_dir, image_size=settings.image_size)
    stream = our_batches(dataset, settings)
    batches = map(stream.__getitem__, itertools.count())

    def read(count):
        for _ in itertools.islice(batches, count):
            pass

    with reading_images(stream):
        reading = time_in_turn(
            {READING: lambda: read(settings.batches)},
            settings.rounds,
            before=lambda name: read(AHEAD),  # was read before the clock started
        )[READING]
    rate = settings.batches * settings.batch_size / statistics.median(reading)
    print(f"{settings.image_size} pixels, batch {settings.batch_size}; median of {settings.rounds}")
    print(f"{READING:<40}{rate:8.1f} images/s")
    for (name, precision), seconds in time_in_turn(steps, settings.rounds).items():
        trained = settings.batch_size / statistics.median(seconds)
        share = trained / (trained + rate)
        print(f"{name:<24}{precision:<16}{trained:8.1f} images/s   reading {share:.0%}", flush=True)


if __name__ == "__main__":
    main()
