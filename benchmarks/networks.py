"""This project's networks, and plain ones, without data or augmentation, ready to be timed."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from benchmarks.plain_networks import plain_cbam, plain_resnet20, plain_resnet50, plain_se
from utils.system.timing import time_in_turn


class TimedNetwork(NamedTuple):
    """One of this project's networks, and what it is timed on.

    Args:
        model: string, the architecture.
        options: dictionary, the architecture's.
        batch: int, images.
        side: int, of an image. Defaults to 32.
        classes: int. Defaults to 10.
        plain: function that builds the same network from Keras's layers. Defaults to `None`: there
            is none.
    """

    model: str
    options: dict[str, Any]
    batch: int
    side: int = 32
    classes: int = 10
    plain: Callable | None = None

    @property
    def shape(self):
        """The shape of an image."""
        return (self.side, self.side, 3)


NETWORKS = {
    "resnet20": TimedNetwork("resnet_v1", {"depth": 20}, 128, plain=plain_resnet20),
    "resnet50": TimedNetwork(
        "resnet", {"depth": 50, "stem": "imagenet"}, 8, 224, 1000, plain_resnet50
    ),
}
OTHERS = {  # of these there is no plain network
    "resnet18": TimedNetwork("resnet", {"depth": 18, "stem": "cifar"}, 128),
    "resnet_v2": TimedNetwork("resnet_v2", {"depth": 20}, 128),
    "mobilenet": TimedNetwork("mobilenet", {}, 128),
    "densenet": TimedNetwork("densenet", {"depth": 40}, 64),
    "resnext": TimedNetwork("resnext", {"depth": 29}, 32),
    "inception_v3": TimedNetwork("inception_v3", {}, 32),
}
PLAIN = {"none": None, "se_block": plain_se, "cbam_block": plain_cbam}
KINDS = ("training step", "inference batch")  # what the two functions of `steps_of` run


def network(name, module, **options):
    """Builds a network from an image to logits, with an attention module or `"none"`."""
    from models import build_model

    module = None if module == "none" else module
    return build_model(name, **options, classifier_activation=None, attention_module=module)


def own_network(name, module):
    """Builds this project's network of `NETWORKS` or `OTHERS`, and returns it with its batch."""
    timed = {**NETWORKS, **OTHERS}[name]
    built = network(
        timed.model, module, **timed.options, input_shape=timed.shape, classes=timed.classes
    )
    return built, timed.batch


def compared_network(kind, module, of):
    """Builds one of `NETWORKS` to logits, `"plain"` or `"ours"`, with one of `PLAIN` in it."""
    if kind == "plain":
        timed = NETWORKS[of]
        return timed.plain(PLAIN[module], timed.shape, timed.classes)
    return own_network(of, module)[0]


def steps_of(model, batch):
    """Compiles a network, and feeds it one random batch.

    Args:
        model: Keras model from images of known size to logits.
        batch: int, images.

    Returns:
        A function that runs one training step, and one that predicts the batch.
    """
    import keras

    from utils.system.backend import jit_compile

    rng = np.random.default_rng(0)
    images = rng.normal(size=(batch, *model.input_shape[1:]))
    images = keras.ops.convert_to_tensor(images, "float32")
    labels = rng.integers(0, model.output_shape[-1], batch)
    labels = keras.ops.convert_to_tensor(labels, "int32")
    model.compile(
        keras.optimizers.SGD(1e-3, momentum=0.9, nesterov=True),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        jit_compile=jit_compile(),
    )
    return lambda: model.train_on_batch(images, labels), lambda: model.predict_on_batch(images)


def least_times(pairs, rounds):
    """Times training steps in turn, and after them inference batches.

    Args:
        pairs: dictionary from names to what `steps_of` returns.
        rounds: int, how often each is timed.

    Yields:
        One of `KINDS`, and a dictionary from the names to the least seconds.
    """
    for number, kind in enumerate(KINDS):
        seconds = time_in_turn({name: pair[number] for name, pair in pairs.items()}, rounds)
        yield kind, {name: min(times) for name, times in seconds.items()}
