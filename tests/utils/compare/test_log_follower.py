"""The epochs of runs, announced from logs that grow."""

import re

import pytest

from utils.compare.log_follower import LogFollower

pytestmark = pytest.mark.once


def append(path, text):
    with open(path, "a", encoding="utf-8") as file:
        file.write(text)


def test_announces_every_epoch_once(tmp_path):
    append(tmp_path / "b.txt", "epoch 1/3  loss 9  of an earlier start\n")
    lines = []
    follower = LogFollower(tmp_path, {"a": 3, "b": 2}, lines.append, every=1000)
    with follower:
        follower.look()
        assert lines == []
        append(tmp_path / "a.txt", "resnet_v1, depth 8\nepoch 1/3  loss 2.0  1.0 s\nepoch 2/3  lo")
        append(tmp_path / "b.txt", "epoch 2/3  loss 3.0  1.0 s\n")
        follower.look()
        assert [line.partition(";")[0] for line in lines] == [
            "a: epoch 1/3  loss 2.0  1.0 s",
            "b: epoch 2/3  loss 3.0  1.0 s",
        ]
        append(tmp_path / "a.txt", "ss 1.0  1.0 s\n")
        follower.look()
        follower.look()
        assert lines[2].startswith("a: epoch 2/3  loss 1.0  1.0 s; about ")
    assert len(lines) == 3
    assert all(re.search(r"about [0-9.]+ (s|min|h) left of all runs$", line) for line in lines)


@pytest.mark.parametrize(
    ("elapsed", "words"), [(10, "about 40 s"), (100, "about 7 min"), (5000, "about 5.6 h")]
)
def test_time_left(tmp_path, monkeypatch, elapsed, words):
    now = [0.0]
    monkeypatch.setattr("utils.compare.log_follower.time.monotonic", lambda: now[0])
    lines = []
    follower = LogFollower(tmp_path, {"a": 5}, lines.append, every=1000)
    with follower:
        now[0] = elapsed
        append(tmp_path / "a.txt", "epoch 1/5  loss 2.0\n")
        follower.look()
    assert lines == [f"a: epoch 1/5  loss 2.0; {words} left of all runs"]
