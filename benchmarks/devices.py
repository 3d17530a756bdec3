"""What a batch shared by several devices gains: images per second, and the scaling efficiency.

    python -m benchmarks.devices --devices 2 [--batch-size 128] [--attention cbam_block]

ResNet20 with `main.py`'s default recipe, on data of CIFAR-10's shape, on one device and on several
in turn in one process. The efficiency is the speed on N devices over N times the speed on one
(median of the rounds): with the same batch for all together (what `--devices` does to a run), and
with the same batch for each (`--batch-size` grown with the devices). Devices that are made of one
CPU (ATTENTION_ZOO_CPU_DEVICES) share its cores: there, N devices cannot be N times as fast.
"""

import dataclasses
import statistics

from benchmarks.command import one_line_errors, parse
from benchmarks.training import epoch_of, random_dataset
from utils.config.fields import Settings, setting
from utils.config.parsing import choice, integer, optional, specification
from utils.config.recipes import DEFAULT_RECIPE, recipe_settings
from utils.config.settings import TrainSettings
from utils.system.backend import CPU_DEVICES, choose_backend, device, on_accelerator
from utils.system.timing import time_in_turn


@dataclasses.dataclass(frozen=True)
class BenchSettings(Settings):
    devices: int = setting(2, integer(2), "devices to compare with one")
    batch_size: int = setting(128, integer(1), "images per step on one device")
    attention: str = setting("cbam_block", specification, "attention module, or none")
    rounds: int = setting(5, integer(1), "rounds in which each is timed once")
    steps: int = setting(20, integer(1), "steps in a round")
    backend: str | None = setting(
        None, optional(choice("tensorflow", "jax")), "Keras backend; KERAS_BACKEND if not given"
    )


def training(settings, count, batch_size):
    """A function that trains for a round on `count` devices."""
    from utils.training.devices import find_devices
    from utils.training.setup import make_setup
    from utils.training.train import with_defaults

    dataset = random_dataset(settings.steps * batch_size)
    recipe = TrainSettings(
        **recipe_settings(DEFAULT_RECIPE),
        depth=20,
        validation_split=0.0,
        attention=settings.attention,
        devices=count,
        batch_size=batch_size,
    )
    recipe = with_defaults(recipe, dataset)
    devices = find_devices(recipe)
    with devices.scope():
        setup = make_setup(recipe, dataset, devices.batch_share)
        devices.synchronize_normalization(setup.model)
    batches = setup.batches
    return epoch_of(setup.model, batches, devices.weight(batches), devices.scope)


@one_line_errors
def main():
    settings = parse(BenchSettings, "devices", __doc__)
    backend = choose_backend(settings.backend)
    count, batch = settings.devices, settings.batch_size
    # (devices, images per step) of each contestant
    contestants = [(1, batch), (count, batch), (count, count * batch)]
    runs = {each: training(settings, *each) for each in contestants}
    seconds = time_in_turn(runs, settings.rounds)
    print(f"ResNet20 + {settings.attention}, {backend} on {device()}, {settings.rounds} rounds")
    for devices, images in contestants:
        rate = settings.steps * images / statistics.median(seconds[devices, images])
        speedups = [
            images / batch * one / several
            for one, several in zip(seconds[1, batch], seconds[devices, images], strict=True)
        ]
        print(
            f"{devices} devices, batch {images:<6}{rate:9.0f} images/s   "
            f"efficiency {statistics.median(speedups) / devices:.0%}"
        )
    if not on_accelerator():
        print(f"{CPU_DEVICES}: the devices share the CPU's cores: this is only a check")


if __name__ == "__main__":
    main()
