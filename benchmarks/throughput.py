"""Training speed of ResNet20 against a plain Keras loop, timed in turn in one process.

    python -m benchmarks.throughput [--rounds 7] [--steps 30] [--attention none]

Data of CIFAR-10's shape, batch 128; SGD (recipe `plain`) and float32 on both sides. The plain loop
is what one writes by hand: the same network from Keras's layers, crop and flip in numpy on the
host, `train_on_batch`. Prints images per second and, as that depends on the machine, the ratio to
the plain loop in the same round (median).
"""

import dataclasses
import statistics

import numpy as np

from benchmarks.command import one_line_errors, parse
from benchmarks.plain_networks import plain_resnet20
from benchmarks.training import our_loop, random_dataset
from utils.config.fields import Settings, setting
from utils.config.parsing import choice, integer, several, specification
from utils.system.backend import choose_backend
from utils.system.timing import ratios, time_in_turn

BATCH = 128
PLAIN = "plain Keras loop"


@dataclasses.dataclass(frozen=True)
class BenchSettings(Settings):
    rounds: int = setting(7, integer(1), "rounds in which every contestant runs once")
    steps: int = setting(30, integer(1), "training steps in a round")
    attention: tuple[str, ...] = setting(
        "none,se_block,cbam_block", several(specification), "modules to time, with commas"
    )
    backend: str = setting("tensorflow", choice("tensorflow", "jax", "torch"), "Keras backend")


def plain_batches(rng, padded, labels, steps):
    """Yields batches of a new order, cropped and flipped; images come again if they are too few.

    Args:
        rng: a `numpy.random.Generator`.
        padded: uint8 array `(n, 40, 40, 3)`, images with a border of 4 pixels.
        labels: int array `(n,)`.
        steps: int, how many batches.
    """
    order = np.resize(rng.permutation(len(padded)), steps * BATCH)
    for batch in order.reshape(steps, BATCH):
        x = np.empty((BATCH, 32, 32, 3), "float32")
        for row, (i, y0, x0, flip) in enumerate(
            zip(batch, *rng.integers(0, 9, (2, BATCH)), rng.integers(0, 2, BATCH), strict=True)
        ):
            window = padded[i, y0 : y0 + 32, x0 : x0 + 32]
            x[row] = window[:, ::-1] if flip else window
        yield x, labels[batch]


def plain_loop(dataset, steps):
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
    padded = np.pad(dataset.x_train, ((0, 0), (4, 4), (4, 4), (0, 0)))

    def run():
        for x, y in plain_batches(rng, padded, dataset.y_train, steps):
            model.train_on_batch(x, y)

    return run


@one_line_errors
def main():
    settings = parse(BenchSettings, "throughput", __doc__)
    choose_backend(settings.backend)
    dataset, steps = random_dataset(), settings.steps
    contestants = {
        PLAIN: plain_loop(dataset, steps),
        **{
            f"main.py, {name}": our_loop(dataset, steps, BATCH, depth=20, attention=name)[0]
            for name in settings.attention
        },
    }
    seconds = time_in_turn(contestants, settings.rounds)
    times = ratios(seconds, PLAIN)
    print(f"ResNet20, batch {BATCH}, {settings.backend}; median of {settings.rounds} rounds")
    for name, ratio in times.items():
        rate = steps * BATCH / statistics.median(seconds[name])
        print(f"{name:<22}{rate:8.0f} images/s   {1 / ratio:.2f} x plain")


if __name__ == "__main__":
    main()
