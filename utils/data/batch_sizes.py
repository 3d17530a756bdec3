"""How many images of a size are read and predicted at once."""

from collections.abc import Sequence

PIXELS = 2**21  # of all images of a batch together, about; a single image may have more


def images_per_batch(shape: Sequence[int], most: int) -> int:
    """Returns how many images make a batch.

    Args:
        shape: sequence of ints that begins with the images' height and width.
        most: int, the largest number, which small images reach.
    """
    height, width, *_ = shape
    return min(max(1, PIXELS // (height * width)), most)
