"""Reading a folder of images against Keras's `image_dataset_from_directory`, in one process.

    python -m benchmarks.folder DIR [--image-size 139] [--batch-size 32] [--rounds 3]

DIR is a folder for `main.py --dataset folder`. Keras decodes with TensorFlow and squeezes
photographs into squares; `main.py` cuts the largest square out of the middle or, as training does
by default, a random one, and flips it. Prints images per second and, as that depends on the
machine, the ratio to Keras in the same round (median).
"""

import dataclasses
import itertools
import statistics

import numpy as np

from benchmarks.command import one_line_errors, parse
from utils.config.fields import Settings, setting
from utils.config.parsing import integer, text
from utils.config.settings import TrainSettings
from utils.system.backend import choose_backend
from utils.system.timing import ratios, time_in_turn

PLAIN = "image_dataset_from_directory"
AHEAD = 64  # batches: TensorFlow keeps dozens ready while others are timed


@dataclasses.dataclass(frozen=True)
class BenchSettings(Settings):
    data_dir: str = setting(dataclasses.MISSING, text, "folder with train/CLASS/ and test/CLASS/")
    image_size: int = setting(139, integer(1), "side of the images")
    batch_size: int = setting(32, integer(1), "images in a batch")
    rounds: int = setting(3, integer(1), "rounds in which every contestant runs once")
    batches: int = setting(100, integer(1), "batches in a round")


def plain_batches(settings):
    """Iterator of the batches of Keras's own reading, shuffled, without end."""
    import keras

    return iter(
        keras.utils.image_dataset_from_directory(
            f"{settings.data_dir}/train",
            image_size=(settings.image_size,) * 2,
            batch_size=settings.batch_size,
            verbose=False,
        ).repeat()
    )


def our_batches(dataset, settings, **options):
    """The batches of a training by `main.py`."""
    from utils.feeding.sources import image_source
    from utils.training.train import with_defaults

    recipe = TrainSettings(dataset="folder", batch_size=settings.batch_size, **options)
    recipe = with_defaults(recipe, dataset)
    return image_source(dataset).training_batches(recipe, np.arange(len(dataset.x_train)))


@one_line_errors
def main():
    settings = parse(BenchSettings, "folder", __doc__)
    choose_backend("tensorflow")
    from utils.data.datasets import load_dataset
    from utils.feeding.streaming import reading_images

    dataset = load_dataset("folder", settings.data_dir, image_size=settings.image_size)
    streams = {
        "processes, the middle": our_batches(dataset, settings, augment=False),
        "processes, crop and flip": our_batches(dataset, settings),
        "threads, the middle": our_batches(dataset, settings, augment=False, workers=0),
        "threads, crop and flip": our_batches(dataset, settings, workers=0),
    }
    sources = {PLAIN: plain_batches(settings)}
    sources |= {
        name: map(stream.__getitem__, itertools.count()) for name, stream in streams.items()
    }

    def read(name, count):
        for _ in itertools.islice(sources[name], count):
            pass

    with reading_images(*streams.values()):
        seconds = time_in_turn(
            {name: lambda name=name: read(name, settings.batches) for name in sources},
            settings.rounds,
            before=lambda name: read(name, AHEAD),  # was read while others were timed
        )
    size, batch, rounds = settings.image_size, settings.batch_size, settings.rounds
    print(f"{size} pixels, batch {batch}; median of {rounds} rounds")
    for name, ratio in ratios(seconds, PLAIN).items():
        rate = settings.batches * settings.batch_size / statistics.median(seconds[name])
        print(f"{name:<30}{rate:8.0f} images/s   {1 / ratio:.2f} x Keras")


if __name__ == "__main__":
    main()
