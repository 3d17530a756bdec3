"""Every mode of pixels that Pillow has, converted to gray or RGB or refused by name."""

import numpy as np
from PIL import Image

CONVERTED = ("1", "L", "P", "RGB", "RGBX", "CMYK", "YCbCr")
TRANSPARENT = ("LA", "PA", "RGBA")
THROUGH = {"LAB": "RGB", "La": "LA", "RGBa": "RGBA"}  # Pillow converts them to no other mode
SIXTEEN_BITS = ("I;16", "I;16L", "I;16B", "I;16N")
# Pillow gives 16 bits of these formats as 32-bit integers: always, or in older versions
SIXTEEN_BITS_IN_I = ("PNG", "PPM")
BITS_PER_SAMPLE, PHOTOMETRIC, WHITE_IS_ZERO = 258, 262, 0  # tags of TIFF and a value


def convert_pixels(image: Image.Image, mode: str) -> Image.Image:
    """Converts an image to 8 bits per channel, without transparency.

    Of 16 bits the high 8 are kept. Transparent pixels are put on white: the colors stored under
    them are not meant to be seen.

    Args:
        image: a loaded Pillow image.
        mode: string, `"L"` for gray or `"RGB"`.

    Returns:
        A Pillow image of that mode; the same one where there is nothing to convert.

    Raises:
        ValueError: no range from black to white is known for the image's mode, or Pillow cannot
            convert it.
    """
    if image.mode in SIXTEEN_BITS or (image.mode == "I" and image.format in SIXTEEN_BITS_IN_I):
        image = _high_byte(image)
    if image.mode in THROUGH:
        image = image.convert(THROUGH[image.mode])
    if image.mode in TRANSPARENT or "transparency" in image.info:
        image = _on_white(image)
    if image.mode not in CONVERTED:
        raise ValueError(
            f"its pixels have the mode {image.mode!r}, which cannot be shown as 8 bits without "
            "a choice of range or colors; save it as 8-bit gray or RGB"
        )
    return image if image.mode == mode else image.convert(mode)


def _high_byte(image: Image.Image) -> Image.Image:
    levels = np.asarray(image).astype("uint16")
    tags = getattr(image, "tag_v2", {})
    bits = tags.get(BITS_PER_SAMPLE, (16,))[0]  # 12 in some TIFF files
    gray = (levels >> (bits - 8)).astype("uint8")
    if tags.get(PHOTOMETRIC) == WHITE_IS_ZERO:
        gray = 255 - gray
    result = Image.fromarray(gray)
    if "transparency" in image.info:  # a level that stands for transparent pixels
        alpha = np.where(levels == image.info["transparency"], 0, 255).astype("uint8")
        result.putalpha(Image.fromarray(alpha))
    return result


def _on_white(image: Image.Image) -> Image.Image:
    with_alpha = image.convert("RGBA")
    result = Image.new("RGB", image.size, "white")
    result.paste(with_alpha, mask=with_alpha.getchannel("A"))
    return result
