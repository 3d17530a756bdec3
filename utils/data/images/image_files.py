"""Image files as an array that stays on disk.

Worker processes import this file: no Keras here.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from ...system.backend import threads
from .decoding import Window, read_file


class ImageFiles:
    """Image files that are indexed like a uint8 array `(n, height, width, 3)`.

    An image is read when it is asked for: by its number, by a slice or by an array of numbers.

    Args:
        paths: sequence of paths.
        size: int, height and width in pixels to which images are resized.
        checksum: string, of the names and contents of the files.

    Raises:
        UserError: an image that is asked for cannot be read.
    """

    dtype = np.dtype("uint8")

    def __init__(self, paths: Sequence[Path], size: int, checksum: str = "") -> None:
        self.paths = tuple(paths)
        self.shape = (len(self.paths), size, size, 3)
        self.checksum = checksum

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, which: Any) -> np.ndarray:
        if isinstance(which, (int, np.integer)):
            return self.read(int(which))
        chosen = np.arange(len(self))[which]
        with ThreadPoolExecutor(threads()) as pool:
            images = list(pool.map(self.read, chosen))
        return np.stack(images) if images else np.zeros((0, *self.shape[1:]), self.dtype)

    def read(self, number: int, window: Window | None = None) -> np.ndarray:
        """Reads one image, or a window of it.

        Args:
            number: int, which image.
            window: function as for `read_image`. Defaults to the largest square in the middle.

        Returns:
            A uint8 array `(height, width, 3)`.

        Raises:
            UserError: the image cannot be read.
        """
        return read_file(self.paths[number], self.shape[1:], window)
