"""Where a training's images come from: every kind of source has the methods of `InMemory`."""

from .in_memory import InMemory


def source_of(dataset):
    """Returns what gives the images of a `Dataset` for training and evaluation."""
    return InMemory(dataset)
