"""What an image file may cost: bytes in memory, scans over its pixels, lines on stderr."""

import io
import os
import re

import numpy as np
import pytest
from PIL import Image

from utils.data.datasets import load_dataset
from utils.data.images import encoded
from utils.data.images.decoding import is_image_file, read_image, read_jpeg
from utils.data.images.encoded import LARGEST_FILE, MOST_SCANS, read_encoded
from utils.system.errors import UserError

pytestmark = pytest.mark.once
PIXELS = np.random.default_rng(0).integers(0, 256, (40, 48, 3), "uint8")


def progressive(**options):
    """A progressive JPEG, and where its scans begin."""
    file = io.BytesIO()
    Image.fromarray(PIXELS).save(file, "JPEG", progressive=True, **options)
    data = file.getvalue()
    return data, [found.start() for found in re.finditer(b"\xff\xda", data)]


def with_scans(count):
    """A progressive JPEG whose last scan is repeated."""
    data, starts = progressive()
    last = data[starts[-1] : -2]
    return data[:-2] + last * (count - len(starts)) + b"\xff\xd9"


@pytest.mark.parametrize("read", [read_image, read_jpeg])
def test_a_file_that_is_extended_to_gigabytes_is_refused_by_its_size(tmp_path, read, monkeypatch):
    path = tmp_path / "photo.jpg"
    path.write_bytes(progressive()[0])
    os.truncate(path, 3 * 2**30)  # without its own place on the disk
    with pytest.raises(UserError, match=r"photo\.jpg is no image.*3221225472 bytes; at most 26"):
        read(path, (8, 8, 3))
    assert not is_image_file(path.rename(tmp_path / "photo"))
    # a picture that is no larger than allowed is read, whatever follows it
    (tmp_path / "photo.jpg").write_bytes(progressive()[0] + bytes(1000))
    assert read(tmp_path / "photo.jpg", (8, 8, 3)).shape == (8, 8, 3)
    monkeypatch.setattr(encoded, "LARGEST_FILE", 1000)
    with pytest.raises(UserError, match="at most 1000"):
        read(tmp_path / "photo.jpg", (8, 8, 3))


def test_the_largest_picture_without_compression_may_be_read():
    assert 3 * Image.MAX_IMAGE_PIXELS <= LARGEST_FILE


def test_what_is_extended_is_left_out_of_a_folder(tmp_path):
    pytest.importorskip("grain", reason="the data set folder needs Grain")
    for name in ("a", "b"):
        (tmp_path / "train" / name).mkdir(parents=True)
        (tmp_path / "test" / name).mkdir(parents=True)
        for part in ("train", "test"):
            Image.fromarray(PIXELS).save(tmp_path / part / name / "1.png")
    large = tmp_path / "train" / "a" / "2.jpg"
    large.write_bytes(progressive()[0])
    os.truncate(large, 3 * 2**30)
    said = []
    found = load_dataset("folder", str(tmp_path), announce=said.append, corrupt="skip")
    assert len(found.x_train) == 2
    assert "2.jpg is no image that can be read: it has 3221225472 bytes" in said[0]


@pytest.mark.parametrize("read", [read_image, read_jpeg])
def test_a_jpeg_of_too_many_scans_is_refused(tmp_path, read):
    (tmp_path / "few.jpg").write_bytes(with_scans(MOST_SCANS))
    assert read(tmp_path / "few.jpg", (8, 8, 3)).shape == (8, 8, 3)
    (tmp_path / "bomb.jpg").write_bytes(with_scans(MOST_SCANS + 1))
    with pytest.raises(UserError, match=r"bomb\.jpg is no image.* more than 100 scans"):
        read(tmp_path / "bomb.jpg", (8, 8, 3))


def test_scans_of_a_bomb_are_found_behind_padding_and_restart_markers(tmp_path):
    data = with_scans(MOST_SCANS + 1)
    for inserted in (b"\xff\xff", b"\xff\xd3", b"\xff\x01", b"\xff\xfe\0\4\xff\xd9", b"\0\0"):
        (tmp_path / "bomb.jpg").write_bytes(data.replace(b"\xff\xda", inserted + b"\xff\xda"))
        with pytest.raises(ValueError, match="scans"):
            read_encoded(tmp_path / "bomb.jpg")


@pytest.mark.parametrize("place", ["profile", "after"])
def test_marks_that_are_no_scans_do_not_count(tmp_path, place):
    """A color profile, a thumbnail or a film after the picture can hold any bytes."""
    marks = b"\xff\xda" * 5 * MOST_SCANS
    data = progressive(icc_profile=marks)[0] if place == "profile" else progressive()[0] + marks
    (tmp_path / "photo.jpg").write_bytes(data)
    expected = np.asarray(Image.open(io.BytesIO(data)))
    np.testing.assert_array_equal(read_image(tmp_path / "photo.jpg", PIXELS.shape), expected)


@pytest.mark.parametrize("read", [read_image, read_jpeg])
def test_a_pipe_is_refused_and_not_waited_for(tmp_path, read):
    os.mkfifo(tmp_path / "pipe.jpg")
    with pytest.raises(UserError, match="it is no regular file"):
        read(tmp_path / "pipe.jpg", (8, 8, 3))


def test_a_damaged_tiff_is_one_error_and_nothing_else(tmp_path, capfd):
    file = io.BytesIO()
    Image.fromarray(PIXELS).save(file, "TIFF", compression="tiff_deflate")
    damaged = bytearray(file.getvalue())
    damaged[200:400] = bytes(200)
    (tmp_path / "scan.tif").write_bytes(damaged)
    with pytest.raises(UserError, match=r"scan\.tif is no image that can be read: decoder error"):
        read_image(tmp_path / "scan.tif", (8, 8, 3))
    assert tuple(capfd.readouterr()) == ("", "")


def test_text_is_refused_by_the_formats_there_are(tmp_path):
    (tmp_path / "text.png").write_text("no image")
    with pytest.raises(UserError, match=r"as any of PNG, JPEG, BMP, GIF, WEBP, TIFF, PPM"):
        read_image(tmp_path / "text.png", (8, 8, 3))
