"""The choice of what gives a training its images."""

import dataclasses

from ..config.settings import TrainSettings
from ..data.dataset import Dataset
from ..system.errors import UserError
from .in_memory import InMemory
from .on_disk import OnDisk
from .protocols import ImageSource

KINDS: dict[str, type[ImageSource]] = {"in memory": InMemory, "in a folder": OnDisk}


def image_source(dataset: Dataset) -> ImageSource:
    """Returns what gives the images of a data set for training and evaluation."""
    return OnDisk(dataset) if dataset.on_disk else InMemory(dataset)


def refuse_settings_of_others(settings: TrainSettings, source: ImageSource) -> None:
    """Refuses settings that only another kind of source has.

    Args:
        settings: a `TrainSettings`.
        source: what `image_source` returns.

    Raises:
        UserError: such a setting differs from its default.
    """
    defaults = {field.name: field.default for field in dataclasses.fields(settings)}
    for place, kind in KINDS.items():
        for name in () if type(source) is kind else kind.own_settings:
            if getattr(settings, name) != defaults[name]:
                raise UserError(
                    f"{name} is for data {place}, not for {source.dataset.name}; "
                    f"received {getattr(settings, name)}"
                )
