"""Zip archives from anywhere: whole, and of a size that can be true."""

import zipfile


def most_unpacked(size):
    """Returns how many bytes an archive of weights may unpack to.

    Keras and PyTorch do not compress, and weights compress by a few percent; the constant is for
    small archives, of which most is text.

    Args:
        size: int, bytes of the archive.
    """
    return 4 * size + 2**26


def check_zip(path):
    """Refuses an archive that is damaged or unpacks to more than can be true.

    PyTorch itself does not look at the checksums.

    Args:
        path: path of the archive.

    Raises:
        ValueError: a member is damaged, or all together are too large.
        Exception: whatever else a damaged archive leads to.
    """
    with zipfile.ZipFile(path) as archive:
        size = sum(member.file_size for member in archive.infolist())
        if size > most_unpacked(path.stat().st_size):
            raise ValueError(f"it unpacks to {size} bytes")
        damaged = archive.testzip()
    if damaged is not None:
        raise ValueError(f"the checksum of {damaged} in it is wrong")
