"""Many image files as an array that stays on disk."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np

from ..system.backend import threads
from .decoding import JPEG_ENDINGS, read_image, read_jpeg


class ImageFiles:
    """Image files as a uint8 array `(n, height, width, 3)` that stays on disk.

    What is asked for, a number, a slice or an array of numbers, is read then.

    Args:
        paths: sequence of paths.
        size: int, height and width in pixels.
        checksum: string, of the names and contents of the files.

    Raises:
        UserError: when one is asked for that cannot be read.
    """

    dtype = np.dtype("uint8")

    def __init__(self, paths, size, checksum=""):
        self.paths = tuple(paths)
        self.shape = (len(self.paths), size, size, 3)
        self.checksum = checksum

    def __len__(self):
        return len(self.paths)

    def __getitem__(self, which):
        if isinstance(which, (int, np.integer)):
            return self.read(which)
        chosen = np.arange(len(self))[which]
        with ThreadPoolExecutor(threads()) as pool:
            images = list(pool.map(self.read, chosen))
        return np.stack(images) if images else np.zeros((0, *self.shape[1:]), self.dtype)

    def read(self, number, window=None):
        """Reads the image of a number, or a window of it; see `read_image`."""
        path = self.paths[number]
        read = read_jpeg if path.suffix.lower() in JPEG_ENDINGS else read_image
        return read(path, self.shape[1:], window)
