"""What forms attach to tensors, so that the next layer's form can compute both in one pass.

TensorFlow runs only those operations of a graph whose results something uses. A form returns its
result as the layer would, and attaches to that tensor another way to compute it. If the form of the
next layer takes that way, nothing uses the tensor itself, and its operations never run. Any other
layer uses the tensor as it is. Two things are attached:

- To the output of attention, a function that computes it together with the addition of a shortcut
  and with a rectifier (`with_fused`).
- To the output of a batch normalization, the map before it as a `Normalized` of `maps.py`, from
  which attention computes the normalized values itself (`with_source`).
"""

FUSED = "_fused_with_what_follows"
SOURCE = "_normalized_from"


def with_fused(outputs, fused):
    """Attaches to a tensor a function that computes it together with what follows it.

    Args:
        outputs: a tensor in a graph.
        fused: function `(*shortcuts, rectified=False)` that returns `outputs` plus the shortcuts,
            with zero in the place of negative values if `rectified`.

    Returns:
        `outputs`.
    """
    setattr(outputs, FUSED, fused)
    return outputs


def fused_of(tensor):
    """Returns the function that `with_fused` attached to a tensor, or `None`."""
    return getattr(tensor, FUSED, None)


def with_source(outputs, source):
    """Attaches to the output of a batch normalization the `Normalized` that it is the values of.

    Returns:
        `outputs`.
    """
    setattr(outputs, SOURCE, source)
    return outputs


def source_of(tensor):
    """Returns what `with_source` attached to a tensor, or the tensor itself as a `Stored` map."""
    from .maps import Stored

    return getattr(tensor, SOURCE, None) or Stored(tensor)


def detached(outputs):
    """Returns the output of a layer without what is attached to it.

    What a model returns is computed anyway. A gradient by it needs that the next layers use it too.
    """
    for attached in (FUSED, SOURCE):
        if hasattr(outputs, attached):
            delattr(outputs, attached)
    return outputs
