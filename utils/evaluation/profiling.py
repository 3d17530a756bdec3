"""What attention costs a network: counted, and timed in turn."""

import dataclasses

import numpy as np
from tqdm import tqdm

from models.attention.specification import NONE, AttentionSpec
from models.attention_module import list_attention

from ..system.backend import jit_compile
from ..system.errors import UserError
from ..system.timing import ratios, time_in_turn
from .counting import activation_bytes, multiply_adds, trainable_params
from .networks import network_from_settings


@dataclasses.dataclass
class Cost:
    """What one network costs; the times are multiples of the network without attention."""

    params: int
    multiply_adds: int
    activation_bytes: int
    latency: float | None = None
    training_step: float | None = None


def profile(settings):
    """Compares the costs of a network with each of several attention modules.

    Args:
        settings: a `ProfileSettings`.

    Returns:
        A dictionary from the modules' names, `"none"` first, to their `Cost`.

    Raises:
        UserError: an unknown module, or an option that a module or the architecture cannot take.
    """
    if settings.attention is None and settings.attention_options():
        options = ", ".join(settings.attention_options())
        raise UserError(f"not every module has {options}; name the modules with --attention")
    specs = dict.fromkeys([AttentionSpec(at=settings.attention_at), *_specs(settings)])
    networks = {str(spec): _network(settings, spec) for spec in specs}
    costs = {
        name: Cost(trainable_params(network), multiply_adds(network), activation_bytes(network))
        for name, network in networks.items()
    }
    if settings.rounds:
        rng = np.random.default_rng(0)
        images = rng.normal(size=(settings.batch_size, *networks["none"].input_shape[1:]))
        images = images.astype("float32")
        labels = rng.integers(0, settings.classes, settings.batch_size)
        latency = _timed(settings, networks, lambda m: lambda: m.predict_on_batch(images))
        step = _timed(settings, networks, lambda m: lambda: m.train_on_batch(images, labels))
        for name, cost in costs.items():
            cost.latency, cost.training_step = latency[name], step[name]
    return costs


def _specs(settings):
    options = settings.attention_options()
    try:
        return [
            AttentionSpec.parse(text, settings.attention_at, **({} if text == NONE else options))
            for text in settings.attention or list_attention()
        ]
    except ValueError as error:
        raise UserError(str(error)) from error


def _timed(settings, networks, contestant):
    runs = {name: contestant(network) for name, network in networks.items()}
    return ratios(time_in_turn(runs, settings.rounds, tqdm), "none")


def _network(settings, spec):
    size = settings.input_size
    network = network_from_settings(
        settings,
        spec,
        input_shape=None if size is None else (size, size, 3),
        classes=settings.classes,
    )
    network.compile("sgd", "sparse_categorical_crossentropy", jit_compile=jit_compile())
    return network


def cost_table(costs):
    """Returns the costs as aligned lines of text, one per network.

    Args:
        costs: what `profile` returns.
    """
    width = max(map(len, costs))
    head = f"{'module':<{width}}   parameters   multiply-adds   activations   latency   training"
    lines = [head]
    for name, cost in costs.items():
        times = [cost.latency, cost.training_step]
        latency, step = ("-" if t is None else f"{t:.2f} x" for t in times)
        lines.append(
            f"{name:<{width}}{cost.params:>13,}{cost.multiply_adds / 1e6:>14.2f} M"
            f"{cost.activation_bytes / 2**20:>11.2f} MB{latency:>10}{step:>11}"
        )
    return "\n".join(lines)
