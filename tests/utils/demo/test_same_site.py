"""Which requests the demo answers."""

import pytest

from utils.demo.same_site import SameSite

pytestmark = pytest.mark.once


@pytest.mark.parametrize(
    ("host", "origin", "own"),
    [
        ("127.0.0.1:7860", None, True),
        ("127.0.0.1:7860", "http://127.0.0.1:7860", True),
        ("localhost:7860", "http://localhost:7860", True),
        ("[::1]:7860", "http://[::1]:7860", True),
        ("192.0.2.7:7860", None, True),
        ("evil.example:7860", None, False),
        ("evil.example:7860", "http://evil.example:7860", False),
        ("127.0.0.1:7860", "http://evil.example", False),
        ("127.0.0.1:7860", "http://127.0.0.1:80", False),
        ("127.0.0.1:7860", "null", False),
        ("localhost.evil.example", None, False),
        ("", None, False),
        ("[::1", None, False),
        ("127.0.0.1:7860", "http://[", False),
    ],
)
def test_only_its_own_page_may_talk_to_the_demo(host, origin, own):
    headers = {b"host": host.encode()}
    if origin is not None:
        headers[b"origin"] = origin.encode()
    assert SameSite(None, "127.0.0.1").is_own(headers) is own
