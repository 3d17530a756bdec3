"""How much of a training step its convolutions take, timed alone with the same shapes.

    python -m benchmarks.floor [--network resnet20] [--attention none,cbam_block] [--rounds 20]
        [--precision mixed_bfloat16]

On TensorFlow, in turn in one process: the whole step of this project's network, and each of its
convolutions on random maps, forward, and backward to its input and its kernel. The convolutions
within attention are not among them.
"""

import dataclasses

import numpy as np

from benchmarks.command import one_line_errors, parse
from benchmarks.networks import NETWORKS, PLAIN, compared_network, steps_of
from utils.config.fields import Settings, setting
from utils.config.parsing import choice, integer, several
from utils.system.backend import choose_backend
from utils.system.timing import time_in_turn


@dataclasses.dataclass(frozen=True)
class BenchSettings(Settings):
    network: str = setting("resnet20", choice(*NETWORKS), "network to time")
    attention: tuple[str, ...] = setting(
        "none,cbam_block", several(choice(*PLAIN)), "modules, with commas"
    )
    precision: str = setting("float32", choice("float32", "mixed_bfloat16"), "of the computation")
    rounds: int = setting(20, integer(1), "rounds in which everything runs once")


def convolutions_of(model, batch):
    """Returns functions that run all of a network's convolutions: forward, and also backward."""
    import keras
    import tensorflow as tf

    found = [layer for layer in model.layers if type(layer) is keras.layers.Conv2D]
    rng = np.random.default_rng(0)

    def random(shape):
        return tf.cast(rng.normal(size=shape), found[0].compute_dtype)

    maps = [random((batch, *layer.input.shape[1:])) for layer in found]
    kernels = [random(layer.kernel.shape) for layer in found]
    slopes = [random((batch, *layer.output.shape[1:])) for layer in found]

    def convolved(maps, kernels):
        return [
            tf.nn.conv2d(x, kernel, layer.strides, layer.padding.upper())
            for x, kernel, layer in zip(maps, kernels, found, strict=True)
        ]

    @tf.function
    def forward():
        return [tf.reduce_max(y[0, 0, 0]) for y in convolved(maps, kernels)]

    @tf.function
    def backward():
        with tf.GradientTape() as tape:
            tape.watch([maps, kernels])
            outputs = convolved(maps, kernels)
        of_maps, of_kernels = tape.gradient(outputs, [maps, kernels], slopes)
        # all of every result is computed, and little of it kept
        return [tf.reduce_max(value[0, 0, 0]) for value in (*outputs, *of_maps, *of_kernels)]

    return lambda: forward()[-1].numpy(), lambda: backward()[-1].numpy()


@one_line_errors
def main():
    settings = parse(BenchSettings, "floor", __doc__)
    choose_backend("tensorflow")
    import keras

    keras.config.set_dtype_policy(settings.precision)
    batch, runs = NETWORKS[settings.network].batch, {}
    for module in settings.attention:
        model = compared_network("ours", module, settings.network)
        runs[f"{module}: step"], runs[f"{module}: inference"] = steps_of(model, batch)
    runs["convolutions: forward"], runs["convolutions: step"] = convolutions_of(model, batch)
    least = {name: min(times) for name, times in time_in_turn(runs, settings.rounds).items()}
    print(
        f"{settings.network}, batch {batch}, {settings.precision}; least of {settings.rounds} "
        "rounds"
    )
    for name, seconds in least.items():
        kind = "forward" if name.endswith(("inference", "forward")) else "step"
        share = least[f"convolutions: {kind}"] / seconds
        print(f"  {name:<24}{1e3 * seconds:8.1f} ms   of it convolutions {share:.0%}")


if __name__ == "__main__":
    main()
