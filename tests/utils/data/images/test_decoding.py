"""The faster decoder of JPEG files gives what Pillow gives, for any file."""

import io
import struct

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_sample_image

from utils.data.images.decoding import read_image, read_jpeg
from utils.system.errors import UserError

PHOTO = Image.fromarray(load_sample_image("flower.jpg")[:, :600])
WHOLE, LOW = (0, 0, *PHOTO.size), (37.25, 200.5, 401.75, 426.0)


def saved(path, image=PHOTO, **options):
    image.save(path, "JPEG", **options)
    return path


def differences(one, other):
    return np.abs(one.astype(int) - other)


@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize("window", [None, WHOLE, LOW])
@pytest.mark.parametrize("size", [700, 230, 150, 100, 50])
def test_pixels_are_those_of_the_whole_photograph_made_smaller(tmp_path, mode, window, size):
    """Antialiased: decoded in full, an eighth and all between."""
    path = saved(tmp_path / "photo.jpg", PHOTO.convert(mode), quality=90)
    left, upper, right, lower = window or (86.5, 0, 513.5, 427)
    with Image.open(path) as image:
        part = image.convert("RGB").crop((int(left), int(upper), int(right + 0.5), lower))
    box = (left % 1, upper % 1, right - int(left), lower - int(upper))
    expected = part.resize((size, size), Image.Resampling.BILINEAR, box)
    shape, draw = (size, size, 3), window and (lambda *_: window)
    found = read_jpeg(path, shape, draw)
    assert (found.shape, found.dtype) == (shape, np.dtype("uint8"))
    # the smaller it is decoded, the more it is smoothed
    assert differences(found, np.asarray(expected)).mean() < 5
    assert differences(found, read_image(path, shape, draw)).max() <= 1


@pytest.mark.parametrize(
    "options",
    [
        {"progressive": True},
        {"subsampling": 0},
        {"subsampling": "4:2:2"},
        {"keep_rgb": True},
        {"icc_profile": b"\xff\xda" * 9},
        {"comment": b"Exif\0\0"},
    ],
)
def test_every_kind_of_jpeg_is_read(tmp_path, options):
    path = saved(tmp_path / "photo.jpg", **options)
    read = [read(path, (139, 100, 3)) for read in (read_jpeg, read_image)]
    assert differences(*read).max() <= 1


def test_what_is_stored_on_its_side_is_turned(tmp_path):
    exif = Image.Exif()
    said = b'<x:xmpmeta xmlns:x="adobe:ns:meta/" tiff:Orientation="6"/>'
    for turn in range(1, 9):
        exif[0x0112] = turn
        for options in ({"exif": exif}, {"xmp": said.replace(b"6", b"%d" % turn)}):
            path = saved(tmp_path / "photo.jpg", **options)
            seen = []

            def window(width, height, seen=seen):
                seen.append((width, height))
                return 0, 0, width / 2, height / 3

            shape = (90, 90, 3)
            assert differences(*(read(path, shape, window) for read in (read_jpeg, read_image))
                               ).max() <= 1  # fmt: skip
            assert seen == [PHOTO.size if turn < 5 else PHOTO.size[::-1]] * 2


def damage_nothing(whole):
    return b""


def damage_end(whole):
    return whole[: len(whole) // 2]


def damage_middle(whole):
    return whole[:20_000] + bytes(2000) + whole[22_000:]


def damage_header(whole):
    return whole[:2] + b"\xff\xff\xff\xff" + whole[6:]


def damage_size(whole):
    place = whole.index(b"\xff\xc0") + 5
    return whole[:place] + b"\xff\xff\xff\xff" + whole[place + 4 :]


def another_format(whole):
    file = io.BytesIO()
    PHOTO.save(file, "PNG")
    return file.getvalue()


def other_colors(whole):
    file = io.BytesIO()
    PHOTO.convert("CMYK").save(file, "JPEG")
    return file.getvalue()


@pytest.mark.parametrize(
    "change",
    [
        damage_nothing, damage_end, damage_middle, damage_header, damage_size, another_format,
        other_colors,
    ],
)  # fmt: skip
def test_what_is_damaged_or_no_photograph_is_for_pillow(tmp_path, change, capfd):
    """The same pixels or the same message, and no output of a C library."""
    path = saved(tmp_path / "photo.jpg", quality=90)
    path.write_bytes(change(path.read_bytes()))
    outcomes = []
    for read in (read_jpeg, read_image):
        try:
            outcomes.append(read(path, (139, 139, 3)).tolist())
        except UserError as error:
            outcomes.append(str(error))
    assert outcomes[0] == outcomes[1]
    assert tuple(capfd.readouterr()) == ("", "")


def test_a_file_that_is_gone_is_named(tmp_path):
    with pytest.raises(UserError, match=r"gone\.jpg is no image that can be read"):
        read_jpeg(tmp_path / "gone.jpg", (8, 8, 3))


@pytest.mark.parametrize("ending", ["png", "jpg", "webp"])
@pytest.mark.parametrize(("kind", "value"), [(3, 0), (3, 9), (3, 2**15), (2, ord("6"))])
def test_an_orientation_that_there_is_not_turns_nothing(kind, value, ending, tmp_path):
    """It is a short integer, of kind 3; kind 2 is text."""
    entry = struct.pack("<HHHIII", 1, 0x0112, kind, 1, value, 0)
    exif = b"Exif\0\0II*\0\x08\0\0\0" + entry
    plain = saved(tmp_path / f"plain.{ending}")
    path = saved(tmp_path / f"photo.{ending}", exif=exif)
    read = read_jpeg if ending == "jpg" else read_image
    np.testing.assert_array_equal(read(path, (90, 60, 3)), read(plain, (90, 60, 3)))


def test_a_window_is_the_part_that_it_names(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (64, 80, 3), "uint8")
    Image.fromarray(pixels).save(tmp_path / "image.png")
    found = read_image(tmp_path / "image.png", (16, 24, 3), lambda *_: (8, 32, 32, 48))
    np.testing.assert_array_equal(found, pixels[32:48, 8:32])
    # a phone's upright photograph: stored on its side
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(pixels).save(tmp_path / "turned.png", exif=exif)
    found = read_image(tmp_path / "turned.png", (16, 24, 3), lambda *_: (8, 32, 32, 48))
    np.testing.assert_array_equal(found, np.rot90(pixels, -1)[32:48, 8:32])
