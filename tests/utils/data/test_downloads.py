"""Downloads from a server on this machine, which fails in every way there is."""

import errno
import hashlib
import http.server
import threading
import time
from types import SimpleNamespace

import pooch
import pytest

from utils.data import cifar
from utils.data.downloads import _refuse_insecure_redirect, download
from utils.system.errors import UserError
from utils.system.files import SizeLimitedFile

pytestmark = pytest.mark.once

CONTENT = bytes(range(256)) * 1000
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers `/HOW/file` in the way that `HOW` names, and notes what was asked."""

    def do_GET(self):
        self.server.asked.append(self.path)
        how = self.path.split("/")[1]
        if how == "missing" or (how == "flaky" and len(self.server.asked) == 1):
            return self.send_error(404)
        if how == "slow":
            self.server.over.wait(600)
        self.send_response(200)
        length = {"endless": 10**12, "lying": 100}.get(how, len(CONTENT))
        self.send_header("Content-Length", str(length))
        self.end_headers()
        body = {"wrong": CONTENT[::-1], "truncated": CONTENT[:5000], "lying": CONTENT[:100]}
        self.wfile.write(body.get(how, CONTENT))
        while how == "endless" and not self.server.over.is_set():
            self.wfile.write(CONTENT)

    def log_message(self, *_):
        pass


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setattr(time, "sleep", lambda seconds: None)  # between two tries
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, "127.0.0.1")
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.asked, server.over, server.handle_error = [], threading.Event(), lambda *_: None
    server.url = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    yield server
    server.over.set()
    server.shutdown()
    server.server_close()


class ShortOfPatience(pooch.HTTPDownloader):
    """Waits a moment for the slow address, and for others as long as a busy machine may take."""

    def __call__(self, url, *arguments, **options):
        if "/slow/" in url:
            self.kwargs["timeout"] = (60, 0.2)
        return super().__call__(url, *arguments, **options)


def get(server, path, *ways, **options):
    options = {"largest": 10**6, "retries": 0, **options}
    download([f"{server.url}/{way}/file" for way in ways], path, SHA256, **options)


@pytest.mark.parametrize(
    ("way", "reason"),
    [
        ("missing", "404 Client Error"),
        ("wrong", "does not match the known hash"),
        ("truncated", "127.0.0.1"),
        ("lying", "does not match the known hash"),
        ("endless", "more than 1000000 bytes"),
        ("slow", "ReadTimeout"),
    ],
)
def test_the_next_address_is_tried(way, reason, server, tmp_path, monkeypatch):
    timeout = (60, 0.2 if way == "slow" else 60)
    with pytest.raises(OSError, match=reason):
        get(server, tmp_path / "file", way, timeout=timeout)
    assert not list(tmp_path.iterdir())
    monkeypatch.setattr(pooch, "HTTPDownloader", ShortOfPatience)
    get(server, tmp_path / "file", way, "good", "unused", timeout=(60, 60))
    assert (tmp_path / "file").read_bytes() == CONTENT
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    assert server.asked[-1] == "/good/file"


def test_tries_again(server, tmp_path):
    get(server, tmp_path / "file", "flaky", retries=1)
    assert server.asked == ["/flaky/file", "/flaky/file"]
    assert (tmp_path / "file").read_bytes() == CONTENT


def test_says_what_happened_everywhere(server, tmp_path):
    with pytest.raises(OSError, match=r"404 .*; 127\.0\.0\.1: SHA256 hash .*; nowhere\.invalid: "):
        download(
            [f"{server.url}/missing/file", f"{server.url}/wrong/file", "https://nowhere.invalid/f"],
            tmp_path / "file",
            SHA256,
            largest=10**6,
            retries=0,
        )


def test_a_full_disk_is_no_fault_of_an_address(server, tmp_path, monkeypatch):
    def write(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(SizeLimitedFile, "write", write)
    with pytest.raises(OSError, match="No space left on device"):
        get(server, tmp_path / "file", "good", "good")
    assert server.asked == ["/good/file"]
    assert not list(tmp_path.iterdir())


def test_never_from_https_to_http():
    hop = SimpleNamespace(is_redirect=True, url="https://a/", headers={"location": "http://b/"})
    with pytest.raises(ValueError, match="redirects to http://b/, which is not secure"):
        _refuse_insecure_redirect(hop)
    _refuse_insecure_redirect(
        SimpleNamespace(**{**vars(hop), "headers": {"location": "https://b/"}})
    )
    assert all(mirror.startswith("https://") for mirror in cifar.MIRRORS)


def test_cifar_comes_from_a_mirror(server, tmp_path, monkeypatch):
    """Offline, the message says where to put the file; with a mirror that works, all is well."""
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    place = tmp_path / "datasets"
    monkeypatch.setattr(cifar, "MIRRORS", (f"{server.url}/missing/", f"{server.url}/wrong/"))
    with pytest.raises(
        cifar.NotOnThisMachine, match=rf"not in {place}.*put cifar-10-python\.tar\.gz there"
    ):
        cifar.find_cifar("cifar10")
    assert not list(place.iterdir())
    monkeypatch.setattr(cifar, "MIRRORS", (f"{server.url}/missing/", f"{server.url}/good/"))
    monkeypatch.setitem(cifar.CHECKSUMS, "cifar10", SHA256)
    with pytest.raises(UserError, match="not the official archive"):  # this server's is none
        cifar.find_cifar("cifar10")
    assert [path.name for path in place.iterdir()] == ["cifar-10-python.tar.gz"]
