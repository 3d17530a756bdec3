"""Downloads that are verified, and leave a whole file or none."""

import errno
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ..system.files import SizeLimitedFile

TIMEOUT = (5, 20)  # seconds to connect, and between two pieces of the answer
RETRIES = 1  # of every address
OF_THIS_MACHINE = (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS)


def download(
    urls: Sequence[str],
    path: Path,
    sha256: str,
    largest: int,
    timeout: tuple[float, float] = TIMEOUT,
    retries: int = RETRIES,
) -> None:
    """Downloads a file from the first address that has it.

    The file has a temporary name until it is complete and its checksum is right.

    Args:
        urls: sequence of strings, tried in turn.
        path: path of the file to write, in a folder that exists.
        sha256: string, the file's checksum.
        largest: int, bytes after which a download is aborted.
        timeout: pair of floats, seconds to connect and seconds without an answer. Defaults to 5 and
            20.
        retries: int, how often an address is tried again. Defaults to 1.

    Raises:
        OSError: none of the addresses has the file; the message says why, for each. Or the file
            cannot be written, as when the disk is full.
    """
    import pooch
    import requests

    pooch.get_logger().setLevel(logging.WARNING)

    failures = []
    for url in urls:
        source = pooch.create(
            path.parent,
            base_url="",
            registry={path.name: f"sha256:{sha256}"},
            urls={path.name: url},
            retry_if_failed=retries,
        )
        try:
            source.fetch(path.name, downloader=_downloader(largest, timeout))
            return
        except Exception as error:  # a network can fail in any way
            if getattr(error, "errno", None) in OF_THIS_MACHINE:
                raise  # no other address helps
            has_reason = isinstance(error, (ValueError, requests.HTTPError))
            reason = str(error) if has_reason else type(error).__name__
            failures.append(f"{urlsplit(url).hostname}: {reason}")
    raise OSError("; ".join(failures))


def _downloader(largest: int, timeout: tuple[float, float]) -> Callable[[str, str, Any], None]:
    """What pooch calls to download an address to a file; it shows a bar and has a limit."""
    import pooch
    from tqdm import tqdm

    def fetch(url: str, target: str, _: Any) -> None:
        # the total is known later; `disable=None` shows no bar in a log file
        bar = tqdm(total=largest, unit="B", unit_scale=True, leave=False, disable=None)
        with bar, open(target, "wb") as file:
            get = pooch.HTTPDownloader(
                progressbar=bar,
                chunk_size=2**16,
                timeout=timeout,
                hooks={"response": _refuse_insecure_redirect},
            )
            get(url, SizeLimitedFile(file, largest), None)

    return fetch


def _refuse_insecure_redirect(response: Any, *_: Any, **__: Any) -> None:
    """Refuses a redirect from HTTPS to plain HTTP."""
    target = response.headers.get("location", "").lower()
    if response.is_redirect and response.url.startswith("https:") and target.startswith("http:"):
        raise ValueError(f"it redirects to {target}, which is not secure")
