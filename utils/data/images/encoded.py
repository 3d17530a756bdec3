"""The bytes of image files, within limits on what decoding them can cost.

Worker processes import this file: no Keras here.
"""

import contextlib
import ctypes
import os
import re
import stat
from pathlib import Path

from PIL import Image

# bytes: what the largest image that Pillow opens takes in memory, as 8-bit RGB
LARGEST_FILE = 2**28
# of a JPEG: every scan goes over all pixels again. Programs write 10; libtiff allows as many
MOST_SCANS = 100

JPEG_START = b"\xff\xd8"
SCAN, END = 0xDA, 0xD9
SCAN_MARK = bytes([0xFF, SCAN])
# not what stands for a byte of pixels (0), nor the restart markers within a scan (0xD0 to 0xD7)
_MARKER = re.compile(rb"\xff+([\x01-\xcf\xd8-\xfe])")
_WITHOUT_LENGTH = (0x01, 0xD8)


def read_encoded(path: Path) -> bytes:
    """Reads an image file, as it is encoded.

    Args:
        path: path of the file.

    Returns:
        The file's content.

    Raises:
        ValueError: the file is no regular file, is too large, or has so many scans that decoding
            it takes minutes.
        OSError: the file cannot be read.
    """
    # a pipe without a writer would block
    with open(os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0)), "rb") as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise ValueError("it is no regular file")
        if status.st_size > LARGEST_FILE:
            raise ValueError(
                f"it has {status.st_size} bytes; at most {LARGEST_FILE} ({LARGEST_FILE >> 20} MiB) "
                "are read"
            )
        data = file.read(LARGEST_FILE)
    if data.startswith(JPEG_START) and _scans(data) > MOST_SCANS:
        raise ValueError(
            f"it is a JPEG of more than {MOST_SCANS} scans, where programs write about 10: a bomb?"
        )
    return data


def _scans(data: bytes) -> int:
    """Counts the scans of a JPEG, up to one more than `MOST_SCANS`."""
    most = data.count(SCAN_MARK)  # also those in profiles, thumbnails and what follows the image
    if most <= MOST_SCANS:
        return most
    count, marker = 0, _MARKER.search(data, 2)
    while marker and marker[1][0] != END and count <= MOST_SCANS:
        place, kind = marker.end(), marker[1][0]
        count += kind == SCAN
        length = 0 if kind in _WITHOUT_LENGTH else int.from_bytes(data[place : place + 2])
        marker = _MARKER.search(data, place + length)
    return count


def silence_libtiff() -> None:
    """Keeps libtiff from printing what is wrong with a file: Pillow raises an error that says it.

    Pillow has no setting for that. Where its copy of libtiff cannot be reached, nothing changes.
    """
    with contextlib.suppress(AttributeError, OSError, TypeError):
        ctypes.CDLL(Image.core.__file__).TIFFSetErrorHandler(None)
