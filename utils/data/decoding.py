"""Image files decoded without trust: any format that Pillow reads by itself, JPEG by a faster way.

Reading is most of what training on a folder costs the CPU. Worker processes import this file: it
does without Keras.
"""

import io
import math
import warnings

import numpy as np
from PIL import Image, ImageOps

from ..system.errors import UserError

try:  # not every platform has a wheel; Pillow takes 1.4 times as long for a photograph
    import cykooz_resizer as cykooz
except ImportError:
    cykooz = None

ENDINGS = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp")
FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP")
JPEG_ENDINGS = (".jpg", ".jpeg")
ORIENTATION, UPRIGHT = 0x0112, 1  # EXIF tag; from 5 on, width and height change places

# what a JPEG file may hold to be decoded by simplejpeg
COLORS = ("YCbCr", "RGB", "Gray")
SMALLEST = 8  # a JPEG can be decoded in half, a quarter and an eighth of its size
SCAN = b"\xda"  # the marker that pixels follow
TURNING = (b"Exif\0\0", b"tiff:Orientation")  # where it can say that it is to be turned

# damage that can be read around, and oversized images, which are refused below
warnings.filterwarnings("ignore", module="PIL")


def read_image(path, shape, window=None):
    """Reads an image file, the middle of it as large as fits, without trusting it.

    Args:
        path: path of the file.
        shape: tuple of ints, `(height, width, channels)` of what is wanted; 1 channel is gray.
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


def read_jpeg(path, shape, window=None):
    """Reads a JPEG photograph as `read_image` does, up to a gray level; other files by it.

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
    import simplejpeg  # which no other data set needs

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
    return resize(pixels[upper:lower, left:right], box, shape[:2])


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


def resize(pixels, box, size):
    """Resizes a box of an image with a triangle filter as wide as the scale asks for.

    Args:
        pixels: uint8 array `(height, width, 3)`.
        box: left, upper, right and lower border in pixels; not only whole ones.
        size: tuple of ints, height and width of what is wanted.

    Returns:
        A uint8 array of that size.
    """
    height, width = size
    if cykooz is None:
        image = Image.fromarray(np.ascontiguousarray(pixels))
        return np.asarray(image.resize((width, height), Image.Resampling.BILINEAR, box))
    left, upper, right, lower = box
    colors = cykooz.PixelType.U8x3
    source = cykooz.ImageData(*pixels.shape[1::-1], colors, pixels.tobytes())
    result = cykooz.ImageData(width, height, colors)
    options = cykooz.ResizeOptions(
        cykooz.ResizeAlg.convolution(cykooz.FilterType.bilinear),
        crop_box=cykooz.CropBox(left, upper, right - left, lower - upper),
    )
    cykooz.Resizer().resize(source, result, options)
    return np.frombuffer(result.get_buffer(), "uint8").reshape(height, width, 3)
