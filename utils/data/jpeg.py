"""JPEG photographs of a data set, read as `read_image` reads them in two thirds of the time.

Reading is most of what a training on a folder costs the CPU. Worker processes import this file: no
Keras here.
"""

import io
import math

import simplejpeg
from PIL import Image

from .decoding import ORIENTATION, UPRIGHT, middle, part_of, read_image
from .resizing import resized

COLORS = ("YCbCr", "RGB", "Gray")
SMALLEST = 8  # a JPEG can be decoded in half, a quarter and an eighth of its size
SCAN = b"\xda"  # the marker that pixels follow
TURNING = (b"Exif\0\0", b"tiff:Orientation")  # where it can say that it is to be turned


def read_jpeg(path, shape, window=None):
    """Reads a JPEG photograph as `read_image` does, up to a grey level; other files by it.

    Args:
        path: path of the file.
        shape: tuple of ints, `(height, width, 3)` of what is wanted.
        window: function from the image's width and height to the part that is wanted, as for
            `read_image`. Defaults to the middle.

    Returns:
        A uint8 array of that shape.

    Raises:
        UserError: the file is no image of a known format, damaged, or enormous.
    """
    pixels = None
    try:
        with open(path, "rb") as file:
            data = file.read()
        rows, columns, colors, _ = simplejpeg.decode_jpeg_header(data)
        if colors in COLORS and rows * columns <= Image.MAX_IMAGE_PIXELS and _upright(data):
            box = window(columns, rows) if window else middle(columns, rows, shape[1] / shape[0])
            factor = _factor(box, shape)
            pixels = simplejpeg.decode_jpeg(
                data, min_height=math.ceil(rows / factor), min_width=math.ceil(columns / factor)
            )
    except Exception:  # damaged or no JPEG: what can be read or said of it, Pillow knows
        pass
    if pixels is None:
        return read_image(path, shape, window)
    (left, upper, right, lower), box = part_of(box, (columns, rows), pixels.shape[1::-1])
    return resized(pixels[upper:lower, left:right], box, shape[:2])


def _upright(data):
    """Whether a JPEG is to be shown as it is stored."""
    header = _header(data)
    if not any(mark in header for mark in TURNING):
        return True
    with Image.open(io.BytesIO(data), formats=["JPEG"]) as image:
        return image.getexif().get(ORIENTATION, UPRIGHT) == UPRIGHT


def _header(data):
    """What comes before a JPEG's pixels: segments of a marker and a length, which counts itself."""
    end = 2
    while data[end : end + 1] == b"\xff":
        if data[end + 1 : end + 2] == SCAN:
            return data[:end]
        end += 2 + int.from_bytes(data[end + 2 : end + 4])
    return data


def _factor(box, shape):
    """By how much a JPEG may be smaller, a power of 2, and a box of it not smaller than a shape."""
    left, upper, right, lower = box
    shrink = min((right - left) / shape[1], (lower - upper) / shape[0], SMALLEST)
    return 2 ** int(math.log2(shrink)) if shrink > 1 else 1
