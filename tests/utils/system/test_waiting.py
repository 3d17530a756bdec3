"""A result, an error, or neither in time."""

import threading

import pytest

from utils.system.waiting import call_within

pytestmark = pytest.mark.once


def test_returns_and_raises_what_the_function_does():
    assert call_within(1000, lambda: 3) == 3
    with pytest.raises(ZeroDivisionError):
        call_within(1000, lambda: 1 // 0)


def test_waits_no_longer_than_it_is_told():
    never = threading.Event()
    with pytest.raises(TimeoutError, match="no result after 1 seconds"):
        call_within(1, never.wait)
    never.set()
