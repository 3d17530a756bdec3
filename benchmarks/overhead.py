"""What attention adds to a training step and to an inference batch, timed in turn in one process.

    python -m benchmarks.overhead [--network resnet20] [--rounds 20] [--backend tensorflow]

Each module in this project's network, against the same module in a plain Keras network (as
CBAM-keras writes it). Prints the time of each and, as that depends on the machine, what a module
adds to this project's network as a share of what it adds to the plain one.
"""

import dataclasses

import numpy as np

from benchmarks import plain_networks
from utils.backend import choose_backend
from utils.command_line import parse_settings
from utils.parsing import choice, integer, words
from utils.settings import Settings, setting
from utils.timing import time_in_turn

NETWORKS = {  # name -> plain network, this project's, batch, image side, classes
    "resnet20": ("plain_resnet20", ("resnet_v1", {"depth": 20}), 128, 32, 10),
    "resnet50": ("plain_resnet50", ("resnet", {"depth": 50, "stem": "imagenet"}), 8, 224, 1000),
}
PLAIN = {"none": None, "se_block": "plain_se", "cbam_block": "plain_cbam"}


@dataclasses.dataclass(frozen=True)
class BenchSettings(Settings):
    network: str = setting("resnet20", choice(*NETWORKS), "which network")
    attention: tuple[str, ...] = setting(
        ("se_block", "cbam_block"), words, "modules, with commas: se_block, cbam_block"
    )
    rounds: int = setting(20, integer(1), "rounds in which every contestant runs once")
    backend: str = setting("tensorflow", choice("tensorflow", "jax", "torch"), "Keras backend")


def build(kind, module, network):
    """Builds a network to logits, plain or this project's, with an attention module."""
    from models import build_model

    plain, (name, options), _, side, classes = NETWORKS[network]
    shape = (side, side, 3)
    if kind == "plain":
        attend = getattr(plain_networks, PLAIN[module]) if PLAIN[module] else None
        return getattr(plain_networks, plain)(attend, shape, classes)
    attend = None if module == "none" else module
    return build_model(
        name,
        **options,
        input_shape=shape,
        classes=classes,
        classifier_activation=None,
        attention_module=attend,
    )


def contestant(model, batch, side, classes):
    """Returns a function that runs one training step, and one that predicts one batch."""
    import keras

    from utils.backend import jit_compile

    rng = np.random.default_rng(0)
    images = keras.ops.convert_to_tensor(rng.normal(size=(batch, side, side, 3)), "float32")
    labels = keras.ops.convert_to_tensor(rng.integers(0, classes, batch), "int32")
    model.compile(
        keras.optimizers.SGD(1e-3, momentum=0.9, nesterov=True),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        jit_compile=jit_compile(),
    )
    return lambda: model.train_on_batch(images, labels), lambda: model.predict_on_batch(images)


def main():
    settings = parse_settings(BenchSettings, None, "benchmarks.overhead", __doc__.split("\n")[0])
    choose_backend(settings.backend)
    *_, batch, side, classes = NETWORKS[settings.network]
    modules = ("none", *settings.attention)
    pairs = [(kind, module) for kind in ("plain", "ours") for module in modules]
    runs = {p: contestant(build(*p, settings.network), batch, side, classes) for p in pairs}
    print(
        f"{settings.network}, batch {batch}, {settings.backend}; least of {settings.rounds} rounds"
    )
    for number, what in enumerate(("training step", "inference batch")):
        seconds = time_in_turn({p: run[number] for p, run in runs.items()}, settings.rounds)
        least = {p: min(times) for p, times in seconds.items()}
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
