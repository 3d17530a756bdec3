"""Output for people: any name, any encoding, and a reader who leaves early."""

import os
import subprocess
import sys

import pytest

from tests.processes import ROOT, run_python, start_python
from utils.system.terminal import printable, shell_word

pytestmark = pytest.mark.once

SAFE = "import sys\nfrom utils.system.terminal import make_output_safe\nmake_output_safe()\n"


def test_what_steers_a_terminal_is_escaped():
    assert printable("\x1b[2J\x07\r\x9b") == r"\x1b[2J\x07\r\x9b"
    assert printable("\udcff\u202e") == r"\udcff\u202e"
    assert printable("two\nlines\tcafé 猫 ±") == "two\nlines\tcafé 猫 ±"


@pytest.mark.parametrize("name", ["a", "a b;touch x", "it's", "$(x)", "\udcff\\'a", "\x1b[2J\n1"])
def test_a_shell_reads_a_quoted_path_as_the_path(name):
    word = shell_word(name)
    assert word.isprintable()
    said = subprocess.run(["bash", "-c", f"printf %s {word}"], capture_output=True, check=True)
    assert said.stdout == os.fsencode(name)


def test_any_encoding_takes_any_text():
    done = run_python("-c", SAFE + "print('± \\x1b \\udcff')", PYTHONIOENCODING="ascii")
    assert (done.returncode, done.stdout) == (0, "\\xb1 \\x1b \\udcff\n")


def test_a_reader_who_leaves_ends_nothing(tmp_path):
    """As `| head -1` does."""
    script = (
        "for n in range(100_000):\n    print(n)\n    print(n, file=sys.stderr)\n"
        f"sys.stdout.flush()\nopen({str(tmp_path / 'end')!r}, 'w')\n"
    )
    process = start_python("-c", SAFE + script)
    assert process.stdout.readline() == "0\n"
    process.stdout.close()
    process.stderr.close()
    assert process.wait(600) == 0
    assert (tmp_path / "end").exists()


@pytest.mark.skipif(sys.platform == "win32", reason="closes files as a shell on Unix does")
def test_closed_output_stays_unused(tmp_path):
    """A file that is opened later must not receive what is printed."""
    script = (
        f"file = open({str(tmp_path / 'file')!r}, 'w')\nprint('x')\nprint('y', file=sys.stderr)\n"
    )
    command = 'exec "$0" -c "$1" <&- >&- 2>&-'
    words = ["bash", "-c", command, sys.executable, SAFE + script]
    assert subprocess.run(words, cwd=ROOT).returncode == 0
    assert (tmp_path / "file").read_text() == ""
