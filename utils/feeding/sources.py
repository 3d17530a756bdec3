"""Where a training's images come from: every kind of source has the methods of `InMemory`."""

import dataclasses

from ..system.errors import UserError
from .in_memory import InMemory
from .on_disk import OnDisk

KINDS = {"in memory": InMemory, "in a folder": OnDisk}


def image_source(dataset):
    """Returns what gives the images of a `Dataset` for training and evaluation."""
    return OnDisk(dataset) if dataset.name == "folder" else InMemory(dataset)


def refuse_settings_of_others(settings, source):
    """Refuses settings that only another kind of source has.

    Args:
        settings: a `TrainSettings`.
        source: what `image_source` returns.

    Raises:
        UserError: one of them is given.
    """
    defaults = {field.name: field.default for field in dataclasses.fields(settings)}
    for place, kind in KINDS.items():
        for name in () if type(source) is kind else kind.own_settings:
            if getattr(settings, name) != defaults[name]:
                raise UserError(
                    f"{name} is for data {place}, not for {source.dataset.name}; "
                    f"received {getattr(settings, name)}"
                )
