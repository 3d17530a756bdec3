"""The archives of CIFAR-10 and CIFAR-100, unpacked safely by any number of processes at once."""

import gzip
import hashlib
import itertools
import os
import shutil
import tarfile
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

from ..system.errors import UserError
from ..system.files import SizeLimitedFile, temporary_path
from .cifar_files import CifarFiles

LARGEST_ARCHIVE = 256 * 2**20  # bytes, packed or not; the official ones hold 186 MB
MOST_MEMBERS = 100
GZIP = b"\x1f\x8b"


def unpack(path: Path, editions: Sequence[CifarFiles], cache: Path) -> tuple[CifarFiles, Path]:
    """Unpacks an archive, packed by gzip or not, beside it; or to the cache, if that fails.

    Of several processes that do so at once, all take what the first has written.

    Args:
        path: path of the archive.
        editions: sequence of `CifarFiles`, those that it may hold.
        cache: path of a folder for archives in a place that cannot be written to; it is created
            if needed.

    Returns:
        The `CifarFiles` that the archive holds, and the path of the folder with them.

    Raises:
        UserError: the archive cannot be read, or is not an official one; or neither place can be
            written to.
    """
    try:
        return _unpack_to(path.parent, path, editions)
    except OSError as error:
        reason = error
    try:
        # named after its content: the cache may hold another archive's files of the same names
        with open(path, "rb") as file:
            checksum = hashlib.file_digest(file, "sha256").hexdigest()
        place = cache / f"unpacked-{checksum[:16]}"
        for edition in editions:
            if edition.are_in(place / edition.folder):
                return edition, place / edition.folder
        place.mkdir(parents=True, exist_ok=True)
        return _unpack_to(place, path, editions)
    except OSError as error:
        raise UserError(f"{path} cannot be unpacked: {reason}; nor in the cache: {error}") from None


def _unpack_to(place: Path, path: Path, editions: Sequence[CifarFiles]) -> tuple[CifarFiles, Path]:
    beside = temporary_path(place / editions[0].folder)  # and removes what killed processes left
    temporary = Path(tempfile.mkdtemp(dir=place, prefix=f"{beside.name}-"))
    try:
        edition = _extract(path, editions, temporary)
        _install(temporary, place / edition.folder, edition)
    except Exception as error:  # a damaged archive can fail in any way
        if isinstance(error, OSError) and not isinstance(error, gzip.BadGzipFile):
            raise  # not the archive's fault
        raise UserError(
            f"{path} is empty, damaged or not the official archive ({error}); "
            "put a whole one there, or remove it to have it downloaded"
        ) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return edition, place / edition.folder


def _extract(path: Path, editions: Sequence[CifarFiles], target: Path) -> CifarFiles:
    """Takes the expected files out of the archive, and nothing else that may be in it."""
    missing = {e.folder: {f"{e.folder}/{name}" for name in e.files} for e in editions}
    found = editions[0]
    # read once, as a stream: so the limit holds for all of it, and no header can seek back
    with _open(path) as file:
        stream: Any = SizeLimitedFile(file, LARGEST_ARCHIVE)
        with tarfile.open(fileobj=stream, mode="r|", tarinfo=_Member) as archive:
            for member in itertools.islice(archive, MOST_MEMBERS):
                if member.size > LARGEST_ARCHIVE:  # `tarfile` would skip past the file's end
                    raise tarfile.ReadError(f"{member.name} has {member.size} bytes")
                name = member.name.removeprefix("./")
                edition = next((e for e in editions if name in missing[e.folder]), None)
                if edition is None:
                    continue
                if not member.isfile() or member.issparse():
                    raise tarfile.ReadError(f"{member.name} is no file")
                content: IO[bytes] | None = archive.extractfile(member)
                assert content is not None  # as it is for every regular file
                with open(target / Path(name).name, "wb") as opened:
                    shutil.copyfileobj(content, opened)
                missing[edition.folder].remove(name)
                found = edition
        while stream.read(2**20):  # gzip compares its checksum at the end
            pass
    if missing[found.folder]:
        raise tarfile.ReadError(f"it lacks {', '.join(sorted(missing[found.folder]))}")
    return found


def _open(path: Path) -> Any:
    with open(path, "rb") as file:
        packed = file.read(len(GZIP)) == GZIP
    return gzip.open(path) if packed else open(path, "rb")


def _install(temporary: Path, target: Path, edition: CifarFiles) -> None:
    """Renames a folder to its final name, which another process may have done first."""
    try:
        os.replace(temporary, target)
    except OSError:
        if not target.is_dir():
            raise
        if edition.are_in(target):
            return
        # Incomplete: files that are there may be cut off, so they are replaced, and those that lack
        # come last. Until then no process takes the folder for complete.
        for name in sorted(edition.files, key=lambda name: not (target / name).is_file()):
            os.replace(temporary / name, target / name)


class _Member(tarfile.TarInfo):
    """An archive's member whose header is of a plausible size: `tarfile` reads it into memory."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> "_Member":
        member = super().frombuf(buf, encoding, errors)
        if member.size > 4096 and not member.isreg():
            raise tarfile.ReadError(f"a header has {member.size} bytes")
        return member
