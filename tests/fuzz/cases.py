"""What the fuzz tests share: how many cases, damaged files, and the two outcomes there may be.

Whatever a file holds, its reader gives a well-formed result or refuses it with a `UserError`.
`make fuzz` tries many more cases, other ones each time, and counts the outcomes.
"""

import contextlib
import os

import hypothesis
from hypothesis import strategies as st

from utils.system.errors import UserError

TIMES = int(os.environ.get("FUZZ", "1"))


def cases(examples):
    """Settings of a test: so many cases, always the same, or `FUZZ` times as many new ones."""
    return hypothesis.settings(
        max_examples=examples * TIMES,
        derandomize=TIMES == 1,
        database=None,
        deadline=None,
        suppress_health_check=list(hypothesis.HealthCheck),
    )


def outcome(read):
    """Calls a reader; returns its result, or `None` if it refuses. Any other error is raised."""
    result = None
    with contextlib.suppress(UserError):
        result = read()
    hypothesis.event("refused" if result is None else "accepted")
    return result


@st.composite
def damaged(draw, content):
    """Bytes with up to three places flipped, cut off, cut out, doubled or overwritten."""
    content = bytearray(content)
    for _ in range(draw(st.integers(1, 3))):
        place = draw(st.integers(0, max(len(content) - 1, 0)))
        length = draw(st.integers(1, 40))
        match draw(st.sampled_from(["flip", "flip", "truncate", "cut", "double", "write"])):
            case "flip" if content:
                content[place] ^= 1 << draw(st.integers(0, 7))
            case "truncate":
                del content[place:]
            case "cut":
                del content[place : place + length]
            case "double":
                content[place:place] = content[place : place + length]
            case _:
                content[place : place + length] = draw(st.binary(max_size=length))
    return bytes(content)


NUMBERS = st.one_of(
    st.integers(),
    st.floats(),
    st.sampled_from([0, -1, 20, 2**31, 2**63, 10**400, 1e308, -0.0]),
)
WORDS = st.one_of(
    st.text(max_size=8),
    st.sampled_from(["cifar10", "resnet_v2", "block,head", "", "../..", "nan", "1e999", "true"]),
)
SIMPLE = st.none() | st.booleans() | NUMBERS | WORDS
VALUES = SIMPLE | st.lists(SIMPLE, max_size=4) | st.lists(st.tuples(WORDS, SIMPLE)).map(dict)
