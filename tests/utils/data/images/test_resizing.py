"""Resizing against the triangle filter written out, by either package."""

import numpy as np
import pytest

from utils.data.images import decoding


def triangles(start, end, size, length):
    """The filter along an axis, a matrix `(size, length)`: as wide as the scale, at least 1."""
    scale = (end - start) / size
    centers = start + (np.arange(size) + 0.5) * scale
    distances = np.abs(np.arange(length) + 0.5 - centers[:, None])
    weights = np.maximum(0, 1 - distances / max(scale, 1))
    return weights / weights.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("package", ["cykooz", "pillow"])
@pytest.mark.parametrize("size", [(40, 30), (13, 7), (25, 64)])
@pytest.mark.parametrize("box", [(0, 0, 41, 33), (3.25, 0.5, 40.5, 31.75)])
def test_is_the_triangle_filter(box, size, package, monkeypatch, rng):
    if package == "pillow":
        monkeypatch.setattr(decoding, "cykooz", None)
    elif decoding.cykooz is None:
        pytest.skip("cykooz-resizer has no wheel for this platform")
    pixels = rng.integers(0, 256, (33, 41, 3), "uint8")
    left, upper, right, lower = box
    rows, columns = triangles(upper, lower, size[0], 33), triangles(left, right, size[1], 41)
    expected = np.einsum("yr,xc,rck->yxk", rows, columns, pixels)
    found = decoding.resize(pixels, box, size)
    assert (found.shape, found.dtype) == ((*size, 3), np.dtype("uint8"))
    np.testing.assert_allclose(found, expected, atol=1.01)  # rounded after either axis
