"""The settings of fine-tuning; see `settings`.

Nothing here needs Keras, so that `--help` answers at once.
"""

import dataclasses

from .fields import Settings, setting
from .parsing import choice, integer, number, optional, path, text


@dataclasses.dataclass(frozen=True, kw_only=True)
class FineTuningSettings(Settings):
    """Which weights a training starts from, and which of them learn, and how fast."""

    group = "fine-tuning"

    init: str | None = setting(
        None,
        optional(path),
        "run, .keras file, trained weights that 'main.py list' names, or imagenet, to start from; "
        "attention and a classifier of other classes may be new",
    )
    weights: str | None = setting(
        None,
        optional(choice("imagenet", "none")),
        "imagenet: weights that Keras downloads, if keras.applications has the network; or none",
    )
    freeze: str = setting(
        "none",
        choice("none", "backbone"),
        "what does not learn; backbone: everything except attention and the classifier",
    )
    freeze_until: str | None = setting(
        None, optional(text), "name of a layer; all layers from the image up to it do not learn"
    )
    unfreeze_after: int | None = setting(
        None, optional(integer(1)), "epochs after which all layers learn"
    )
    backbone_rate: float = setting(
        1.0,
        number(0, above=True),
        "learning rate of the backbone, as a multiple of that of the classifier",
    )
    attention_rate: float = setting(
        1.0,
        number(0, above=True),
        "learning rate of attention, as a multiple of that of the classifier",
    )
    class_weights: str = setting(
        "none",
        choice("none", "balanced"),
        "weights of classes in the loss; balanced: the rarer a class, the more its images count",
    )
    patience: int | None = setting(
        None,
        optional(integer(1)),
        "epochs without a better validation accuracy after which a run ends",
    )
