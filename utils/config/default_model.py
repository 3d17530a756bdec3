"""Which network is trained if none is named: one that suits the size of the images.

By multiply-adds, `resnet_v1` of depth 20 takes 41 M for an image of 32 pixels and 2,000 M for one
of 224, since its three stages keep a large image large. `mobilenet` takes 568 M at 224 pixels, and
`resnet` of depth 18 with the stem for such images 1,800 M. Below 96 pixels `resnet_v1` takes less
than `mobilenet` does at 224.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any, TypeVar

from ..data.datasets import IMAGE_SIZE
from .fields import Settings

FOR_SMALL, FOR_LARGE = "resnet_v1", "mobilenet"
LARGE = 96  # pixels, of the shorter side
MODEL_HELP = f"{FOR_SMALL}, or {FOR_LARGE} for images of {LARGE} pixels or more, if not given"

Chosen = TypeVar("Chosen", bound=Settings)


def default_model(size: int) -> str:
    """Returns the network for images of a size.

    Args:
        size: int, height and width in pixels, or the smaller of them.
    """
    return FOR_LARGE if size >= LARGE else FOR_SMALL


def known_model(settings: Any) -> str | None:
    """Returns the network of a recipe as far as it is known before the data is loaded.

    Args:
        settings: a `RecipeSettings`.

    Returns:
        A string, or `None` where it depends on what is in the folder of the data.
    """
    if settings.model is not None:
        return settings.model
    if settings.dataset == "folder":
        return default_model(settings.image_size or IMAGE_SIZE)
    is_open = settings.dataset == "auto" and settings.data_dir is not None
    return None if is_open else FOR_SMALL


def with_model(settings: Chosen, image_shape: Sequence[int]) -> Chosen:
    """Returns settings with the network for images of a shape, if none is named.

    Args:
        settings: settings with a field `model`.
        image_shape: tuple of ints, `(height, width, channels)`.
    """
    changed: Any = settings
    if changed.model is not None:
        return settings
    return dataclasses.replace(changed, model=default_model(min(image_shape[:2])))
