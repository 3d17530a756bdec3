"""The demo: trained networks side by side on a page in the browser, served from this machine."""

import contextlib
import importlib.util
import ipaddress
import os
import signal
import socket
import tempfile
import threading

from ..system.errors import Interrupted, UserError
from .demo_runs import prepare

FIRST_PORT, PORTS = 7860, 100


def demo(settings, announce=print):
    """Serves a page that shows what the best networks of runs make of images, until it is stopped.

    Args:
        settings: a `DemoSettings`.
        announce: function that takes a line of text.

    Raises:
        UserError: Gradio is not installed, a folder is no run, the runs are of different data, or
            the address cannot be listened on.
        Interrupted: SIGTERM.
        KeyboardInterrupt: Ctrl-C.
    """
    if importlib.util.find_spec("gradio") is None:
        raise UserError("the demo needs Gradio, which is not installed: pip install gradio")
    port = free_port(settings.host, settings.port)
    runs = prepare(settings, announce)
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # of all of Gradio, not of the page alone
    from .page import opened

    with _private_folder(), _stoppable(), opened(runs, settings.host, port) as address:
        announce(f"The demo is at {address} until Ctrl-C")
        if not _is_loopback(settings.host):
            announce("whoever reaches this machine can use it")
        while True:  # a wait without an end could not be interrupted everywhere
            threading.Event().wait(1)


def free_port(host, port=None):
    """Finds a port that can be listened on.

    Args:
        host: string, the address to listen on.
        port: int; the first that is free from 7860 on by default.

    Returns:
        An int.

    Raises:
        UserError: the port is taken, or the address is not this machine's.
    """
    ports = [port] if port else range(FIRST_PORT, FIRST_PORT + PORTS)
    for candidate in ports:
        try:
            family = socket.getaddrinfo(host, candidate)[0][0]
            socket.create_server((host, candidate), family=family).close()
        except (OSError, UnicodeError) as error:
            reason = getattr(error, "strerror", None) or error
        else:
            return candidate
    tried = port or f"any of {ports[0]} to {ports[-1]}"
    raise UserError(f"--host {host}, --port {tried} cannot be listened on: {reason}")


def _is_loopback(host):
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


@contextlib.contextmanager
def _private_folder():
    """What is uploaded lies in a folder of its own and goes with the demo."""
    with tempfile.TemporaryDirectory(prefix="attention-zoo-") as folder:
        os.environ["GRADIO_TEMP_DIR"] = folder
        yield


@contextlib.contextmanager
def _stoppable():
    """SIGTERM ends the demo as Ctrl-C does, with its own exit code.

    Ctrl-C does so where it is ignored too, as it is for what a shell runs in the background.
    """

    def stop(number, frame):
        raise Interrupted("stopped", number)

    if threading.current_thread() is not threading.main_thread():  # no other may set handlers
        yield
        return
    wanted = {signal.SIGTERM: stop, signal.SIGINT: signal.default_int_handler}
    before = {number: signal.signal(number, handler) for number, handler in wanted.items()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
