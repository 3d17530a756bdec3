"""Small folders of image files for tests: real photographs, cropped into classes."""

import io
import struct
import zlib

import numpy as np
from PIL import Image
from sklearn.datasets import load_sample_images

CLASSES = ("flower", "temple")


def write_image_folder(folder, train=12, test=4, sizes=(40, 60)):
    """Crops scikit-learn's two sample photographs into `train` and `test` images of two classes."""
    rng = np.random.default_rng(0)
    temple, flower = load_sample_images().images
    for part, count in (("train", train), ("test", test)):
        for name, photo in zip(CLASSES, (flower, temple), strict=True):
            (folder / part / name).mkdir(parents=True)
            for number in range(count):
                height, width = rng.integers(*sizes, 2)
                y = rng.integers(0, photo.shape[0] - height)
                x = rng.integers(0, photo.shape[1] - width)
                kind = "png" if number % 3 == 0 else "jpg"
                image = Image.fromarray(photo[y : y + height, x : x + width])
                image.save(folder / part / name / f"{number:03}.{kind}")
    return folder


def encoded(pixels, kind):
    """The bytes of an image file."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind)
    return file.getvalue()


def png_bomb():
    """An image file that claims 100 megapixels in 45 bytes."""
    header = b"IHDR" + struct.pack(">IIBBBBB", 10_000, 10_000, 8, 2, 0, 0, 0)
    content = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + header
    return content + struct.pack(">I", zlib.crc32(header)) + struct.pack(">I", 5) + b"IDAT"
