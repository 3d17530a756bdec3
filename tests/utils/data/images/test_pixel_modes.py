"""Every mode of pixels gives the colors that a viewer shows, or is refused by name."""

import numpy as np
import pytest
from PIL import Image

from utils.data.images.decoding import read_image
from utils.data.images.pixel_modes import convert_pixels
from utils.system.errors import UserError

LEVELS = (np.arange(4096).reshape(64, 64) * 16).astype("uint16")


@pytest.mark.parametrize(
    ("name", "pixels"),
    [("a.png", LEVELS), ("a.tif", LEVELS), ("a.tif", LEVELS.astype(">u2")), ("a.pgm", LEVELS)],
)
def test_of_16_bits_the_high_byte_is_read(tmp_path, name, pixels):
    Image.fromarray(pixels).save(tmp_path / name)
    expected = np.repeat((LEVELS >> 8)[..., None], 3, axis=-1)
    assert len(np.unique(expected)) == 256
    np.testing.assert_array_equal(read_image(tmp_path / name, (64, 64, 3)), expected)
    np.testing.assert_array_equal(read_image(tmp_path / name, (64, 64, 1)), expected[..., :1])


def test_of_16_bits_in_tiff_white_may_be_zero(tmp_path):
    Image.fromarray(LEVELS).save(tmp_path / "a.tif", tiffinfo={262: 0})
    found = read_image(tmp_path / "a.tif", (64, 64, 1))[..., 0]
    np.testing.assert_array_equal(found, 255 - (LEVELS >> 8))


@pytest.mark.parametrize("channels", [1, 3])
def test_what_is_opaque_is_unchanged_and_what_is_transparent_is_white(tmp_path, channels, rng):
    colors = rng.integers(0, 256, (32, 48, channels), "uint8")
    alpha = rng.choice([0, 255], (32, 48, 1)).astype("uint8")
    mode = {1: "LA", 3: "RGBA"}[channels]
    image = Image.fromarray(np.concatenate([colors, alpha], -1), mode)
    expected = np.where(alpha == 255, colors, 255)
    for name in ("a.png", "a.tif"):
        image.save(tmp_path / name)
        found = read_image(tmp_path / name, (32, 48, channels))
        np.testing.assert_array_equal(found, expected)


def test_half_transparent_pixels_are_mixed_with_white(tmp_path):
    Image.new("RGBA", (4, 4), (0, 100, 255, 128)).save(tmp_path / "a.png")
    found = read_image(tmp_path / "a.png", (4, 4, 3))
    share = 128 / 255
    expected = np.array([0, 100, 255]) * share + 255 * (1 - share)
    assert np.abs(found - expected).max() <= 1


@pytest.mark.parametrize(
    ("mode", "color", "transparency"),
    [("P", 7, 7), ("L", 9, 9), ("RGB", (1, 2, 3), (1, 2, 3)), ("I;16", 300, 300)],
)
def test_a_color_that_stands_for_transparent_is_white(tmp_path, mode, color, transparency):
    image = Image.new(mode, (4, 4), color)
    if mode == "P":
        image.putpalette([10, 20, 30] * 256)
    image.save(tmp_path / "a.png", transparency=transparency)
    assert (read_image(tmp_path / "a.png", (4, 4, 3)) == 255).all()
    image.save(tmp_path / "b.png")
    assert (read_image(tmp_path / "b.png", (4, 4, 3)) < 50).all()


@pytest.mark.parametrize("mode", Image.MODES)
def test_every_mode_is_converted_or_refused_by_name(mode):
    image = Image.new(mode, (4, 4))
    if mode in ("I", "F", "HSV"):
        with pytest.raises(ValueError, match=f"mode '{mode}'"):
            convert_pixels(image, "RGB")
    else:
        for wanted in ("L", "RGB"):
            result = convert_pixels(image, wanted)
            assert (result.mode, result.size) == (wanted, (4, 4))


def test_lab_colors_are_converted(tmp_path):
    colors = np.array([[[200, 90, 80], [90, 160, 100], [128, 128, 128], [255, 255, 255]]], "uint8")
    Image.fromarray(colors).convert("LAB").save(tmp_path / "a.tif")
    with Image.open(tmp_path / "a.tif") as image:
        assert image.mode == "LAB"
    assert np.abs(read_image(tmp_path / "a.tif", (1, 4, 3)) - colors.astype(int)).max() <= 4


@pytest.mark.parametrize("mode", ["I", "F"])
def test_a_file_that_is_refused_is_named_with_its_mode(tmp_path, mode):
    Image.new(mode, (4, 4)).save(tmp_path / "a.tif")
    with pytest.raises(UserError, match=rf"a\.tif is no image that can be read: .*mode '{mode}'"):
        read_image(tmp_path / "a.tif", (4, 4, 3))


def test_a_tiff_on_its_side_is_turned_once(tmp_path, rng):
    pixels = rng.integers(0, 256, (6, 10, 3), "uint8")
    for orientation, expected in ((6, np.rot90(pixels, -1)), (3, np.rot90(pixels, 2))):
        for kind in ("raw", "tiff_lzw"):
            Image.fromarray(pixels).save(
                tmp_path / "a.tif", compression=kind, tiffinfo={274: orientation}
            )
            found = read_image(tmp_path / "a.tif", expected.shape)
            np.testing.assert_array_equal(found, expected)
