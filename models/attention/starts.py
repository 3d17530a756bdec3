"""How gates start: as published, or so that they change nothing at first."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from keras import ops

from ..checks import require_one_of


@dataclasses.dataclass(frozen=True)
class Start:
    """The initial weights of the layers before a gate, and the gate's factor.

    Attributes:
        hidden: initializer of a hidden dense layer's kernel.
        dense: initializer of the kernel of a dense layer whose outputs are a gate's logits.
        conv: initializer of a convolution's kernel, likewise.
        gamma: initializer of the scale of a batch normalization whose outputs are a gate's logits.
        gain: float, factor of the sigmoid.
    """

    hidden: Any = "he_normal"
    dense: Any = "he_normal"
    conv: Any = "he_normal"
    gamma: Any = "ones"
    gain: float = 1.0

    def gate(self, logits: Any, sigmoid: Callable[[Any], Any] = ops.sigmoid) -> Any:
        """Returns the gate: `gain * sigmoid(logits)`.

        Args:
            logits: tensor.
            sigmoid: function whose value at zero is 0.5. Defaults to `ops.sigmoid`.
        """
        gate = sigmoid(logits)
        return gate if self.gain == 1.0 else self.gain * gate

    def conv_before(self, norm: bool) -> Any:
        """Returns the initializer of a convolution, with or without a normalization after it.

        Zeros before a normalization would be divided by a deviation of zero. There, the scale of
        the normalization is what starts at zero.
        """
        return PUBLISHED.conv if norm and self.conv == "zeros" else self.conv


PUBLISHED = Start()
STARTS = {
    "published": PUBLISHED,
    "half": Start(dense="zeros", conv="zeros", gamma="zeros"),
    "identity": Start(dense="zeros", conv="zeros", gamma="zeros", gain=2.0),
}


def variance_scaling(scale, mode, distribution):
    """Returns the configuration of Keras's `VarianceScaling`.

    An initializer in its place would give all layers that share it the same numbers.
    """
    config = {"scale": scale, "mode": mode, "distribution": distribution}
    return {"class_name": "VarianceScaling", "config": config}


# of CBAM's authors: PyTorch's default for dense layers, and what their ResNet sets afterwards
AUTHORS = Start(
    hidden=variance_scaling(1 / 3, "fan_in", "uniform"),
    dense=variance_scaling(1 / 3, "fan_in", "uniform"),
    conv=variance_scaling(2.0, "fan_out", "untruncated_normal"),
    gamma="zeros",
)
CBAM_STARTS = {**STARTS, "authors": AUTHORS}


def start_named(name: str, starts: Mapping[str, Start] = STARTS) -> Start:
    """Returns a `Start` by its name.

    Args:
        name: string.
        starts: dictionary of those that are allowed. Defaults to `STARTS`.

    Raises:
        ValueError: the name is unknown.
    """
    return starts[require_one_of("start", name, tuple(starts))]
