"""The scores that a network returns: probabilities, or logits that a softmax makes some of."""

import keras
import numpy as np

from models.graphs import as_graph
from models.private_api import calls_as, node_of

from ..system.errors import UserError

ALIKE = 1e-3  # probabilities in bfloat16 add up to 1 within less
# layers of Keras whose outputs are the scores that they receive: in another shape, dtype or order,
# or the mean of several
PASSING = (
    "Average", "Cast", "Dropout", "Flatten", "GlobalAveragePooling2D", "Identity", "Reshape",
)  # fmt: skip
LOGITS = ("linear", "log_softmax")  # of which a softmax makes probabilities


def ends_in_softmax(network: keras.Model, source: str) -> bool | None:
    """Returns whether a network's scores are probabilities already, by its last activation.

    Args:
        network: a `keras.Model`.
        source: string, what the user calls it, for messages.

    Returns:
        A bool, `False` for logits; or `None` if the graph does not tell, as with a last layer of
        a user's own.

    Raises:
        UserError: it ends in another activation, so that its scores are not those of one class of
            several.
    """
    name = _activation_of_model(network, 0)
    if name in (None, "softmax", *LOGITS):
        return None if name is None else name == "softmax"
    raise UserError(
        f"{source} returns {name} scores, not one class of several; predict needs a network that "
        "ends in a softmax, or without an activation"
    )


def _activation_of_model(model, number):
    """The name of the activation that computes an output of a model, or `None`."""
    model = as_graph(model)
    if not isinstance(model, keras.Model) or not calls_as(model, "Functional"):
        return None
    return _activation_of(model.outputs[number])


def _activation_of(scores):
    """The name of the last activation before a tensor of a graph, or `None`."""
    node = node_of(scores)
    last, kind = node.operation, type(node.operation).__name__
    if isinstance(last, keras.Model):
        number = next(n for n, output in enumerate(node.outputs) if output is scores)
        return _activation_of_model(last, number)
    if not _calls_as_keras(last):
        return None
    if (kind == "Activation" and last.activation is keras.activations.linear) or kind in PASSING:
        before = {_activation_of(each) for each in node.input_tensors}
        return before.pop() if len(before) == 1 else None
    if hasattr(last, "activation"):
        return _name_of(last.activation)
    # layers such as Softmax, and operations such as keras.ops.sigmoid
    return kind.lower() if hasattr(keras.activations, kind.lower()) else None


def _calls_as_keras(operation):
    """Whether an operation computes what a class of Keras does, not what a user's own does."""
    return any(calls_as(operation, base.__name__) for base in type(operation).__mro__)


def _name_of(activation):
    """The name of an activation of Keras; `None` for a function of a user's own."""
    name = getattr(activation, "__name__", "")
    return name if getattr(keras.activations, name, None) is activation else None


def look_like_probabilities(scores: np.ndarray) -> bool:
    """Returns whether all scores are at least 0, and those of each image add up to 1.

    Args:
        scores: float array `(batch, classes)`.
    """
    return bool(scores.min() >= 0 and np.all(np.abs(scores.sum(axis=1) - 1) < ALIKE))


def softmax(logits: np.ndarray) -> np.ndarray:
    """Returns the probabilities that logits stand for.

    Args:
        logits: float array `(batch, classes)`.
    """
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)
