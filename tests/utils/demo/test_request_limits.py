"""What the demo refuses to read, and what it passes on unchanged."""

import asyncio
import json

import pytest

from utils.demo.request_limits import LARGEST_BODY, UPLOADS, RequestLimits

pytestmark = pytest.mark.once
FILE = {"path": "http://evil.example/a.png", "meta": {"_type": "gradio.FileData"}}
MULTIPART = {b"content-type": b"multipart/form-data; boundary=x"}


def ask(folder, path, body=b"", method="POST", headers=None, largest=1000, pieces=7):
    """Returns the status of the answer, and the body that the application received."""
    received, sent = [], []
    step = max(len(body) // pieces, 1)
    parts = [body[n : n + step] for n in range(0, len(body), step)] or [b""]
    messages = [
        {"type": "http.request", "body": part, "more_body": number < len(parts) - 1}
        for number, part in enumerate(parts)
    ]

    async def receive():
        return messages.pop(0)

    async def send(message):
        sent.append(message)

    async def app(scope, receive, send):
        more = True
        while more:
            message = await receive()
            received.append(message["body"])
            more = message["more_body"]
        await send({"type": "http.response.start", "status": 200})

    headers = {b"content-length": b"%d" % len(body), **(headers or {})}
    scope = {"type": "http", "path": path, "method": method, "headers": list(headers.items())}
    limits = RequestLimits(app, str(folder), largest)
    asyncio.run(limits(scope, receive, send))
    assert limits.arriving == 0
    return sent[0]["status"], b"".join(received) if received else None


@pytest.mark.parametrize("where", [FILE, [1, [FILE]], {"data": [{"a": FILE}], "fn_index": 0}])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-32"])
@pytest.mark.parametrize("path", ["/gradio_api/queue/join", "/gradio_api/run/upload", UPLOADS])
def test_an_address_in_the_place_of_a_path_is_refused(tmp_path, where, encoding, path):
    body = json.dumps(where).encode(encoding)
    assert ask(tmp_path, path, body) == (403, None)
    secure = body.decode(encoding).replace("http:", "HTTPS:").encode(encoding)
    assert ask(tmp_path, path, secure) == (403, None)
    assert ask(tmp_path, path, body, headers={b"content-type": b"text/plain"}) == (403, None)


@pytest.mark.parametrize("kind", ["file=", "proxy=", "file/"])
def test_an_address_in_the_request_itself_is_refused(tmp_path, kind):
    path = f"/gradio_api/{kind}http://evil.example/"
    assert ask(tmp_path, path, method="GET") == (403, None)
    assert ask(tmp_path, "/gradio_api/file=/tmp/a.png", method="GET") == (200, b"")


@pytest.mark.parametrize(
    "body",
    [
        # a file that is uploaded already has its own address as `url`
        json.dumps({"path": "/tmp/a.png", "url": "http://127.0.0.1:7860/a.png"}).encode(),
        b'{"text": "http://evil.example"}',
        b"[" * 100_000,
        b"no JSON",
        b"",
    ],
)
def test_what_names_no_other_host_is_passed_on_as_it_is(tmp_path, body):
    assert ask(tmp_path, "/gradio_api/queue/join", body) == (200, body)


def test_a_request_that_is_no_upload_is_short(tmp_path):
    assert ask(tmp_path, "/gradio_api/queue/join", bytes(LARGEST_BODY))[0] == 200
    assert ask(tmp_path, "/gradio_api/queue/join", bytes(LARGEST_BODY + 1)) == (413, None)


def test_uploads_have_a_limit_together(tmp_path):
    assert ask(tmp_path, UPLOADS, bytes(1000), headers=MULTIPART) == (200, bytes(1000))
    assert ask(tmp_path, UPLOADS, bytes(1001), headers=MULTIPART) == (507, None)
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "kept.png").write_bytes(bytes(600))
    assert ask(tmp_path, UPLOADS, bytes(400), headers=MULTIPART)[0] == 200
    assert ask(tmp_path, UPLOADS, bytes(401), headers=MULTIPART) == (507, None)
    (tmp_path / "a" / "kept.png").unlink()
    assert ask(tmp_path, UPLOADS, bytes(401), headers=MULTIPART)[0] == 200
    unknown = {**MULTIPART, b"content-length": b""}
    assert ask(tmp_path, UPLOADS, bytes(10), headers=unknown) == (411, None)


def test_uploads_that_are_on_their_way_count(tmp_path):
    limits = RequestLimits(None, str(tmp_path), 1000)
    scope = {"type": "http", "path": UPLOADS, "method": "POST",
             "headers": [(b"content-length", b"600"), *MULTIPART.items()]}  # fmt: skip
    statuses = []

    async def receive():
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message):
        statuses.append(message.get("status"))

    async def app(scope, receive, send):
        await RequestLimits.__call__(limits, scope, receive, send)  # a second one meanwhile

    limits.app = app
    asyncio.run(limits(scope, receive, send))
    assert statuses[0] == 507
