"""Image files: read without trust, and many of them as an array that stays on disk."""

import math
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from PIL import Image, ImageOps

from ..system.backend import threads
from ..system.errors import UserError

ENDINGS = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp")
FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP")
JPEG_ENDINGS = (".jpg", ".jpeg")
ORIENTATION, UPRIGHT = 0x0112, 1  # EXIF tag; from 5 on, width and height change places

# of damage that can be read around, and of bombs, which are refused below
warnings.filterwarnings("ignore", module="PIL")


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
        from .jpeg import read_jpeg  # with packages that no other data set needs

        path = self.paths[number]
        read = read_jpeg if path.suffix.lower() in JPEG_ENDINGS else read_image
        return read(path, self.shape[1:], window)


def read_image(path, shape, window=None):
    """Reads an image file, the middle of it as large as fits, without trusting it.

    Args:
        path: path of the file.
        shape: tuple of ints, `(height, width, channels)` of what is wanted; 1 channel is grey.
        window: function from the image's width and height to the part that is wanted instead:
            left, upper, right and lower border in pixels.

    Returns:
        A uint8 array of that shape.

    Raises:
        UserError: the file is no image of a known format, damaged, or enormous.
    """
    height, width, channels = shape
    try:
        # formats that Pillow decodes by itself, with no other program
        with Image.open(path, formats=FORMATS) as image:
            if math.prod(image.size) > Image.MAX_IMAGE_PIXELS:
                raise ValueError(f"Image size of {math.prod(image.size)} pixels: a bomb?")
            turn = image.getexif().get(ORIENTATION, UPRIGHT)
            size = image.size if turn < 5 else image.size[::-1]
            box = window(*size) if window else middle(*size, width / height)
            shrink = min((box[2] - box[0]) / width, (box[3] - box[1]) / height)
            if shrink >= 2:  # a JPEG can be decoded in half the size, or less, at half the cost
                image.draft(None, tuple(math.ceil(side / shrink) for side in image.size))
            upright = image if turn == UPRIGHT else ImageOps.exif_transpose(image)  # which copies
            mode = "L" if channels == 1 else "RGB"
            upright.load()
            upright = upright if upright.mode == mode else upright.convert(mode)
        part, box = part_of(box, size, upright.size)
        fitted = upright.crop(part).resize((width, height), Image.Resampling.BILINEAR, box)
    except Exception as error:  # a damaged image can fail in any way
        raise UserError(f"{path} is no image that can be read: {error}") from None
    return np.asarray(fitted).reshape(shape)


def part_of(box, before, now):
    """The smallest part of an image that holds a box: what is outside must not come in at borders.

    Args:
        box: left, upper, right and lower border in pixels of an image.
        before: tuple of ints, its width and height.
        now: tuple of ints, width and height of a smaller copy, in whose pixels the answer is.

    Returns:
        The part, a tuple of four ints, and the box within it, a tuple of four numbers.
    """
    scale = [to / of for to, of in zip(now, before, strict=True)] * 2
    box = [min(b * s, most) for b, s, most in zip(box, scale, now * 2, strict=True)]
    left, upper, right, lower = *map(math.floor, box[:2]), *map(math.ceil, box[2:])
    within = box[0] - left, box[1] - upper, box[2] - left, box[3] - upper
    return (left, upper, right, lower), within


def middle(width, height, ratio):
    """The largest window of a ratio of width to height, in the middle."""
    across, down = min(width, height * ratio), min(height, width / ratio)
    left, upper = (width - across) / 2, (height - down) / 2
    return left, upper, left + across, upper + down
