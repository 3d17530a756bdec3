"""What goes to a terminal: names are escaped, and output that nobody reads ends no training."""

import errno
import io
import os
import shlex
import sys
from os import PathLike

NOBODY_READS = (errno.EPIPE, errno.EIO)  # `| head -1` has ended; the terminal was closed


def printable(text: str) -> str:
    """Escapes what could steer a terminal, or has no encoding, but keeps ends of lines and tabs.

    Example:

    >>> printable("\\x1b[2J of a name that is not UTF-8: \\udcff")
    '\\\\x1b[2J of a name that is not UTF-8: \\\\udcff'
    """
    if text.isprintable():
        return text
    kept = (c if c.isprintable() or c in "\n\t" else c.encode("unicode_escape") for c in text)
    return "".join(c if isinstance(c, str) else c.decode() for c in kept)


def shell_word(path: str | PathLike[str]) -> str:
    """Quotes a path for a command that a person copies into a shell.

    Example:

    >>> shell_word("a b;touch x"), shell_word("\\udcff")
    ("'a b;touch x'", "$'\\\\xff'")
    """
    text = str(path)
    if text.isprintable():
        return shlex.quote(text)
    plain = [
        chr(b) if 32 <= b < 127 and b not in b"'\\" else f"\\x{b:02x}" for b in os.fsencode(text)
    ]
    return "$'" + "".join(plain) + "'"


class SafeOutput(io.TextIOWrapper):
    """A text file for people: it can encode any text, and outlives its reader.

    Args:
        stream: `sys.stdout` or `sys.stderr`, which is used no more.
        escape: bool, whether to escape what could steer a terminal.
    """

    def __init__(self, stream: io.TextIOWrapper, escape: bool) -> None:
        encoding, by_line, at_once = stream.encoding, stream.line_buffering, stream.write_through
        super().__init__(stream.detach(), encoding, "backslashreplace", None, by_line, at_once)
        self.escape = escape

    def write(self, text: str) -> int:
        try:
            super().write(printable(text) if self.escape else text)
        except OSError as error:
            self._discard(error)
        return len(text)

    def flush(self) -> None:
        try:
            super().flush()
        except OSError as error:
            self._discard(error)

    def _discard(self, error: OSError) -> None:
        """Sends this and all further output nowhere if nobody can read it any more."""
        if error.errno not in NOBODY_READS:
            raise error
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self.fileno())
        os.close(nowhere)


def make_output_safe() -> None:
    """Replaces `sys.stdout` and `sys.stderr`; where one is closed, its output goes nowhere."""
    for number in range(3):  # a file that is opened later must not take the place of a closed one
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number
    for name, number in (("stdout", 1), ("stderr", 2)):
        stream = getattr(sys, name)
        if stream is None:  # it was closed when Python started
            stream = io.TextIOWrapper(io.FileIO(number, "w", closefd=False), "utf-8")
        # a progress bar on stderr moves the cursor
        setattr(sys, name, SafeOutput(stream, escape=name == "stdout"))
