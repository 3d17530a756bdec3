"""The part of every batch that one of several hosts trains on.

Worker processes import this file: no Keras here.
"""

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True)
class Share:
    """A host's rows of every batch: consecutive rows, with the same number for every device.

    A batch that is not a multiple of the devices, such as the last of a validation, is padded with
    copies of its last row.

    Args:
        devices: int, the number of devices of all hosts. Defaults to 1.
        hosts: int, the number of hosts. Defaults to 1.
        host: int, the number of this host. Defaults to 0.
    """

    devices: int = 1
    hosts: int = 1
    host: int = 0

    def padded_size(self, size: int) -> int:
        """Returns the size of a padded batch: `size`, rounded up to a multiple of the devices."""
        return size + -size % self.devices

    def padded_rows(self, size: int) -> np.ndarray:
        """Returns the host's rows of a padded batch, from `size` on those of the padding."""
        own = self.padded_size(size) // self.hosts
        return np.arange(self.host * own, (self.host + 1) * own)

    def rows(self, size: int) -> np.ndarray:
        """Returns which rows of a batch of `size` the host reads: for padding, the last one."""
        return np.minimum(self.padded_rows(size), size - 1)


WHOLE = Share()
