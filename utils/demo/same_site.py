"""Requests to the demo from other sites are refused: only its own page may talk to it."""

import ipaddress
import socket
from typing import Any
from urllib.parse import urlsplit


class SameSite:
    """ASGI middleware that answers 403 to a request for another host, or from another site.

    A site that a browser visits can have its name resolve to this machine (DNS rebinding), and any
    site can send requests here; the `Host` and the `Origin` that a browser sends tell.

    Args:
        app: the ASGI application behind it.
        host: string, the address that the demo listens on.
    """

    def __init__(self, app: Any, host: str) -> None:
        self.app = app
        self.names = {"localhost", host.lower(), socket.gethostname().lower()}

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] in ("http", "websocket") and not self.is_own(dict(scope["headers"])):
            if scope["type"] == "websocket":
                await send({"type": "websocket.close", "code": 1008})
                return
            await send({"type": "http.response.start", "status": 403, "headers": []})
            await send({"type": "http.response.body", "body": b"another site"})
            return
        await self.app(scope, receive, send)

    def is_own(self, headers: dict[bytes, bytes]) -> bool:
        """Returns whether a request is for this machine and, if a page sent it, from its own.

        Args:
            headers: dictionary from lowercase names to values.
        """
        host = headers.get(b"host", b"").decode("latin-1").lower()
        try:
            name = urlsplit(f"//{host}").hostname or ""
        except ValueError:
            return False
        origin = headers.get(b"origin")
        from_here = origin is None or _place(origin.decode("latin-1").lower()) == host
        return from_here and (name in self.names or _is_address(name))


def _place(origin: str) -> str | None:
    try:
        return urlsplit(origin).netloc
    except ValueError:
        return None


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True  # numbers are not resolved, so no one can have them resolve to this machine
