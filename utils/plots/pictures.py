"""Pictures that a page holds itself, as data URIs."""

import base64
import io

from PIL import Image

COLORS = 64  # of a picture


def draw_as_data_uri(plot, *args, **options):
    """Returns what a function draws, as a data URI of a third of the bytes that it wrote.

    Args:
        plot: function of a binary file, such as `plot_curves`, that writes a PNG file.
        *args, **options: its other arguments.
    """
    whole, small = io.BytesIO(), io.BytesIO()
    plot(whole, *args, **options)
    picture = Image.open(whole).convert("RGB").quantize(COLORS, dither=Image.Dither.NONE)
    picture.save(small, "PNG", optimize=True)
    return data_uri(small.getvalue())


def data_uri(content):
    """Returns the content of a PNG file, bytes, as a data URI."""
    return f"data:image/png;base64,{base64.b64encode(content).decode()}"
