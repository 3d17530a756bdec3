"""Files from the network: checked, and whole or not there."""

import logging
from urllib.parse import urlsplit

from ..system.files import Limited

TIMEOUT = (5, 20)  # seconds until connected, and between two pieces
RETRIES = 1  # of every address


def download(urls, path, sha256, largest, timeout=TIMEOUT, retries=RETRIES):
    """Downloads a file from the first address that has it.

    It comes under a temporary name, in which a broken download leaves nothing.

    Args:
        urls: list of strings, tried in turn.
        path: path of the file to write, in a folder that is there.
        sha256: string, the file's checksum.
        largest: int, bytes after which an answer is given up.
        timeout: tuple of floats, seconds until connected and seconds without an answer.
        retries: int, how often an address is tried again.

    Raises:
        OSError: none of the addresses has the file; the message says why, for each.
    """
    import pooch
    import requests
    from tqdm import tqdm

    pooch.get_logger().setLevel(logging.WARNING)

    def fetch(url, target, _):
        # the total is known later; no bar in a log file
        bar = tqdm(total=largest, unit="B", unit_scale=True, leave=False, disable=None)
        with bar, open(target, "wb") as file:
            get = pooch.HTTPDownloader(
                progressbar=bar,
                chunk_size=2**16,
                timeout=timeout,
                hooks={"response": _stay_secure},
            )
            get(url, Limited(file, largest), None)

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
            source.fetch(path.name, downloader=fetch)
            return
        except Exception as error:  # whatever can go wrong between here and the server
            told = isinstance(error, (ValueError, requests.HTTPError))
            reason = str(error) if told else type(error).__name__
            failures.append(f"{urlsplit(url).hostname}: {reason}")
    raise OSError("; ".join(failures))


def _stay_secure(response, *_, **__):
    """Refuses to be led from HTTPS to plain HTTP."""
    target = response.headers.get("location", "").lower()
    if response.is_redirect and response.url.startswith("https:") and target.startswith("http:"):
        raise ValueError(f"it leads to {target}, which is not secure")
