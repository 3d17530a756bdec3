"""Image files as arrays, safely for untrusted files: by Pillow, and JPEG by a faster decoder.

Decoding takes most of the CPU time of training on a folder. Worker processes import this file: no
Keras here.
"""

import importlib.util
import io
import math
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError, features

from ...system.errors import UserError
from .encoded import LARGEST_FILE, SCAN_MARK, read_encoded, silence_libtiff
from .pixel_modes import convert_pixels

# not every platform has a wheel; Pillow takes 1.4 times as long for a photograph
try:
    import cykooz_resizer as cykooz
except ImportError:
    cykooz = None

HAS_SIMPLEJPEG = importlib.util.find_spec("simplejpeg") is not None
JPEG_ENDINGS = (".jpg", ".jpeg", ".jpe", ".jfif")
ENDINGS = (
    ".png", *JPEG_ENDINGS, ".bmp", ".gif", ".webp", ".tif", ".tiff", ".pbm", ".pgm", ".ppm", ".pnm",
    ".avif",
)  # fmt: skip
# those that Pillow needs no other program for; AVIF is not in every Pillow
FORMATS = ["PNG", "JPEG", "BMP", "GIF", "WEBP", "TIFF", "PPM"]
FORMATS += ["AVIF"] if features.check("avif") else []
ORIENTATION, UPRIGHT = 0x0112, 1  # EXIF tag; orientations from 5 on swap width and height

# color spaces of JPEG files that simplejpeg decodes; Pillow decodes others, such as CMYK
COLORS = ("YCbCr", "RGB", "Gray")
LARGEST_REDUCTION = 8  # a JPEG can be decoded at 1/2, 1/4 and 1/8 of its size
# of EXIF and XMP, either of which can hold the orientation
ORIENTATION_MARKS = (b"Exif\0\0", b"tiff:Orientation")

# they are about damage that Pillow can repair, and about large images, which are refused below
warnings.filterwarnings("ignore", module="PIL")
silence_libtiff()

Box = Sequence[float]  # left, upper, right and lower border in pixels
Window = Callable[[int, int], Box]  # from an image's width and height to the part to read


def is_image_file(path: Path) -> bool:
    """Returns whether a file is one that `read_image` is meant for.

    Args:
        path: path of the file.

    Returns:
        `True` for a regular file that is not hidden and has one of `ENDINGS`, or that has no ending
        and begins as an image does.
    """
    if path.name[0] == "." or not path.is_file():  # a pipe would block the reader
        return False
    if path.suffix:
        return path.suffix.lower() in ENDINGS
    try:
        if path.stat().st_size > LARGEST_FILE:
            return False
        with Image.open(path, formats=FORMATS):
            return True
    except Exception:  # a damaged image can fail in any way
        return False


def read_image(path: Path, shape: Sequence[int], window: Window | None = None) -> np.ndarray:
    """Reads an image file, or a window of it, resized to a shape.

    Args:
        path: path of the file.
        shape: tuple of ints, `(height, width, channels)` of the result; one channel is gray.
        window: function from the image's width and height to the part to read: left, upper, right
            and lower border in pixels. Defaults to the largest part of the shape's aspect ratio in
            the middle.

    Returns:
        A uint8 array of that shape.

    Raises:
        UserError: the file is no image of a known format, is damaged, or is enormous.
    """
    height, width, channels = shape
    largest = Image.MAX_IMAGE_PIXELS or math.inf
    try:
        with Image.open(io.BytesIO(read_encoded(path)), formats=FORMATS) as image:
            if math.prod(image.size) > largest:
                raise ValueError(f"Image size of {math.prod(image.size)} pixels: a bomb?")
            # Pillow turns a TIFF file when it loads it, and tells the size after that
            turned = image.format == "TIFF"
            orientation = UPRIGHT if turned else _orientation(image)
            size = image.size if orientation < 5 else image.size[::-1]
            box = window(*size) if window else middle(*size, width / height)
            shrink = min((box[2] - box[0]) / width, (box[3] - box[1]) / height)
            if shrink >= 2:  # a JPEG can be decoded at half its size or less, for half the time
                draft = [math.ceil(side / shrink) for side in image.size]
                image.draft(None, (draft[0], draft[1]))
            # `exif_transpose` copies an image that is upright already
            upright = image if orientation == UPRIGHT else ImageOps.exif_transpose(image)
            mode = "L" if channels == 1 else "RGB"
            upright.load()
            upright = convert_pixels(upright, mode)
        part, within = enclosing_part(box, size, upright.size)
        resized = upright.crop(part).resize((width, height), Image.Resampling.BILINEAR, within)
    except UnidentifiedImageError:
        raise UserError(
            f"{path} is no image that can be read: cannot identify image file as any of "
            f"{', '.join(FORMATS)}"
        ) from None
    except Exception as error:  # a damaged image can fail in any way
        raise UserError(f"{path} is no image that can be read: {error}") from None
    return np.asarray(resized).reshape(shape)


def _orientation(image: Image.Image) -> int:
    """How an image is to be turned: 1 to 8, as its EXIF data say; damaged data say nothing."""
    try:
        found = image.getexif().get(ORIENTATION)
    except Exception:  # data of any kind can stand there
        return UPRIGHT
    return found if isinstance(found, int) and found in range(1, 9) else UPRIGHT


def enclosing_part(
    box: Box, size: Sequence[int], decoded: Sequence[int]
) -> tuple[tuple[int, int, int, int], tuple[float, float, float, float]]:
    """Returns the smallest part of an image, in whole pixels, that contains a box.

    Only this part is resized, so that no pixel outside it leaks in at the borders.

    Args:
        box: left, upper, right and lower border in pixels of the image.
        size: pair of ints, width and height of the image.
        decoded: pair of ints, width and height at which it was decoded.

    Returns:
        The part, four ints in pixels of the decoded image, and the box relative to the part, four
        numbers.
    """
    scales = [to / of for to, of in zip(decoded, size, strict=True)] * 2
    limits = [*decoded, *decoded]
    borders = [min(b * s, most) for b, s, most in zip(box, scales, limits, strict=True)]
    left, upper = map(math.floor, borders[:2])
    right, lower = map(math.ceil, borders[2:])
    within = borders[0] - left, borders[1] - upper, borders[2] - left, borders[3] - upper
    return (left, upper, right, lower), within


def middle(width: float, height: float, ratio: float) -> Box:
    """Returns the largest box with a ratio of width to height, in the middle of an image."""
    across, down = min(width, height * ratio), min(height, width / ratio)
    left, upper = (width - across) / 2, (height - down) / 2
    return left, upper, left + across, upper + down


def read_file(path: Path, shape: Sequence[int], window: Window | None = None) -> np.ndarray:
    """Reads an image file by the fastest decoder that is installed; see `read_image`."""
    is_jpeg = path.suffix.lower() in JPEG_ENDINGS and shape[-1] == 3
    read = read_jpeg if is_jpeg and HAS_SIMPLEJPEG else read_image
    return read(path, shape, window)


def read_jpeg(path: Path, shape: Sequence[int], window: Window | None = None) -> np.ndarray:
    """Reads a JPEG file as `read_image` does, faster, and within one gray level of it.

    What the faster decoder does not take, such as a damaged file or one on its side, goes to
    `read_image`.

    Args:
        path: path of the file.
        shape: tuple of ints, `(height, width, 3)` of the result.
        window: function as for `read_image`.

    Returns:
        A uint8 array of that shape.

    Raises:
        UserError: the file is no image of a known format, is damaged, or is enormous.
    """
    import simplejpeg  # no other data set needs it

    pixels = None
    try:
        data = read_encoded(path)
        rows, columns, colors, _ = simplejpeg.decode_jpeg_header(data)
        largest = Image.MAX_IMAGE_PIXELS or math.inf
        if colors in COLORS and rows * columns <= largest and _is_upright(data):
            box = window(columns, rows) if window else middle(columns, rows, shape[1] / shape[0])
            factor = _reduction(box, shape)
            pixels = simplejpeg.decode_jpeg(
                data, min_height=math.ceil(rows / factor), min_width=math.ceil(columns / factor)
            )
    except Exception:  # damaged, too large or no JPEG: Pillow reads it, or says what is wrong
        pass
    if pixels is None:
        return read_image(path, shape, window)
    (left, upper, right, lower), within = enclosing_part(box, (columns, rows), pixels.shape[1::-1])
    return resize(pixels[upper:lower, left:right], within, shape[:2])


def _is_upright(data: bytes) -> bool:
    """Returns whether a JPEG is displayed as it is stored, neither rotated nor mirrored."""
    header = _header(data)
    if not any(mark in header for mark in ORIENTATION_MARKS):
        return True
    with Image.open(io.BytesIO(data), formats=["JPEG"]) as image:
        return _orientation(image) == UPRIGHT


def _header(data: bytes) -> bytes:
    """Returns what precedes a JPEG's pixels, or all of it."""
    end = 2
    # segments of a marker and a length, which includes its own two bytes
    while data[end : end + 1] == b"\xff":
        if data[end : end + 2] == SCAN_MARK:
            return data[:end]
        end += 2 + int.from_bytes(data[end + 2 : end + 4])
    return data


def _reduction(box: Box, shape: Sequence[int]) -> int:
    """Returns the largest power of 2 by which a JPEG can be reduced with a box still that large."""
    left, upper, right, lower = box
    shrink = min((right - left) / shape[1], (lower - upper) / shape[0], LARGEST_REDUCTION)
    return 2 ** int(math.log2(shrink)) if shrink > 1 else 1


def resize(
    pixels: np.ndarray, box: tuple[float, float, float, float], size: Sequence[int]
) -> np.ndarray:
    """Resizes a box of an image with a triangle filter, wider where the image shrinks.

    Args:
        pixels: uint8 array `(height, width, 3)`.
        box: left, upper, right and lower border in pixels; fractions of a pixel count.
        size: pair of ints, height and width of the result.

    Returns:
        A uint8 array `(height, width, 3)` of that size.
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
