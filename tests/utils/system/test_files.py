"""Files are written whole or not at all, and read within limits."""

import os

import pytest

from tests.processes import run_python
from utils.system.errors import UserError
from utils.system.files import read_json, replacing, replacing_folder, write_json


def test_replaces_at_the_end(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with replacing(path) as temporary:
        assert temporary.suffix == ".txt"
        temporary.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_an_error_leaves_the_old_file(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")

    def fail():
        with replacing(path) as temporary:
            temporary.write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
    with pytest.raises(TypeError):
        write_json(path, {"no": object()})
    assert path.read_text() == "old"


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_what_is_on_disk_is_renamed_into_place(kind, tmp_path, monkeypatch):
    """A crash at any instant finds the old content or the new, and never a part of it."""
    path, events = tmp_path / "a.txt", []

    def recorded(name):
        original = getattr(os, name)

        def call(first, *others):
            events.append((name, os.stat(first).st_ino))
            return original(first, *others)

        return call

    for name in ("fsync", "replace"):
        monkeypatch.setattr(os, name, recorded(name))
    with (replacing if kind == "file" else replacing_folder)(path) as temporary:
        file = temporary if kind == "file" else temporary / "inner.txt"
        file.write_text("new")
        written, place = file.stat().st_ino, temporary.stat().st_ino
    assert path.stat().st_ino == place  # moved, not copied
    folder = tmp_path.stat().st_ino
    assert events == [("fsync", written), ("replace", place), ("fsync", folder)]


JSON = {
    b"": "Expecting value",
    b"[1, 2": "Expecting ',' delimiter",
    b"[" * 10**5: "is nested too deeply",
    b'{"a":' * 10**5: "is nested too deeply",
    b"\xff": "can't decode byte 0xff",
    '{"a": 1}'.encode("utf-16"): "can't decode",
    b'{"a": 1, "a": 2}': "a key comes twice in one object",
    b"[NaN]": "Out of range float values",
    b"[-Infinity]": "Out of range float values",
    b"1e999": "Out of range float values",
    b"9" * 5000: "4300 digits",
    b'"\\u0000"': "it has a NUL character",
    b'"\\ud800"': "surrogates not allowed",
    b" " * 2**21: "it has more than 1048576 bytes",
}


def test_reads_json_within_bounds(tmp_path):
    path = tmp_path / "file.json"
    for content, message in JSON.items():
        path.write_bytes(content)
        with pytest.raises(UserError, match=rf"file\.json .*{message}"):
            read_json(path)
    path.write_bytes(b'\xef\xbb\xbf{"\xc3\xa4": [1, -2.5e3, null, "\\u00e4"]}')
    assert read_json(path) == {"ä": [1, -2500.0, None, "ä"]}
    write_json(path, {"a": [1]})
    assert read_json(path) == {"a": [1]}


def test_reads_nothing_that_does_not_end(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", "/dev/zero", tmp_path, tmp_path / "none", tmp_path / "\0"):
        with pytest.raises(UserError, match="there is no such file"):
            read_json(path)


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_writers_at_once_do_not_meet(kind, tmp_path):
    """Each has a place of its own, and the last one stays whole."""
    path, make = tmp_path / "a.txt", replacing if kind == "file" else replacing_folder
    with make(path) as first, make(path) as second:
        assert first != second
        for place, word in ((first, "first"), (second, "second")):
            (place if kind == "file" else place / "inner.txt").write_text(word)
    assert (path if kind == "file" else path / "inner.txt").read_text() == "first"
    assert list(tmp_path.iterdir()) == [path]


def test_what_killed_processes_left_is_removed(tmp_path):
    script = (
        "import os, sys\n"
        "from pathlib import Path\n"
        "from utils.system.files import replacing, replacing_folder\n"
        "with replacing(Path(sys.argv[1], 'a.txt')) as file, \\\n"
        "        replacing_folder(Path(sys.argv[1], 'b.txt')) as folder:\n"
        "    file.write_text('half')\n"
        "    (folder / 'inner.txt').write_text('half')\n"
        "    os.kill(os.getpid(), 9)\n"
    )
    run_python("-c", script, tmp_path)
    assert len(list(tmp_path.iterdir())) == 2
    other = tmp_path / ".a.partial-00000000-1-0.txt"  # of another machine
    other.touch()
    with replacing(tmp_path / "a.txt") as mine:
        assert set(tmp_path.glob(".a.*")) == {other}
        mine.touch()
        with replacing(tmp_path / "a.txt") as again:
            assert mine.exists()  # this process lives
            again.touch()
    with replacing_folder(tmp_path / "b.txt") as mine:
        assert list(tmp_path.glob(".b.*")) == [mine]
    assert {each.name for each in tmp_path.iterdir()} == {"a.txt", "b.txt", other.name}
