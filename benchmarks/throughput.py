"""Training speed of ResNet20 against a plain Keras loop, timed in turn in one process.

    python -m benchmarks.throughput [--rounds 7] [--steps 30] [--attention none]

Data of CIFAR-10's shape, batch 128. The plain loop is what one writes by hand: the same network
from Keras's layers, crop and flip in numpy on the host, `train_on_batch`. Prints images per second
and, as that depends on the machine, the ratio to the plain loop in the same round (median).
"""

import dataclasses
import statistics

import numpy as np

from benchmarks.plain_networks import plain_resnet20
from utils.config.command_line import parse_settings
from utils.config.fields import Settings, setting
from utils.config.parsing import choice, integer, text
from utils.config.settings import TrainSettings
from utils.system.backend import choose_backend
from utils.system.timing import ratios, time_in_turn

BATCH = 128


@dataclasses.dataclass(frozen=True)
class BenchSettings(Settings):
    rounds: int = setting(7, integer(1), "rounds in which every contestant runs once")
    steps: int = setting(30, integer(1), "training steps in a round")
    attention: str = setting("none,se_block,cbam_block", text, "modules to time, with commas")
    backend: str = setting("tensorflow", choice("tensorflow", "jax", "torch"), "Keras backend")


def plain_loop(images, labels, steps):
    import keras

    from utils.system.backend import jit_compile

    model = plain_resnet20()
    model.compile(
        keras.optimizers.SGD(0.2, momentum=0.9, nesterov=True),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
        jit_compile=jit_compile(),
    )
    rng = np.random.default_rng(0)
    padded = np.pad(images, ((0, 0), (4, 4), (4, 4), (0, 0)))

    def run():
        order = rng.permutation(len(images))
        for step in range(steps):
            batch = order[step * BATCH : (step + 1) * BATCH]
            x = np.empty((BATCH, 32, 32, 3), "float32")
            for row, (i, y0, x0, flip) in enumerate(
                zip(batch, *rng.integers(0, 9, (2, BATCH)), rng.integers(0, 2, BATCH), strict=True)
            ):
                window = padded[i, y0 : y0 + 32, x0 : x0 + 32]
                x[row] = window[:, ::-1] if flip else window
            model.train_on_batch(x, labels[batch])

    return run


def our_loop(images, labels, steps, batch=BATCH, per_launch=1, **options):
    """Training as `main.py` does it, and the network.

    Args:
        images, labels: arrays of CIFAR's kind.
        steps: int, of the training that the returned function runs.
        batch: int, images per step.
        per_launch: int, steps that the backend runs without coming back to Python.
        **options: settings of `TrainSettings`.

    Returns:
        A function that trains, and the network.
    """
    from utils.data.dataset import Dataset
    from utils.feeding.sources import image_source
    from utils.system.backend_batches import keras_input
    from utils.training.callbacks import SetEpoch
    from utils.training.setup import build_network, training_model
    from utils.training.train import with_defaults

    names = tuple("0123456789")
    dataset = Dataset("cifar10", images, labels, images, labels, names, 4, True)
    settings = with_defaults(TrainSettings(batch_size=batch, **options), dataset)
    network = build_network(settings, dataset, np.full(3, 127.0), np.full(3, 4000.0))
    source = image_source(dataset)
    batches = source.training_batches(settings, np.arange(steps * batch))
    model = training_model(settings, network, *source.images(settings, np.zeros(3)), steps)
    model.steps_per_execution = per_launch

    def run():
        model.fit(keras_input(batches), callbacks=[SetEpoch(batches)], shuffle=False, verbose=0)

    return run, network


def main():
    settings = parse_settings(BenchSettings, None, "benchmarks.throughput", __doc__.split("\n")[0])
    choose_backend(settings.backend)
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (50_000, 32, 32, 3)).astype("uint8")
    labels = rng.integers(0, 10, 50_000)
    data = (images, labels, settings.steps)
    contestants = {
        "plain Keras loop": plain_loop(*data),
        **{
            f"main.py, {name}": our_loop(*data, depth=20, attention=name)[0]
            for name in settings.attention.split(",")
        },
    }
    seconds = time_in_turn(contestants, settings.rounds)
    times = ratios(seconds, "plain Keras loop")
    print(f"ResNet20, batch {BATCH}, {settings.backend}; median of {settings.rounds} rounds")
    for name, ratio in times.items():
        rate = settings.steps * BATCH / statistics.median(seconds[name])
        print(f"{name:<22}{rate:8.0f} images/s   {1 / ratio:.2f} x plain")


if __name__ == "__main__":
    main()
