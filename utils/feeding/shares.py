"""The part of every batch that one of several hosts trains on.

Worker processes import this file: no Keras here.
"""

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True)
class Share:
    """A host's rows of every batch: they follow each other, and every device has as many.

    Where a batch is not a multiple of the devices, as the last of a validation, its last row is
    repeated.

    Args:
        devices: int, of all hosts. Defaults to 1.
        hosts: int. Defaults to 1.
        host: int, the number of this one. Defaults to 0.
    """

    devices: int = 1
    hosts: int = 1
    host: int = 0

    def places(self, size):
        """The host's rows of a batch of `size` that was filled up, as an int array."""
        own = self.padded(size) // self.hosts
        return np.arange(self.host * own, (self.host + 1) * own)

    def rows(self, size):
        """The same, with the last row that there is for those beyond it."""
        return np.minimum(self.places(size), size - 1)

    def padded(self, size):
        """The least multiple of the devices that is not below `size`."""
        return size + -size % self.devices


WHOLE = Share()
