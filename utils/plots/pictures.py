"""Pictures embedded in a page as data URIs."""

import base64
import io
from collections.abc import Callable
from typing import Any

from PIL import Image

COLORS = 64  # of the palette


def draw_as_data_uri(plot: Callable[..., Any], *args: Any, **options: Any) -> str:
    """Draws a figure as a data URI, with the colors reduced to a palette.

    Args:
        plot: function, such as `plot_curves`, that writes a PNG file to the binary file that is its
            first argument.
        *args, **options: its other arguments.

    Returns:
        A string.
    """
    whole, small = io.BytesIO(), io.BytesIO()
    plot(whole, *args, **options)
    picture = Image.open(whole).convert("RGB").quantize(COLORS, dither=Image.Dither.NONE)
    picture.save(small, "PNG", optimize=True)
    return data_uri(small.getvalue())


def data_uri(content: bytes) -> str:
    """Returns the content of a PNG file as a data URI."""
    return f"data:image/png;base64,{base64.b64encode(content).decode()}"
