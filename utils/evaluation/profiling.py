"""The command `profile`: what attention modules cost a network, counted and timed."""

import csv
import dataclasses
import functools
import io
from collections.abc import Callable, Mapping
from pathlib import Path

import keras
import numpy as np
from tqdm import tqdm

from models.attention.catalog import CATALOG
from models.attention.specification import NONE, AttentionSpec
from models.attention_module import list_attention

from ..config.command_settings import ProfileSettings
from ..config.default_model import with_model
from ..data.data_format import shape_in_data_format
from ..system.backend import jit_compile
from ..system.errors import UserError
from ..system.files import spreadsheet_text
from ..system.timing import ratios, time_in_turn
from .counting import activation_bytes, multiply_adds, trainable_params
from .networks import CIFAR_SIZE, network_from_settings, precision_of_network
from .outputs import require_folder_of

NOTE = (
    "multiply-adds, activations (estimated): for one image; latency of a prediction, time of a "
    "training step: as multiples of none's"
)
FIGURE_ENDINGS = (".png", ".pdf", ".svg")


@dataclasses.dataclass(frozen=True)
class Cost:
    """The costs of a network.

    Args:
        params: int, trainable parameters.
        multiply_adds: int, multiply-adds for one image.
        activation_bytes: int, estimated memory of the activations for one image, in bytes.
        latency: float, time to predict a batch, as a multiple of that of the network without
            attention; `None` if it is not timed.
        training_step: float, time of a training step, likewise.
    """

    params: int
    multiply_adds: int
    activation_bytes: int
    latency: float | None
    training_step: float | None


def profile(
    settings: ProfileSettings, announce: Callable[[str], object] = print
) -> dict[str, Cost]:
    """Compares the costs of a network with each of several attention modules.

    Args:
        settings: a `ProfileSettings`.
        announce: function that takes a line of text. Defaults to `print`.

    Returns:
        A dictionary from the names of the modules, `"none"` first, to their `Cost`.

    Raises:
        UserError: a module is unknown, or a module or the architecture does not take an option.
    """
    size = settings.input_size or CIFAR_SIZE
    settings = with_model(settings, (size, size))
    if settings.attention is None and settings.attention_options():
        options = ", ".join(settings.attention_options())
        raise UserError(
            f"not every attention module takes {options}; name the modules with --attention"
        )
    precision = precision_of_network(settings, settings.precision)[0]
    keras.config.set_dtype_policy(precision)
    specs = dict.fromkeys([AttentionSpec(at=settings.attention_at), *_specs(settings)])
    if settings.plot and len(specs) == 1:
        raise UserError("plot shows what modules add to none; name one with --attention")
    networks = {str(spec): _network(settings, spec) for spec in specs}
    announce(_conditions(settings, networks["none"], precision))
    counts = _counts(networks, announce)
    times = _times(settings, networks) if settings.rounds else ({}, {})
    return {
        name: Cost(*counted, *(ratio.get(name) for ratio in times))
        for name, counted in counts.items()
    }


def _specs(settings):
    options = settings.attention_options()
    try:
        return [
            AttentionSpec.parse(text, settings.attention_at, **({} if text == NONE else options))
            for text in settings.attention or list_attention()
        ]
    except ValueError as error:
        raise UserError(str(error)) from error


def _conditions(settings, network, precision):
    """What is measured, on what and how."""
    line = f"{network.name}, images of {'x'.join(map(str, network.input_shape[1:]))}"
    if not settings.rounds:
        return line
    return f"{line}, batches of {settings.batch_size}, on {keras.backend.backend()} in {precision}"


def _counts(networks, announce):
    """Counts parameters, multiply-adds and bytes; announces once what cannot be counted."""
    announce_once = functools.cache(announce)
    return {
        name: (
            trainable_params(network),
            multiply_adds(network, announce=announce_once),
            activation_bytes(network),
        )
        for name, network in networks.items()
    }


def _times(settings, networks):
    """Times predictions and training steps: two dictionaries from names to ratios to `"none"`."""
    rng = np.random.default_rng(0)
    images = rng.normal(size=(settings.batch_size, *networks["none"].input_shape[1:]))
    images = images.astype("float32")
    labels = rng.integers(0, settings.classes, settings.batch_size)

    def timed(what, contestant):
        runs = {name: contestant(network) for name, network in networks.items()}
        progress = functools.partial(tqdm, desc=f"rounds of {what}", leave=False)
        return ratios(time_in_turn(runs, settings.rounds, progress), "none")

    return (
        timed("prediction", lambda network: lambda: network.predict_on_batch(images)),
        timed("training", lambda network: lambda: network.train_on_batch(images, labels)),
    )


def _network(settings, spec):
    size = settings.input_size
    network = network_from_settings(
        settings,
        spec,
        input_shape=None if size is None else shape_in_data_format((size, size, 3)),
        classes=settings.classes,
    )
    network.compile("sgd", "sparse_categorical_crossentropy", jit_compile=jit_compile())
    return network


def _about(name):
    """What is known of a module of the catalog, such as `   channels (channel, 2017)`."""
    entry = CATALOG.get(AttentionSpec.parse(name).name)
    return f"   {entry.attends_to} ({entry.family}, {entry.year})" if entry else ""


def plot_format(path: str | None) -> None:
    """Checks that a picture of the costs can be written to a file.

    Args:
        path: string, the file's path, or `None` for no picture.

    Raises:
        UserError: it does not end in one of `FIGURE_ENDINGS`, or its folder is not there.
    """
    if path is None:
        return
    if Path(path).suffix not in FIGURE_ENDINGS:
        raise UserError(f"plot must end in {', '.join(FIGURE_ENDINGS)}; received {path!r}")
    require_folder_of(path, "plot")


def cost_table(costs: Mapping[str, Cost]) -> str:
    """Formats costs as a table of text, with a line per network.

    Args:
        costs: what `profile` returns.
    """
    width = max(map(len, costs))
    head = f"{'module':<{width}}   parameters   multiply-adds   activations   latency   training"
    head += "   attends to"
    lines = [head]
    for name, cost in costs.items():
        times = [cost.latency, cost.training_step]
        latency, step = ("-" if t is None else f"{t:.2f} x" for t in times)
        lines.append(
            f"{name:<{width}}{cost.params:>13,}{cost.multiply_adds / 1e6:>14.2f} M"
            f"{cost.activation_bytes / 2**20:>11.2f} MB{latency:>10}{step:>11}{_about(name)}"
        )
    return "\n".join([*lines, NOTE])


def cost_csv(costs: Mapping[str, Cost]) -> str:
    """Formats costs as a CSV file, with a line per network; a time that is not known stays empty.

    Args:
        costs: what `profile` returns.
    """
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["module", *(field.name for field in dataclasses.fields(Cost))])
    table.writerows([spreadsheet_text(name), *dataclasses.astuple(c)] for name, c in costs.items())
    return text.getvalue().rstrip()


COST_FORMATS = {"table": cost_table, "csv": cost_csv}
