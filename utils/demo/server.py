"""The command `demo`: a page that explains trained networks, served by this machine."""

import contextlib
import errno
import importlib.util
import ipaddress
import os
import signal
import socket
import tempfile
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any, NoReturn

from ..config.command_settings import DemoSettings
from ..system.errors import Interrupted, UserError
from .demo_runs import load_demo_runs

FIRST_PORT, PORTS = 7860, 100


def demo(settings: DemoSettings, announce: Callable[[str], None] = print) -> NoReturn:
    """Serves a page that explains how the best networks of runs classify images, until stopped.

    Args:
        settings: a `DemoSettings`.
        announce: function that takes a line of text. Defaults to `print`.

    Raises:
        UserError: Gradio is not installed, a folder is not a run, the runs do not fit together, or
            the server cannot listen on the address.
        Interrupted: SIGTERM.
        KeyboardInterrupt: Ctrl-C.
    """
    if importlib.util.find_spec("gradio") is None:
        raise UserError("the demo needs Gradio, which is not installed: pip install gradio")
    free_port(settings.host, settings.port)  # a host or port that cannot be had is refused at once
    runs = load_demo_runs(settings, announce)
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # read when Gradio is imported
    from .page import serve_page

    port = free_port(settings.host, settings.port)  # again: another demo may have taken it
    with (
        _temporary_uploads() as uploads,
        _stop_signals(),
        serve_page(runs, settings.host, port, uploads) as address,
    ):
        announce(f"The demo runs at {address} until Ctrl-C")
        if not _is_loopback(settings.host):
            announce("Everyone who can reach this machine can use the demo.")
        while True:  # on some systems, Ctrl-C cannot interrupt a wait without a timeout
            threading.Event().wait(1)


def free_port(host: str, port: int | None = None) -> int:
    """Finds a port that a server can listen on.

    Args:
        host: string, the address to listen on.
        port: int, the port to check. By default the first free one from 7860 on.

    Raises:
        UserError: the port is in use, or the host is unknown or not this machine.
    """
    ports = [port] if port else range(FIRST_PORT, FIRST_PORT + PORTS)
    family, address = _resolved(host, ports[0])
    reason: object = None
    for candidate in ports:
        try:
            socket.create_server((address[0], candidate, *address[2:]), family=family).close()
        except OSError as error:
            reason = error.strerror or error
            if error.errno != errno.EADDRINUSE:
                break  # what keeps this host from one port keeps it from all
        else:
            return candidate
    tried = port or f"any of {ports[0]} to {ports[-1]}"
    raise UserError(f"the demo cannot listen on --host {host}, --port {tried}: {reason}")


def _resolved(host: str, port: int) -> tuple[int, Any]:
    """The family and the address of a host, which is asked for once: a name server can be slow."""
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"the demo cannot listen on --host {host}: {reason}") from None
    return family, address


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


@contextlib.contextmanager
def _temporary_uploads() -> Iterator[str]:
    """Keeps uploaded files in a folder of their own, which it yields, and removes at the end."""
    with tempfile.TemporaryDirectory(prefix="attention-zoo-") as folder:
        os.environ["GRADIO_TEMP_DIR"] = folder
        yield folder


@contextlib.contextmanager
def _stop_signals() -> Iterator[None]:
    """Has SIGTERM raise `Interrupted`, and SIGINT `KeyboardInterrupt`.

    SIGINT would otherwise be ignored in a process that a shell runs in the background.
    """

    def stop(number: int, frame: FrameType | None) -> None:
        raise Interrupted("stopped", number)

    if threading.current_thread() is not threading.main_thread():  # Python allows it there alone
        yield
        return
    handlers = {signal.SIGTERM: stop, signal.SIGINT: signal.default_int_handler}
    previous = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
