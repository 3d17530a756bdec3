"""Checks of zip archives from anywhere: undamaged, and not larger unpacked than weights can be."""

import zipfile


def most_unpacked(size):
    """Returns how many bytes an archive of weights may unpack to.

    Keras and PyTorch do not compress their archives, and a user's zip program saves only a few
    percent of weights. The constant is for small archives, which are mostly text.

    Args:
        size: int, bytes of the archive.
    """
    return 4 * size + 2**26


def check_zip(path):
    """Refuses an archive that is damaged, or that unpacks to more than `most_unpacked`.

    PyTorch itself does not check the checksums.

    Args:
        path: path of the archive.

    Raises:
        ValueError: a member is damaged, or all members together are too large.
        Exception: any other error that reading a damaged archive leads to.
    """
    with zipfile.ZipFile(path) as archive:
        size = sum(member.file_size for member in archive.infolist())
        if size > most_unpacked(path.stat().st_size):
            raise ValueError(f"it unpacks to {size} bytes")
        damaged = archive.testzip()
    if damaged is not None:
        raise ValueError(f"the checksum of {damaged} in it is wrong")
