"""The settings of what is done to training images; see `settings`.

Nothing here needs Keras, so that `--help` answers at once.
"""

import dataclasses

from .fields import Settings, setting
from .parsing import boolean, integer, number, optional


@dataclasses.dataclass(frozen=True, kw_only=True)
class AugmentationSettings(Settings):
    """What is done to training images."""

    group = "augmentation"

    augment: bool = setting(True, boolean, "random crop, and flip if that keeps the class")
    flip: bool = setting(
        True,
        boolean,
        "mirror half of the images if --augment flips; of CIFAR, each in every other epoch",
    )
    crop: float = setting(
        0.08,
        number(0, below=1, above=True),
        "folder, with --augment: least share of the area in a random crop",
    )
    rand_augment: int = setting(0, integer(0, 10), "folder: magnitude of RandAugment; 0: none")
    mixup: float = setting(0.0, number(0), "folder: MixUp's alpha; 0: none")
    cutmix: float = setting(0.0, number(0), "folder: CutMix's alpha; 0: none")
    crop_padding: int | None = setting(
        None,
        optional(integer(0, limit=4096)),
        "with --augment: pixels a crop may move; 4 for CIFAR, 1 for digits if not given",
    )
    cutout: int = setting(
        0, integer(0, limit=4096), "side of a square cut out of training images, in pixels"
    )
