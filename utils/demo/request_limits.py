"""Requests to the demo are read within limits: no addresses of other hosts, no endless uploads."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

UPLOADS = "/gradio_api/upload"
LARGEST_TOTAL = 500 * 2**20  # bytes of all uploads that are kept
LARGEST_BODY = 2**20  # bytes of any other request; the page's own have a few thousand
URLS = ("http://", "https://")  # where Gradio would fetch a file


class RequestLimits:
    """ASGI middleware that refuses what would call another host or fill the disk.

    Gradio downloads a file that is named by an address in the place of a path.

    Args:
        app: the ASGI application behind it.
        folder: path of the folder that uploads go to.
        largest_total: int, bytes of all uploads together. Defaults to 500 MiB.
    """

    def __init__(self, app: Any, folder: str, largest_total: int = LARGEST_TOTAL) -> None:
        self.app = app
        self.folder = Path(folder)
        self.largest_total = largest_total
        self.arriving = 0  # bytes of uploads that are on their way

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
        elif any(url in scope["path"] for url in URLS):
            await _answer(send, 403, "addresses of other hosts are not fetched")
        elif scope["method"] in ("GET", "HEAD", "OPTIONS"):
            await self.app(scope, receive, send)
        elif _is_upload(scope):
            await self._take_upload(scope, receive, send)
        else:
            await self._take_body(scope, receive, send)

    async def _take_upload(self, scope: Any, receive: Any, send: Any) -> None:
        length = _header(scope, b"content-length")
        if not length.isdigit():
            await _answer(send, 411, "an upload must tell its length")
            return
        size = int(length)
        if self._kept() + self.arriving + size > self.largest_total:
            while (await receive()).get("more_body"):  # a browser reads no answer before the end
                pass
            await _answer(send, 507, "too many uploads; try again in some minutes")
            return
        self.arriving += size
        try:
            await self.app(scope, receive, send)
        finally:
            self.arriving -= size

    async def _take_body(self, scope: Any, receive: Any, send: Any) -> None:
        body, more = b"", True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            body += message.get("body", b"")
            more = message.get("more_body", False)
            if len(body) > LARGEST_BODY:
                await _answer(send, 413, f"a request has at most {LARGEST_BODY} bytes")
                return
        if _names_other_host(body):
            await _answer(send, 403, "addresses of other hosts are not fetched")
            return
        messages = iter([{"type": "http.request", "body": body, "more_body": False}])

        async def replay() -> Any:
            return next(messages, None) or await receive()

        await self.app(scope, replay, send)

    def _kept(self) -> int:
        """Returns how many bytes are in the folder of uploads."""
        return sum(_sizes(self.folder))


def _sizes(folder: Path) -> Iterator[int]:
    for place, _, names in os.walk(folder):
        for name in names:
            try:
                yield os.lstat(Path(place) / name).st_size
            except FileNotFoundError:  # Gradio has just removed it
                continue


def _header(scope: Any, name: bytes) -> bytes:
    return dict(scope["headers"]).get(name, b"")


def _is_upload(scope: Any) -> bool:
    kind = _header(scope, b"content-type").lower()
    return scope["path"].rstrip("/") == UPLOADS and kind.startswith(b"multipart/form-data")


def _names_other_host(body: bytes) -> bool:
    """Returns whether a JSON text has an address in the place of a file's path."""
    try:
        waiting = [json.loads(body)]
    except (ValueError, RecursionError):
        return False  # Gradio refuses it too
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            path = value.get("path")
            if isinstance(path, str) and path.lower().startswith(URLS):
                return True
            waiting += value.values()
        elif isinstance(value, list):
            waiting += value
    return False


async def _answer(send: Any, status: int, text: str) -> None:
    await send({"type": "http.response.start", "status": status, "headers": []})
    await send({"type": "http.response.body", "body": text.encode()})
