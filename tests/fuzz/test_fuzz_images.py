"""Image files with any content: pixels of the shape that is asked for, or a refusal."""

import io

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st
from PIL import Image

from tests.fuzz.cases import cases, damaged, outcome
from utils.data.images.decoding import read_image, read_jpeg

pytestmark = pytest.mark.once


def encoded(kind, mode):
    pixels = np.random.default_rng(0).integers(0, 256, (9, 12, 3), "uint8")
    file = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(file, kind)
    return file.getvalue()


FILES = [
    encoded(*form)
    for form in [
        ("PNG", "RGB"), ("PNG", "P"), ("PNG", "RGBA"), ("PNG", "L"), ("JPEG", "RGB"),
        ("JPEG", "L"), ("JPEG", "CMYK"), ("BMP", "RGB"), ("GIF", "P"), ("WEBP", "RGBA"),
        ("TIFF", "RGB"),
    ]
]  # fmt: skip


@cases(200)
@hypothesis.given(
    content=st.one_of(st.sampled_from(FILES).flatmap(damaged), st.binary(max_size=100)),
    channels=st.sampled_from([1, 3]),
)
def test_image(content, channels, tmp_path_factory):
    path = tmp_path_factory.getbasetemp() / "fuzzed.png"
    path.write_bytes(content)
    pixels = outcome(lambda: read_image(path, (8, 8, channels)))
    if pixels is not None:
        assert pixels.dtype == "uint8"
        assert pixels.shape == (8, 8, channels)
    # what is accepted when a folder is looked at is read in the training
    found = outcome(lambda: read_jpeg(path, (8, 8, 3)))
    assert found is not None or pixels is None
    if found is not None:
        assert found.dtype == "uint8"
        assert found.shape == (8, 8, 3)
